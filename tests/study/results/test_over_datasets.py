"""Several pairs together: against scipy's tests and a printed table, and what cannot be said."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from compared_cells import seeded
from scipy import stats

from study.results.aggregate import Cell
from study.results.over_datasets import cautions, critical_difference, overall, rankings, signed_rank_p

PLACES = [("bert", "arc"), ("bert", "imdb"), ("scibert", "arc"), ("roberta", "ohsumed"), ("roberta", "arc")]


def study(**by_method: list[float]) -> list[Cell]:
    """Rows with a mean on each of the first places; the seeds of a cell lie around it."""
    found = []
    for method, means in by_method.items():
        for (encoder, dataset), mean in zip(PLACES, means, strict=False):
            cell = seeded(method, [mean - 0.01, mean + 0.01], encoder=encoder, dataset=dataset)
            found.append(replace(cell, mean=mean))
    return found


def test_a_question_over_all_pairs() -> None:
    rtm, l3 = [0.70, 0.80, 0.60, 0.50, 0.65], [0.72, 0.81, 0.60, 0.55, 0.62]
    (found,) = overall(study(rtm=rtm, l3masking=l3))
    assert (found.question, found.objective, found.pairs, found.wanted) == ("l3masking vs rtm", "accuracy", 5, 5)
    differences = np.subtract(l3, rtm)
    assert found.difference == pytest.approx(differences.mean())
    assert found.std == pytest.approx(differences.std(ddof=1))
    assert (found.ci_low, found.ci_high) == pytest.approx(
        stats.t.interval(0.95, 4, found.difference, stats.sem(differences))
    )
    assert (found.better, found.equal, found.worse) == (3, 1, 1)
    assert (found.first_mean, found.second_mean) == (pytest.approx(0.66), pytest.approx(0.65))
    assert found.p == pytest.approx(stats.wilcoxon([0.02, 0.01, 0.05, -0.03], method="exact").pvalue)
    assert found.floor == 2 / 2**4, "the zero tells nothing"


def test_signed_ranks_against_scipy_and_with_shared_ranks() -> None:
    rows = np.random.default_rng(9).normal(0.2, 1, (30, 8))
    for row in rows:
        assert signed_rank_p(row.tolist()) == pytest.approx((stats.wilcoxon(row, method="exact").pvalue, 2 / 2**8))
    shared = [1.0, 1.0, -1.0, 2.0, 3.0, 2.0]
    slow = stats.wilcoxon(shared, method=stats.PermutationMethod(n_resamples=np.inf)).pvalue
    assert signed_rank_p(shared) == pytest.approx((slow, 2 / 2**6))
    assert signed_rank_p([0.0, 0.0]) is None


def test_one_pair_is_no_aggregate() -> None:
    assert overall(study(rtm=[0.7], l3masking=[0.8])) == rankings(study(rtm=[0.7], l3masking=[0.8])) == []
    assert cautions([]) == []


def test_mean_ranks_and_their_test() -> None:
    table = {"stl": [0.6, 0.7, 0.5, 0.4], "rtm": [0.65, 0.7, 0.6, 0.5], "l3masking": [0.7, 0.75, 0.55, 0.6]}
    (found,) = rankings(study(**table))
    assert [(rank.method, rank.mean_rank) for rank in found.ranks] == [
        ("l3masking", 1.25),
        ("rtm", (2 + 2.5 + 1 + 2) / 4),
        ("stl", (3 + 2.5 + 3 + 3) / 4),
    ]
    assert found.ranks[0].mean == pytest.approx(0.65)
    assert found.friedman_p == pytest.approx(stats.friedmanchisquare(*table.values()).pvalue)
    assert found.critical_difference == critical_difference(3, 4)


@pytest.mark.parametrize(("rows", "quantile"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_that_of_the_printed_table(rows: int, quantile: float) -> None:
    """Demsar 2006, table 5a."""
    assert critical_difference(rows, 14) == pytest.approx(quantile * np.sqrt(rows * (rows + 1) / (6 * 14)), rel=5e-4)


def test_a_row_that_lacks_a_pair_is_not_ranked_and_missing_pairs_are_named() -> None:
    cells = study(rtm=[0.7, 0.8, 0.6], l3masking=[0.8, 0.9, 0.7], stl=[0.5, 0.6])
    (found,) = rankings(cells)
    assert [rank.method for rank in found.ranks] == ["l3masking", "rtm"]
    assert (found.friedman_p, found.critical_difference) == (None, None), "two rows are a question"
    empty = [replace(cell, n=0, mean=None, values={}) if cell.encoder == "scibert" else cell for cell in cells]
    said = cautions([*overall(empty), *rankings(empty)])
    assert said[1].startswith("2 pairs are few")
    assert said[2] == "Only 2 of 3 planned pairs have a mean so far."


def test_a_row_better_on_every_pair_is_found_and_chance_is_not() -> None:
    """The size of the signed-rank test over 8 pairs is at most 5 %, by all its outcomes."""
    signs = np.array([[1 if number >> place & 1 else -1 for place in range(8)] for number in range(2**8)])
    ranks = np.arange(1, 9)
    share = np.mean([(signed_rank_p((row * ranks).tolist()) or (1, 1))[0] < 0.05 for row in signs])
    assert 0.03 < share <= 0.05
    assert signed_rank_p([0.01 * rank for rank in ranks]) == (2 / 2**8, 2 / 2**8)
