"""Questions, pairing, families: which rows are held against each other, over which seeds, and what is decisive."""

from __future__ import annotations

import math
import statistics

import pytest
import scipy.stats
from compared_cells import better, seeded

from l3masking.errors import InputError
from study.results.compare import Arm, better_than_random, compare, questions

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]


def asked(*rows: tuple[str, str | None], baseline: str | None = None) -> list[str]:
    cells = [seeded(method, TEN[:2], variant=variant) for method, variant in rows]
    return [str(question) for question in questions(cells, baseline)]


# ---- questions


def test_the_papers_questions_come_first():
    assert asked(("stl", None), ("rtm", None), ("l3masking", None)) == [
        *("l3masking vs rtm", "l3masking vs stl", "rtm vs stl")
    ]
    assert asked(("stl", None), ("rtm", None)) == ["rtm vs stl"]
    assert asked(("l3masking", None)) == []


def test_controls_and_other_methods_have_their_questions():
    assert asked(*((name, None) for name in ("stl", "rtm", "l3masking", "mtl_static", "l3_shuffled", "mine")))[3:] == [
        *("rtm vs mtl_static", "l3masking vs l3_shuffled", "mtl_static vs stl", "l3_shuffled vs rtm"),
        *("mine vs rtm", "mine vs stl"),
    ]


def test_a_variant_meets_its_plain_row_and_the_controls_under_the_same_variant():
    rows = [("stl", None), ("rtm", None), ("rtm", "best"), ("l3masking", None), ("l3masking", "best")]
    assert asked(*rows)[3:] == [
        *("rtm @ best vs rtm", "rtm @ best vs stl"),
        *("l3masking @ best vs l3masking", "l3masking @ best vs rtm @ best", "l3masking @ best vs stl"),
    ]
    assert "l3masking @ w vs rtm" in asked(("rtm", None), ("l3masking", None), ("l3masking", "w"))


def test_a_baseline_replaces_the_questions():
    rows = [("stl", None), ("rtm", None), ("l3masking", "best")]
    assert asked(*rows, baseline="rtm") == ["stl vs rtm", "l3masking @ best vs rtm"]
    for text in ("l3masking @ best", "l3masking@best"):
        assert asked(*rows, baseline=text) == ["stl vs l3masking @ best", "rtm vs l3masking @ best"]
    with pytest.raises(InputError, match=r"--baseline 'l3masking': no row of this name; there are stl, rtm, l3mask"):
        asked(*rows, baseline="l3masking")


# ---- one comparison


def test_only_the_seeds_of_both_sides_are_paired():
    rtm = seeded("rtm", {0: 0.70, 1: 0.71, 2: 0.72, 5: 0.9})
    l3 = seeded("l3masking", {1: 0.72, 2: 0.74, 0: 0.71, 7: 0.1})
    [entry] = compare([rtm, l3])
    assert (entry.n, entry.wanted, entry.first.n, entry.second.n) == (3, 10, 3, 3)
    assert entry.first.mean == pytest.approx((0.72 + 0.74 + 0.71) / 3)
    assert entry.second.mean == pytest.approx(0.71)
    assert entry.difference == pytest.approx(0.04 / 3)


def test_the_numbers_are_those_of_the_paired_t_test_and_the_permutation_test():
    [entry] = compare(better(UP, TEN))
    differences = [t + u - t for t, u in zip(TEN, UP, strict=True)]
    theirs = scipy.stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert (entry.ci_low, entry.ci_high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert entry.effect_size == pytest.approx(statistics.mean(UP) / statistics.stdev(UP))
    assert (entry.test, entry.p, entry.floor, entry.decisive) == ("sign_flip", 2 / 1024, 2 / 1024, True)
    assert (entry.first.std, entry.second.std) == (
        pytest.approx(statistics.stdev(t + u for t, u in zip(TEN, UP, strict=True))),
        pytest.approx(statistics.stdev(TEN)),
    )
    mean = entry.first.mean or 0.0
    assert entry.standard_error == pytest.approx(math.sqrt(mean * (1 - mean) / 139))
    assert compare(better(UP, TEN, objective="macro_f1"))[0].standard_error is None


def test_the_sides_are_the_two_rows():
    l3 = seeded("l3masking", TEN, variant="best", mask_mean=0.23)
    first = compare([seeded("l3masking", UP), l3])[0].first
    assert (first.study, first.method, first.variant, first.mask_mean) == (None, "l3masking", "best", 0.23)


@pytest.mark.parametrize(("n", "test"), [(0, None), (1, None), (2, "sign_flip"), (21, "sign_flip_sampled")])
def test_few_seeds_and_many(n: int, test: str | None):
    [entry] = compare([seeded("rtm", [0.7] * n), seeded("l3masking", [0.71 + 0.001 * k for k in range(n)])])
    assert (entry.n, entry.test, entry.decisive) == (n, test, n == 21)
    assert (entry.difference is None) == (n == 0)
    assert (entry.ci_low is None) == (entry.p is None) == (entry.floor is None) == (n < 2)
    assert entry.family == (n > 1)


def test_pairing_says_what_a_seed_fixes():
    cells = [seeded(method, TEN) for method in ("stl", "rtm", "l3masking")]
    cells += [seeded("l3masking", TEN, variant=variant) for variant in ("larger", "best")]
    found = {entry.question: entry.pairing for entry in compare(cells, reordered=["larger"])}
    assert found["l3masking vs rtm"] == found["l3masking @ best vs rtm"] == "batches"
    assert found["l3masking vs stl"] == found["rtm vs stl"] == "head"
    assert found["l3masking @ larger vs rtm"] == "head"  # it makes its batches otherwise


# ---- families


def eight(by: list[list[float]]) -> list:
    """A study of as many datasets, each better by what is given."""
    return [cell for number, part in enumerate(by) for cell in better(part, TEN[: len(part)], dataset=f"d{number}")]


def test_holm_is_over_the_pairs_of_one_question_and_one_objective():
    cells = [*eight([UP] * 8), seeded("stl", TEN, dataset="d0"), *better(UP, TEN, objective="macro_f1", dataset="d0")]
    found = compare(cells)
    main = [entry for entry in found if (entry.question, entry.objective) == ("l3masking vs rtm", "accuracy")]
    assert [entry.family for entry in main] == [8] * 8
    assert {entry.p_holm for entry in main} == {8 * 2 / 1024}  # .0156, the figure for ten seeds and eight pairs
    assert {entry.floor_holm for entry in main} == {8 * 2 / 1024}
    others = [entry for entry in found if entry not in main]
    assert {(entry.question, entry.objective, entry.family) for entry in others} == {
        ("l3masking vs stl", "accuracy", 1),
        ("rtm vs stl", "accuracy", 1),
        ("l3masking vs rtm", "macro_f1", 1),
    }


def test_a_pair_that_was_not_tested_is_not_counted():
    found = compare([*eight([UP, UP]), *better([0.5], [0.1], dataset="one"), *better([], [], dataset="none")])
    assert [(entry.family, entry.n, entry.p_holm) for entry in found] == [
        *((2, 10, 4 / 1024), (2, 10, 4 / 1024), (2, 1, None), (2, 0, None))
    ]


def test_nothing_is_decisive_where_the_floor_is_too_high():
    entries = compare(eight([UP[:6]] * 2))
    assert [(entry.p_holm, entry.floor_holm, entry.decisive) for entry in entries] == [(4 / 64, 4 / 64, False)] * 2
    [three] = compare(eight([UP[:3]]))
    assert (three.p, three.floor_holm, three.decisive) == (0.25, 0.25, False)
    assert compare(eight([UP[:6]]))[0].decisive  # alone, 2 / 64 is below .05


def test_an_interval_that_includes_zero_is_not_decisive_whatever_p_says():
    wild = [0.001] * 9 + [0.2]  # all above: p is at its floor, but one seed makes the difference
    [entry] = compare(better(wild, TEN))
    assert entry.p_holm == 2 / 1024
    assert (entry.ci_low or 0) < 0
    assert not entry.decisive


def test_marked_are_the_cells_that_are_decisively_above_random_masking():
    cells = [*eight([UP]), seeded("stl", [value - 0.3 for value in TEN], dataset="d0")]
    assert better_than_random(compare(cells)) == {cells[1].key}
    worse = [seeded("rtm", TEN), seeded("l3masking", [v - u for v, u in zip(TEN, UP, strict=True)])]
    entries = compare(worse)
    assert entries[0].decisive
    assert better_than_random(entries) == frozenset()


def test_the_order_is_by_question_then_objective_then_cells():
    cells = [
        cell for d in ("b", "a") for o in ("macro_f1", "accuracy") for cell in better(UP, TEN, dataset=d, objective=o)
    ]
    found = [(entry.objective, entry.dataset) for entry in compare(cells)]
    assert found == [("macro_f1", "b"), ("macro_f1", "a"), ("accuracy", "b"), ("accuracy", "a")]


def test_an_arm_in_words():
    assert [str(Arm("rtm")), str(Arm("rtm", "best"))] == ["rtm", "rtm @ best"]
