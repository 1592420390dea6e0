"""Questions, pairing, families: which rows are held against each other, over which seeds, and what is decisive."""

from __future__ import annotations

import math
import statistics

import pytest
import scipy.stats
from compared_cells import better, seeded

from l3masking.errors import InputError
from study.results.compare import Budgets, compare, questions, turned
from study.results.comparison import Arm, Budget, Comparison, Question
from study.results.families import DeclaredFamily
from study.results.verdicts import verdict

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
    names = ("stl", "rtm", "l3masking", "mtl_static", "rtm_static", "l3_shuffled", "mine")
    assert asked(*((name, None) for name in names))[3:] == [
        *("rtm vs rtm_static", "l3masking vs l3_shuffled", "l3masking vs mtl_static"),
        *("mtl_static vs rtm_static", "mtl_static vs stl", "rtm_static vs stl", "l3_shuffled vs rtm"),
        *("mine vs rtm", "mine vs stl"),
    ]


def test_learned_weights_and_masks_never_change_together():
    """`mtl_static` has the masks of L3Masking: against RTM, masks and weights would differ at once."""
    names = ("stl", "rtm", "l3masking", "mtl_static", "rtm_static")
    pairs = [text.split(" vs ") for text in asked(*((name, None) for name in names))]
    assert [pair for pair in pairs if set(pair) in ({"mtl_static", "rtm"}, {"rtm_static", "l3masking"})] == []


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
    assert (entry.test, entry.p, entry.floor, entry.finished) == ("sign_flip", 2 / 1024, 2 / 1024, True)
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
    assert (entry.n, entry.test, entry.finished) == (n, test, n == 21)
    assert (entry.difference is None) == (n == 0)
    assert (entry.ci_low is None) == (entry.p is None) == (entry.floor is None) == (n < 2)
    assert (entry.family, entry.complete) == (1, n == 21)


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


def test_the_confirmatory_family_is_all_that_is_declared_and_the_rest_is_one_family_too():
    cells = [*eight([UP] * 8), seeded("stl", TEN, dataset="d0"), *better(UP, TEN, objective="macro_f1", dataset="d0")]
    found = compare(cells)
    main = [entry for entry in found if entry.confirmatory]
    assert {(entry.question, entry.objective) for entry in main} == {
        *(("l3masking vs rtm", "accuracy"), ("l3masking vs stl", "accuracy"), ("rtm vs stl", "accuracy"))
    }
    assert {(entry.family, entry.complete) for entry in main} == {(10, 10)}
    assert sorted(entry.p_holm or 0 for entry in main)[:9] == [10 * 2 / 1024] * 9  # nine at their floor
    assert {entry.floor_holm for entry in main if entry.floor == 2 / 1024} == {10 * 2 / 1024}
    [other] = [entry for entry in found if not entry.confirmatory]
    assert (other.question, other.objective, other.family, other.p_holm) == (
        *("l3masking vs rtm", "macro_f1"),
        *(1, 2 / 1024),
    )


def test_what_is_declared_decides_which_comparison_is_confirmatory():
    cells = [cell for goal in ("accuracy", "macro_f1") for cell in better(UP, TEN, objective=goal)]
    cells += [seeded("l3masking", TEN, variant="w")]
    question = Question(Arm("l3masking", "w"), Arm("rtm"))
    found = compare(cells, family=DeclaredFamily((question,), ("accuracy", "macro_f1")))
    assert found[0].question == "l3masking @ w vs rtm"
    assert [(entry.question, entry.objective) for entry in found if entry.confirmatory] == [
        ("l3masking @ w vs rtm", "accuracy")
    ]
    assert {entry.family for entry in found if not entry.confirmatory} == {3}
    assert not any(entry.confirmatory for entry in compare(cells, family=DeclaredFamily((), ())))
    turned_round = compare(cells, family=DeclaredFamily((question.turned,), ("accuracy",)))
    assert [entry.question for entry in turned_round if entry.confirmatory] == ["rtm vs l3masking @ w"]
    assert "l3masking @ w vs rtm" not in [entry.question for entry in turned_round], "asked once"


def test_the_planned_family_counts_whatever_has_finished():
    """One finished pair of eight: p is .0039 for two tests alone, and .031 in the family that was planned."""
    planned = [cell for number in range(1, 8) for cell in better([], [], dataset=f"d{number}")]
    small = [seeded(method, [], dataset=f"d{n}") for method in ("stl",) for n in range(8)]
    found = compare([*eight([UP]), *planned, *small])
    done = found[0]
    assert (done.family, done.complete, done.p_holm) == (24, 1, 24 * 2 / 1024)
    found = compare([*eight([UP]), *planned])
    done = found[0]
    assert (done.family, done.complete, done.p, done.p_holm) == (8, 1, 2 / 1024, 8 * 2 / 1024)
    assert verdict(done) == "incomplete"
    assert {entry.p_holm for entry in found[1:]} == {None}
    assert compare(eight([UP] * 8))[0].p_holm == done.p_holm, "the same as when all have finished"


def test_a_pair_that_could_not_be_tested_counts_as_one():
    found = compare([*eight([UP, UP]), *better([0.5], [0.1], dataset="one"), *better([], [], dataset="none")])
    assert [(entry.family, entry.n, entry.p_holm) for entry in found] == [
        *((4, 10, 8 / 1024), (4, 10, 8 / 1024), (4, 1, None), (4, 0, None))
    ]


def test_failed_seeds_are_over_and_missing_ones_are_not():
    failed = [seeded(method, TEN[:9], failed=1) for method in ("rtm", "l3masking")]
    assert compare(failed)[0].finished
    assert not compare([failed[0], seeded("l3masking", TEN[:9])])[0].finished


def test_the_floor_is_that_of_these_differences():
    """Four equal pairs of ten cannot give less than 2 / 2^6."""
    [entry] = compare(better([0.0] * 4 + UP[:6], TEN))
    assert (entry.p, entry.floor, entry.floor_holm) == (2 / 64, 2 / 64, 2 / 64)
    two = compare([*better([0.0] * 4 + UP[:6], TEN), *better([], [], dataset="later")])
    assert two[0].floor_holm == 2 / 64, "the other one could still give 2 / 1024, and twice that is less"


def test_a_baseline_changes_no_number_but_the_size_of_its_family():
    cells = [*better(UP, TEN), seeded("stl", [value - 0.01 for value in TEN]), seeded("l3_shuffled", TEN)]
    usual = {entry.question: entry for entry in compare(cells)}
    found = {e.question: e for e in compare(cells, questions(cells, "l3masking"))}
    assert found.keys() == {f"{name} vs l3masking" for name in ("rtm", "stl", "l3_shuffled")}
    assert found["rtm vs l3masking"] == turned(usual["l3masking vs rtm"])
    assert found["rtm vs l3masking"].confirmatory
    ours, theirs = found["rtm vs l3masking"], usual["l3masking vs rtm"]
    assert (ours.difference, ours.ci_low, ours.p_holm) == (
        -(theirs.difference or 0),
        -(theirs.ci_high or 0),
        theirs.p_holm,
    )
    assert not found["l3_shuffled vs l3masking"].confirmatory
    further = compare(cells, questions(cells, "l3_shuffled"))
    assert (further[0].question, further[0].confirmatory) == ("rtm vs l3_shuffled", False)
    assert {entry.family for entry in further} == {3}, "two asked by default and `stl vs l3_shuffled`"


BUDGETS: Budgets = {("bert", "arc", "l3masking", "best"): Budget(20, 3)}


def test_search_budgets_are_noted_where_they_are_not_equal():
    cells = [*better(UP, TEN), seeded("l3masking", TEN, variant="best"), seeded("rtm", TEN, variant="best")]

    def entries(budgets: Budgets) -> dict[str, Comparison]:
        return {entry.question: entry for entry in compare(cells, budgets=budgets)}

    found = entries(BUDGETS)
    assert found["l3masking vs rtm"].notes == ()
    assert found["l3masking @ best vs l3masking"].notes == (
        "Search budgets are not equal. l3masking @ best: 20 settings, 3 seeds each; l3masking: no search.",
    )
    first = found["l3masking @ best vs rtm @ best"].first
    assert (first.settings_tried, first.search_seeds) == (20, 3)
    both = entries({**BUDGETS, ("bert", "arc", "rtm", "best"): Budget(20, 3)})
    assert both["l3masking @ best vs rtm @ best"].notes == ()


def test_the_order_is_by_question_then_objective_then_cells():
    cells = [
        cell for d in ("b", "a") for o in ("macro_f1", "accuracy") for cell in better(UP, TEN, dataset=d, objective=o)
    ]
    found = [(entry.objective, entry.dataset) for entry in compare(cells)]
    assert found == [("macro_f1", "b"), ("macro_f1", "a"), ("accuracy", "b"), ("accuracy", "a")]


def test_an_arm_in_words():
    assert [str(Arm("rtm")), str(Arm("rtm", "best"))] == ["rtm", "rtm @ best"]
