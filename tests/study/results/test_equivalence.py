"""No difference larger than a margin: against scipy, by simulation, and in the words that a comparison gets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from study.results.equivalence import conclusion, seeds_for_equivalence, tost, tost_power
from study.results.power import seeds_needed

DRAWS = 4000


def shares(n: int, margin: float, effect: float, level: float = 0.05) -> float:
    """Share of simulated studies in which equivalence is shown."""
    rows = np.random.default_rng(8).normal(effect, 1, (DRAWS, n))
    means, stds = rows.mean(axis=1), rows.std(axis=1, ddof=1)
    found = [tost(float(m), float(s), n, margin, level=level) for m, s in zip(means, stds, strict=True)]
    return float(np.mean([one is not None and one.p < level for one in found]))


def test_p_is_that_of_two_one_sided_tests_of_scipy() -> None:
    rows = np.random.default_rng(1).normal(0.002, 0.01, 9)
    found = tost(float(rows.mean()), float(rows.std(ddof=1)), 9, 0.01)
    assert found is not None
    p = [
        stats.ttest_1samp(rows, -0.01, alternative="greater").pvalue,
        stats.ttest_1samp(rows, 0.01, alternative="less").pvalue,
    ]
    assert found.p == pytest.approx(max(p), rel=1e-9)
    low, high = stats.t.interval(0.9, 8, rows.mean(), stats.sem(rows))
    assert (found.low, found.high) == pytest.approx((low, high))


def test_the_interval_lies_within_the_margin_exactly_where_p_is_below_the_level() -> None:
    draws = np.random.default_rng(2)
    for mean, std in zip(draws.normal(0, 0.01, 300), draws.uniform(0.001, 0.03, 300), strict=True):
        found = tost(mean, std, 10, 0.01)
        assert found is not None
        assert (found.p < 0.05) == (max(-found.low, found.high) < 0.01)


def test_at_the_margin_equivalence_is_shown_in_one_of_twenty_studies_at_most() -> None:
    assert shares(10, 1.5, 1.5) <= 0.05 + 5 * math.sqrt(0.05 * 0.95 / DRAWS)
    assert shares(10, 1.5, 1.5) == pytest.approx(0.05, abs=5 * math.sqrt(0.05 * 0.95 / DRAWS)), "with a wide margin"


@pytest.mark.parametrize(("n", "margin", "effect"), [(10, 1.0, 0.0), (10, 1.0, 0.4), (5, 1.2, 0.0), (20, 0.6, 0.1)])
def test_the_power_is_that_of_simulated_studies(n: int, margin: float, effect: float) -> None:
    assert tost_power(margin, n, effect=effect) == pytest.approx(
        shares(n, margin, effect), abs=5 * 0.5 / math.sqrt(DRAWS)
    )


def test_seeds_for_equivalence() -> None:
    n = seeds_for_equivalence(1.0)
    assert n is not None
    assert tost_power(1.0, n) >= 0.8 > tost_power(1.0, n - 1)
    assert seeds_for_equivalence(0.01) is None
    assert seeds_for_equivalence(100.0) == 2


def test_what_does_not_vary_shows_no_equivalence() -> None:
    assert tost(0.0, 0.0, 10, 0.01) is tost(0.0, 0.01, 1, 0.01) is None


def test_a_conclusion_is_better_equivalent_or_undecided() -> None:
    given = {"std": 0.01, "n": 10, "alpha": 0.05}
    assert conclusion(difference=0.02, decisive=True, **given).verdict == "better"
    assert conclusion(difference=-0.02, decisive=True, **given).verdict == "worse"
    same = conclusion(difference=0.0005, decisive=False, margin=0.01, **given)
    assert (same.verdict, same.within, same.seeds) == ("equivalent", True, None)
    assert same.p_equivalence == pytest.approx(tost(0.0005, 0.01, 10, 0.01).p)  # type: ignore[union-attr]
    small = conclusion(difference=0.002, decisive=True, margin=0.02, **given)
    assert (small.verdict, small.within) == ("better", True), "better, and by less than the margin"


def test_an_undecided_one_says_how_many_seeds_would_decide() -> None:
    given = {"std": 0.01, "n": 10, "alpha": 0.05, "decisive": False}
    plain = conclusion(difference=0.005, **given)
    assert (plain.verdict, plain.seeds, plain.assumed) == ("undecided", seeds_needed(0.5, alpha=0.05), 0.005)
    named = conclusion(difference=-0.005, margin=0.008, **given)
    assert named.verdict == "undecided"
    assert named.assumed == 0.008
    assert named.seeds == max(seeds_needed(0.8, alpha=0.05) or 0, seeds_for_equivalence(0.8) or 0)
    for nothing in ({"std": None, "n": 1}, {"std": 0.0, "n": 4}, {"std": 0.5, "n": 4}):
        one = conclusion(difference=0.001, **(given | nothing))
        assert (one.verdict, one.seeds, one.assumed) == ("undecided", None, None)
