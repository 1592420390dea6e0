"""Comparisons say what their numbers allow beside the verdict: equivalent, or how many seeds would decide."""

from __future__ import annotations

import dataclasses
import math
import statistics

import numpy as np
import pytest
import scipy.stats
from compared_cells import seeded

from study.report.comparisons import evidence_table
from study.report.wording import sentence
from study.results.compare import compare, turned
from study.results.comparison import Arm, Budget, Comparison, Question
from study.results.evidence import evidence
from study.results.families import DeclaredFamily
from study.results.mcnemar import mid_p
from study.results.power import seeds_needed
from study.results.texts import Truth
from study.results.weighed import texts_part, weighed

ONE = [-1.0, 1.0] * 5


def of(by: float, std: float = 0.01, margin: float | None = None, **told) -> Comparison:
    """L3Masking above RTM by `by` on the mean of ten seeds, whose differences have the deviation `std`."""
    steps = np.asarray(ONE) * std / np.std(ONE, ddof=1) + by
    cells = [seeded("rtm", [0.7] * 10), seeded("l3masking", [0.7 + step for step in steps.tolist()])]
    (entry,) = compare(cells)
    known = dataclasses.replace(entry, joint_low=entry.ci_low, joint_high=entry.ci_high)
    (found,) = weighed([known], cells, {}, {}, margin)
    assert dataclasses.replace(found, **told) == found
    return found


def test_the_sentence_says_what_the_numbers_allow() -> None:
    assert sentence(of(0.03, conclusion="better")).endswith(" excludes zero too: decisive).")
    assert sentence(of(-0.03, conclusion="worse")).endswith(" excludes zero too: decisive).")
    small = of(0.002, std=0.001, margin=0.01, conclusion="better")
    assert sentence(small).endswith("decisive). The difference is smaller than 1.00 points (p = 6e-10).")
    here = dataclasses.replace(small, joint_high=0.011)
    assert sentence(here).endswith(
        "decisive). The difference is smaller than 1.00 points on this test set (p = 6e-10)."
    )
    equal = of(0.001, std=0.005, margin=0.01, conclusion="equivalent", seeds_needed=None)
    assert "not decisive). The rows are equivalent within 1.00 points (p = " in sentence(equal)
    beyond = dataclasses.replace(equal, joint_low=-0.02, joint_high=0.022, family=3)
    assert "). On this test set the rows are equivalent within 1.00 points (p = " in sentence(beyond)
    assert sentence(beyond).endswith(", not adjusted).")
    plain = of(0.005, conclusion="undecided", assumed=pytest.approx(0.005))
    assert plain.seeds_needed == seeds_needed(0.5, alpha=0.05)
    ending = f" with about {plain.seeds_needed} seeds would decide it (probability 0.8) if the true difference is the "
    assert sentence(plain).endswith(f" A new study{ending}observed one.")
    named = of(0.005, margin=0.006, conclusion="undecided", assumed=0.006)
    ending = f"{named.seeds_needed} seeds would find a difference of 0.60 points, or show that there is none as large"
    assert sentence(named).endswith(f" with about {ending} (probability 0.8 each).")


def test_what_is_exploratory_is_decided_by_a_study_that_declares_it() -> None:
    """Its own family may be large; only a confirmatory comparison can be decisive."""
    steps = (np.asarray(ONE) * 0.01 + 0.005).tolist()
    cells = [
        *(seeded("rtm", [0.7] * 10, dataset=name) for name in ("a", "b")),
        *(seeded("l3masking", [0.7 + step for step in steps], dataset=name) for name in ("a", "b")),
        *(seeded("rtm", [0.7] * 10, dataset=name, variant=f"v{k}") for name in ("a", "b") for k in range(9)),
    ]
    found = weighed(compare(cells, family=DeclaredFamily((), ())), cells, {}, {})
    first = next(entry for entry in found if entry.question == "l3masking vs rtm")
    assert first.family > 2
    assert first.seeds_needed == seeds_needed(0.005 / statistics.stdev(steps), alpha=0.05 / 2)
    ending = " seeds that declares this question alone would decide it on this test set (probability 0.8) if the true "
    told = sentence(first)
    assert told.endswith(f" A new study with about {first.seeds_needed}{ending}difference is the observed one.")


def test_seeds_do_not_make_a_test_set_larger() -> None:
    steps = (np.asarray(ONE) * 0.01 + 0.005).tolist()
    cells = [seeded("rtm", [0.7] * 10), seeded("l3masking", [0.7 + step for step in steps])]
    (entry,) = compare(cells)

    def with_texts(part: float, margin: float | None = None) -> Comparison:
        """`part`: of the half width, from the texts."""
        half = math.hypot(entry.ci_high - entry.difference, part)
        known = dataclasses.replace(entry, joint_low=entry.difference - half, joint_high=entry.difference + half)
        assert texts_part(known) == pytest.approx(part**2)
        (found,) = weighed([known], cells, {}, {}, margin)
        return found

    by_seeds, half, most = (with_texts(part) for part in (0.0, 0.0025, 0.006))
    assert by_seeds.seeds_needed < half.seeds_needed
    # the share of studies of so many seeds whose interval over seeds and texts leaves zero out
    n, draws = half.seeds_needed, 4000
    values = np.random.default_rng(1).normal(0.005, np.std(steps, ddof=1), (draws, n))
    bar = scipy.stats.t.ppf(0.975, n - 1) ** 2 * values.var(axis=1, ddof=1) / n + 0.0025**2
    assert np.mean(values.mean(axis=1) > np.sqrt(bar)) == pytest.approx(0.8, abs=0.05)
    assert most.seeds_needed is None
    assert sentence(most).endswith(
        " No number of seeds would decide a true difference of 0.50 points on these test texts."
    )
    assert "No number of seeds would decide a true difference of 0.60 points" in sentence(with_texts(0.007, 0.006))


def test_resampled_splits_count_in_equivalence_and_seeds() -> None:
    steps = (np.asarray(ONE) * 0.01 + 0.001).tolist()
    plain = [seeded("rtm", [0.7] * 10), seeded("l3masking", [0.7 + step for step in steps])]
    anew = [dataclasses.replace(cell, resampled=0.25) for cell in plain]
    (first,), (second,) = (weighed(compare(cells), cells, {}, {}, 0.008) for cells in (plain, anew))
    std = statistics.stdev(steps)
    for found, error in ((first, std / math.sqrt(10)), (second, std * math.sqrt(0.1 + 0.25))):
        assert found.p_equivalence == pytest.approx(scipy.stats.t.sf((0.008 - 0.001) / error, 9))
    assert (first.conclusion, second.conclusion) == ("equivalent", "undecided")
    assert second.seeds_needed is None, "the part of shared texts stays, whatever the number of splits"


def test_unequal_search_has_no_conclusion() -> None:
    steps = (np.asarray(ONE) * 0.01 + 0.001).tolist()
    cells = [seeded("rtm", [0.7] * 10), seeded("l3masking", [0.7 + step for step in steps], variant="best")]
    family = DeclaredFamily((Question(Arm("l3masking", "best"), Arm("rtm")),), ("accuracy",))
    budget = {("bert", "arc", "l3masking", "best"): Budget(20, 3)}
    (found,) = weighed(compare(cells, family=family, budgets=budget), cells, {}, {}, 0.05)
    assert found.p_equivalence is not None
    assert (found.conclusion, found.seeds_needed) == (None, None)


def test_ties_that_the_estimate_does_not_know_give_no_number() -> None:
    """Six equal differences and four ties: the estimate would say that fewer than ten seeds are enough."""
    cells = [seeded("rtm", [0.7] * 10), seeded("l3masking", [0.72, 0.72, 0.721, 0.719, 0.72] + [0.7] * 5)]
    (found,) = weighed(compare(cells), cells, {}, {})
    assert (found.conclusion, found.floor) == ("undecided", 2 / 2**5)
    assert seeds_needed(found.effect_size, alpha=0.05) <= 12
    assert found.seeds_needed is None or found.seeds_needed > 10


def test_a_verdict_with_a_reason_of_its_own_has_no_conclusion() -> None:
    cells = [seeded("rtm", [0.7] * 10), seeded("l3masking", [0.73 + step / 100 for step in ONE])]
    (unknown,) = compare(cells)  # without the labels of the texts: on this test set
    (found,) = weighed([unknown], cells, {}, {}, 0.01)
    assert (found.conclusion, found.seeds_needed) == (None, None)
    assert found.p_equivalence is not None
    nothing = compare([seeded("rtm", []), seeded("l3masking", [])])
    assert weighed(nothing, [], {}, {}) == nothing


def test_the_votes_of_both_rows_on_the_test_texts() -> None:
    cells = [seeded("rtm", [0.5] * 3, wanted=3), seeded("l3masking", [0.75] * 3, wanted=3)]
    labels = np.array([0, 1, 1, 0])
    predictions = {
        cells[0].key: dict.fromkeys(range(3), np.array([1, 1, 1, 1])),
        cells[1].key: dict.fromkeys(range(3), np.array([0, 1, 0, 0])),
    }
    (entry,) = weighed(compare(cells), cells, predictions, {"arc": Truth(labels, 2)})
    assert (entry.only_first, entry.only_second, entry.p_mcnemar) == (2, 1, mid_p(2, 1))
    made = evidence_table([entry])
    assert made is not None
    assert made.header[-3:] == ["Only first right", "Only second right", "McNemar p"]
    assert made.rows[0][:3] == ["bert / arc", "100 %", "29 to 100 %"]


def test_a_turned_comparison_is_that_of_the_turned_rows() -> None:
    there = of(0.004, std=0.01)
    back = turned(there)
    values = [0.7 + step * 0.01 / float(np.std(ONE, ddof=1)) + 0.004 for step in ONE]
    first, second = dict(enumerate([0.7] * 10)), dict(enumerate(values))
    own = evidence(first, second, paired=True, decisive=False, tests=1)
    assert own.superiority is not None
    assert (back.superiority, back.superiority_low, back.superiority_high) == pytest.approx(own.superiority[:3])
    assert back.effect_size_unbiased == pytest.approx(own.effect_size_unbiased)
    assert turned(of(0.03)).conclusion == "worse"
    assert evidence_table([dataclasses.replace(there, **dict.fromkeys(EVIDENCE))]) is None


EVIDENCE = (
    *("superiority", "superiority_low", "superiority_high", "effect_size_unbiased", "p_equivalence", "seeds_needed"),
    *("only_first", "only_second", "p_mcnemar"),
)
