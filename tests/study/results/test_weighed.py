"""Comparisons say what their numbers allow beside the verdict: equivalent, or how many seeds would decide."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from compared_cells import seeded

from study.report.comparisons import evidence_table
from study.report.wording import sentence
from study.results.compare import compare, turned
from study.results.comparison import Comparison
from study.results.evidence import evidence
from study.results.mcnemar import mid_p
from study.results.texts import Truth
from study.results.weighed import weighed

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
    equal = of(0.001, std=0.005, margin=0.01, conclusion="equivalent", seeds_needed=None)
    assert "not decisive). The rows are equivalent within 1.00 points (p = " in sentence(equal)
    plain = of(0.005, conclusion="undecided", assumed=pytest.approx(0.005))
    ending = f" About {plain.seeds_needed} seeds would decide it if the true difference is the observed one."
    assert sentence(plain).endswith(ending)
    named = of(0.005, margin=0.006, conclusion="undecided", assumed=0.006)
    ending = f"{named.seeds_needed} seeds would find a difference of 0.60 points, or show that there is none as large."
    assert sentence(named).endswith(ending)


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
