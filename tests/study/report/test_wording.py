"""Sentences: the honest words for every way in which a comparison can end."""

from __future__ import annotations

import dataclasses

import pytest
from compared_cells import better, seeded

from study.report.wording import by_question, interval_text, p_text, points, remarks, seeds_text, sentence, title
from study.results.against import Origin, against_paper, against_study
from study.results.compare import compare
from study.results.comparison import Arm, Comparison, Question
from study.results.families import DeclaredFamily

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]
MIXED = [0.04, -0.03, 0.02, -0.01, 0.03, -0.02, 0.02, 0.03, -0.01, 0.01]


def one(by: list[float], **more) -> Comparison:
    """A finished comparison, the only confirmatory one; `more`: fields that are otherwise."""
    [entry] = compare([dataclasses.replace(cell, wanted=len(by)) for cell in better(by, TEN[: len(by)])])
    return dataclasses.replace(entry, **more)


ALIKE = {"joint_low": 0.011, "joint_high": 0.03}  # an interval over seeds and texts that excludes zero as well


def test_a_decisive_difference():
    assert sentence(one(UP, **ALIKE)) == (
        "L3Masking is 2.05 points above RTM (interval 1.83 to 2.27 excludes zero, adjusted p = .00195, over seeds and "
        "test texts 1.10 to 3.00 excludes zero too: decisive)."
    )


def test_seeds_that_agree_on_this_test_set():
    entry = one(UP, joint_low=-0.01, joint_high=0.05)
    assert sentence(entry) == (
        "L3Masking is 2.05 points above RTM (interval 1.83 to 2.27 excludes zero, adjusted p = .00195, but over seeds "
        "and test texts -1.00 to 5.00 includes zero: on this test set, not beyond it)."
    )
    assert sentence(one(UP)).endswith(
        "adjusted p = .00195, the labels of the test texts are not known: on this test set, not beyond it)."
    )


def test_an_exploratory_difference_is_a_finding_to_confirm():
    assert sentence(one(UP, confirmatory=False)) == (
        "L3Masking is 2.05 points above RTM (interval 1.83 to 2.27 excludes zero, adjusted p = .00195: exploratory, a "
        "finding to confirm on fresh seeds)."
    )
    assert "but over seeds and test texts -1.00 to 5.00 includes zero: exploratory" in sentence(
        one(UP, confirmatory=False, joint_low=-0.01, joint_high=0.05)
    )


def test_an_incomplete_family():
    assert sentence(one(UP, family=8, complete=1, p_holm=0.0156)) == (
        "L3Masking is 2.05 points above RTM (interval 1.83 to 2.27 excludes zero, adjusted p = .0156 so far: no "
        "verdict yet, 1 of 8 planned comparisons are complete)."
    )


def test_rows_that_were_not_searched_alike():
    first = dataclasses.replace(one(UP).first, variant="best", settings_tried=20, search_seeds=3)
    assert sentence(one(UP, first=first, **ALIKE)).endswith(
        ": no verdict, because the two rows had no equal search budget)."
    )


def test_an_interval_that_includes_zero():
    assert sentence(one(MIXED)) == (
        "L3Masking is 0.80 points above RTM (interval -0.91 to 2.51 includes zero: not decisive)."
    )


def test_too_few_seeds_for_any_decision():
    assert sentence(one([-by for by in UP[:3]])) == (
        "L3Masking is 2.13 points below RTM (interval -2.76 to -1.51 excludes zero, but adjusted p = .25, and these "
        "seeds cannot give less than .25: not decisive)."
    )


def test_an_interval_without_zero_and_a_p_that_is_too_high():
    assert sentence(one(UP, p_holm=0.07)).endswith("excludes zero, but adjusted p = .07: not decisive).")


def test_equal_rows():
    assert sentence(one([0.0] * 4)).startswith("L3Masking and RTM have the same value under every seed (interval 0.00")
    assert sentence(one([0.00001, -0.00001, 0.00001])).startswith("L3Masking and RTM are equal to two decimals (inter")


def test_one_seed_and_none():
    assert sentence(one([0.02])) == (
        "L3Masking is 2.00 points above RTM (one seed: no interval over seeds and no test)."
    )
    assert sentence(one([0.02], joint_low=-0.01, joint_high=0.05)).endswith(
        "(one seed: no interval over seeds and no test; over test texts alone -1.00 to 5.00)."
    )
    assert sentence(one([])) == "L3Masking and RTM have no finished seed in common: nothing to compare."


def test_rows_at_different_mask_means_say_so():
    best = seeded("l3masking", TEN, variant="best", mask_mean=0.23)
    [entry] = compare([seeded("l3masking", TEN), best])
    assert "L3Masking (best, mean 0.23) and L3Masking (mean 0.15) have the same value" in sentence(entry)
    assert title(entry) == "L3Masking (best) against L3Masking, accuracy (exploratory)"


def test_the_paper_and_another_study_are_named():
    [entry] = against_paper([seeded("rtm", TEN, encoder="roberta-base", dataset="acl-arc")])
    assert sentence(entry).startswith("RTM is 7.74 points below the RTM of Kimura et al. 2024, Table 3 (interval -")
    assert title(entry) == "RTM against Kimura et al. 2024, Table 3, accuracy (exploratory)"
    assert seeds_text(entry) == "n=10 and 10"
    assert remarks([entry])[0].startswith("Not paired")
    [empty] = against_paper([seeded("rtm", [], encoder="roberta-base", dataset="acl-arc")])
    assert sentence(empty) == "RTM has no finished seed: nothing to compare."
    still = seeded("rtm", [0.7, 0.7])
    [entry] = against_study([still], [still], "other", {}, {("bert", "arc"): Origin("a", "b")})
    assert sentence(entry).endswith("(interval 0.00 to 0.00; neither side varies: no test).")


def test_remarks_say_pairing_test_and_floor():
    lines = remarks(compare(better(UP[:3], TEN[:3])))
    assert "same head, splits, order of batches and stream of masks" in lines[0]
    assert lines[1:] == [
        "Test: exact sign-flip test over all flips of the paired differences.",
        "Least p that the 3 differences can give: .25. No result could be significant.",
    ]
    eight = [cell for number in range(8) for cell in better(UP, TEN, dataset=f"d{number}")]
    assert remarks(compare(eight))[-1] == (
        "Least p that the 10 differences can give: .00195; after Holm over 8 planned tests: .0156."
    )
    ties = compare(better([0.0] * 4 + UP[:6], TEN))
    assert remarks(ties)[-1] == "Least p that the 10 differences can give: .0312."
    stl = compare([seeded("stl", TEN), seeded("rtm", TEN)])
    assert "not the same order of batches" in remarks(stl)[0]
    many = compare([seeded("rtm", [0.7] * 21), seeded("l3masking", [0.71] * 21)])
    assert "100,000 flips from a named generator (more than 20 pairs)" in remarks(many)[1]
    assert remarks(compare([seeded("rtm", [0.7]), seeded("l3masking", [0.7])]))[1:] == []


def test_missing_seeds_are_shown():
    assert seeds_text(one(UP)) == "n=10"
    assert seeds_text(one(UP[:9], wanted=10)) == "n=9/10"


def test_tables_stay_in_order_behind_the_confirmatory_ones():
    cells = [c for o in ("macro_f1", "accuracy") for d in ("a", "b") for c in better(UP, TEN, dataset=d, objective=o)]
    family = DeclaredFamily((Question(Arm("l3masking"), Arm("rtm")),), ("accuracy",))
    found = by_question(compare(cells, family=family))
    assert [[entry.dataset for entry in group] for group in found] == [["a", "b"], ["a", "b"]]
    assert [title(group[0]) for group in found] == [
        *("L3Masking against RTM, accuracy (confirmatory)", "L3Masking against RTM, macro F1 (exploratory)")
    ]


@pytest.mark.parametrize(
    ("p", "text"),
    [(1.0, "1"), (0.25, ".25"), (2 / 1024, ".00195"), (0.9999, "1"), (0.0001, ".0001"), (0.00002, "2e-05")],
)
def test_p_values_in_words(p: float, text: str):
    assert p_text(p) == text


def test_points_and_intervals_in_words():
    assert [points(value) for value in (0.0234, -0.0234, -0.00001, None)] == ["2.34", "-2.34", "0.00", "–"]
    assert interval_text(-0.0069, -0.00003) == "-0.69 to -0.003"
    assert interval_text(0.0, 1e-17) == "0.00 to 0.00"
    assert interval_text(None, None) == "–"
