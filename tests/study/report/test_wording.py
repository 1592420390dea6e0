"""Sentences: the honest words for every way in which a comparison can end."""

from __future__ import annotations

import dataclasses

import pytest
from compared_cells import better, seeded

from study.report.wording import families, interval_text, p_text, points, remarks, seeds_text, sentence, title
from study.results.against import Origin, against_paper, against_study
from study.results.compare import Comparison, compare

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]
MIXED = [0.04, -0.03, 0.02, -0.01, 0.03, -0.02, 0.02, 0.03, -0.01, 0.01]


def one(by: list[float], **more) -> Comparison:
    [entry] = compare(better(by, TEN[: len(by)], **more))
    return entry


def test_a_decisive_difference():
    assert sentence(one(UP)) == (
        "L3Masking is 2.05 points above RTM (interval 1.83 to 2.27 excludes zero, adjusted p = .00195: decisive)."
    )


def test_an_interval_that_includes_zero():
    assert sentence(one(MIXED)) == (
        "L3Masking is 0.80 points above RTM (interval -0.91 to 2.51 includes zero: not decisive)."
    )


def test_too_few_seeds_for_any_decision():
    assert sentence(one([-by for by in UP[:3]])) == (
        "L3Masking is 2.13 points below RTM (interval -2.76 to -1.51 excludes zero, but adjusted p = .25, and so few "
        "seeds cannot give less than .25: not decisive)."
    )


def test_an_interval_without_zero_and_a_p_that_is_too_high():
    entry = dataclasses.replace(one(UP), p_holm=0.07, decisive=False)
    assert sentence(entry).endswith("excludes zero, but adjusted p = .07: not decisive).")


def test_equal_rows():
    assert sentence(one([0.0] * 4)).startswith("L3Masking and RTM have the same value under every seed (interval 0.00")
    assert sentence(one([0.00001, -0.00001, 0.00001])).startswith("L3Masking and RTM are equal to two decimals (inter")


def test_one_seed_and_none():
    assert sentence(one([0.02])) == "L3Masking is 2.00 points above RTM (one seed: no interval and no test)."
    assert sentence(one([])) == "L3Masking and RTM have no finished seed in common: nothing to compare."


def test_rows_at_different_mask_means_say_so():
    best = seeded("l3masking", TEN, variant="best", mask_mean=0.23)
    [entry] = compare([seeded("l3masking", TEN), best])
    assert "L3Masking (best, mean 0.23) and L3Masking (mean 0.15) have the same value" in sentence(entry)
    assert title(entry) == "L3Masking (best) against L3Masking, accuracy"


def test_other_texts_may_disagree_with_the_seeds():
    entry = dataclasses.replace(one(UP), bootstrap_low=-0.01, bootstrap_high=0.05)
    assert sentence(entry).endswith(
        "decisive). Over seeds and test texts together the interval, -1.00 to 5.00, includes zero."
    )
    for low, high in ((0.01, 0.03), (None, None)):
        assert sentence(dataclasses.replace(entry, bootstrap_low=low, bootstrap_high=high)).endswith("decisive).")
    assert "together" not in sentence(dataclasses.replace(one(MIXED), bootstrap_low=-0.1, bootstrap_high=0.1))


def test_the_paper_and_another_study_are_named():
    [entry] = against_paper([seeded("rtm", TEN, encoder="roberta-base", dataset="acl-arc")])
    assert sentence(entry).startswith("RTM is 7.74 points below the RTM of Kimura et al. 2024, Table 3 (interval -")
    assert title(entry) == "RTM against Kimura et al. 2024, Table 3, accuracy"
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
        "Least p that n=3 can give: .25. No result could be significant.",
    ]
    eight = [cell for number in range(8) for cell in better(UP, TEN, dataset=f"d{number}")]
    assert remarks(compare(eight))[-1] == "Least p that n=10 can give: .00195; after Holm over 8 tests: .0156."
    stl = compare([seeded("stl", TEN), seeded("rtm", TEN)])
    assert "not the same order of batches" in remarks(stl)[0]
    many = compare([seeded("rtm", [0.7] * 21), seeded("l3masking", [0.71] * 21)])
    assert "100,000 flips from a named generator (more than 20 pairs)" in remarks(many)[1]
    assert remarks(compare([seeded("rtm", [0.7]), seeded("l3masking", [0.7])]))[1:] == []


def test_missing_seeds_are_shown():
    assert seeds_text(one(UP)) == "n=10"
    assert seeds_text(one(UP[:9])) == "n=9/10"


def test_families_stay_in_order():
    cells = [c for o in ("accuracy", "macro_f1") for d in ("a", "b") for c in better(UP, TEN, dataset=d, objective=o)]
    found = families(compare(cells))
    assert [[entry.dataset for entry in family] for family in found] == [["a", "b"], ["a", "b"]]
    assert [title(family[0]) for family in found] == [
        *("L3Masking against RTM, accuracy", "L3Masking against RTM, macro F1")
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
