"""Verdicts: what earns "decisive" and what does not, and how often a study without any difference has one."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from compared_cells import better, seeded
from crossed_arms import PREFERENCE, two_arms

from study.results.aggregate import Cell
from study.results.compare import compare
from study.results.comparison import Arm, Budget, Comparison, Question
from study.results.families import DeclaredFamily
from study.results.paired import named_generator
from study.results.texts import Truth, over_texts
from study.results.verdicts import LEVEL, better_than_random, equally_searched, leaves_zero_out, verdict

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]


def one(by: list[float] = UP, **more) -> Comparison:
    """A finished comparison of L3Masking and RTM, confirmatory, with an interval over texts that excludes zero."""
    [entry] = compare([dataclasses.replace(cell, wanted=len(by)) for cell in better(by, TEN[: len(by)])])
    return dataclasses.replace(entry, **{"joint_low": 0.01, "joint_high": 0.03} | more)


def test_what_is_decisive():
    assert verdict(one()) == "decisive"
    below = [-value for value in UP]
    assert verdict(one(below, joint_low=-0.03, joint_high=-0.01)) == "decisive"


def test_the_interval_over_seeds_and_texts_counts_too():
    assert verdict(one(joint_low=-0.01)) == "on_this_test_set"
    assert verdict(one(joint_low=None, joint_high=None)) == "on_this_test_set"


def test_what_was_not_declared_is_to_be_confirmed():
    assert verdict(one(confirmatory=False)) == "to_confirm"
    assert verdict(one(confirmatory=False, joint_low=-0.01)) == "to_confirm"
    assert verdict(one(confirmatory=False, p_holm=0.05)) == "undecided"


def test_an_incomplete_family_has_no_verdict():
    assert verdict(one(complete=0)) == "incomplete"
    assert verdict(one(complete=0, confirmatory=False)) == "incomplete"
    [entry] = compare(better(UP[:9], TEN[:9]))  # nine seeds of ten, and all above
    assert verdict(entry) == "incomplete"


def test_a_searched_row_needs_a_rival_with_the_same_budget():
    def searched(first: Budget | None, second: Budget | None) -> Comparison:
        entry = one()
        sides = {
            name: dataclasses.replace(getattr(entry, name), settings_tried=b.settings, search_seeds=b.seeds)
            for name, b in (("first", first), ("second", second))
            if b is not None
        }
        return dataclasses.replace(entry, **sides)

    assert verdict(searched(Budget(20, 3), None)) == "unequal_search"
    assert verdict(searched(None, Budget(20, 3))) == "unequal_search"
    assert verdict(searched(Budget(20, 3), Budget(20, 2))) == "unequal_search"
    assert verdict(searched(Budget(20, 3), Budget(20, 3))) == "decisive"
    assert better_than_random([searched(Budget(20, 3), None)]) == frozenset()
    assert equally_searched(searched(None, None))


def test_nothing_and_untested():
    assert verdict(one([], joint_low=None)) == "nothing"
    assert verdict(one([0.02])) == "untested"


def test_undecided():
    assert verdict(one([0.001] * 9 + [0.2])) == "undecided"  # p is at its floor, but one seed makes the difference
    assert verdict(one(UP[:3])) == "undecided"  # p cannot be below .25
    assert not leaves_zero_out(0.0, 0.1)
    assert not leaves_zero_out(None, None)


def test_marked_are_the_cells_that_are_decisively_above_random_masking():
    cells = [*better(UP, TEN), seeded("stl", [value - 0.3 for value in TEN])]
    sure = {"joint_low": 0.01, "joint_high": 0.03}
    found = [dataclasses.replace(entry, **sure) for entry in compare(cells)]
    assert [verdict(entry) for entry in found] == ["decisive"] * 3
    assert better_than_random(found) == {cells[1].key}
    assert better_than_random(compare(cells)) == frozenset(), "labels are not known"
    other = [dataclasses.replace(cell, objective="macro_f1") for cell in cells]
    goals = [dataclasses.replace(entry, **sure) for entry in compare([*cells, *other])]
    assert better_than_random(goals) == {cells[1].key}, "the second objective is exploratory"
    worse = [seeded("rtm", TEN), seeded("l3masking", [v - u for v, u in zip(TEN, UP, strict=True)])]
    [entry] = (dataclasses.replace(e, joint_low=-0.03, joint_high=-0.01) for e in compare(worse))
    assert verdict(entry) == "decisive"
    assert better_than_random([entry]) == frozenset()


def test_a_mark_is_earned_whichever_way_round_the_question_was_declared():
    cells = better(UP, TEN)
    family = DeclaredFamily((Question(Arm("rtm"), Arm("l3masking")),), ("accuracy",))
    [entry] = compare(cells, family=family)
    known = dataclasses.replace(entry, joint_low=-0.03, joint_high=-0.01)
    assert (known.question, verdict(known)) == ("rtm vs l3masking", "decisive")
    assert better_than_random([known]) == {cells[1].key}
    below = [seeded("rtm", TEN), seeded("l3masking", [v - u for v, u in zip(TEN, UP, strict=True)])]
    [worse] = compare(below, family=family)
    known = dataclasses.replace(worse, joint_low=0.01, joint_high=0.03)
    assert verdict(known) == "decisive"
    assert better_than_random([known]) == frozenset(), "random masking itself is never marked"


# ---- how often nothing looks like something


def margin(studies: int, level: float = LEVEL) -> float:
    """Five standard errors of a share that is `level`."""
    return 5 * math.sqrt(level * (1 - level) / studies)


def no_difference(generator: np.random.Generator, variants: int) -> list[Cell]:
    """A study of 10 seeds and two objectives whose rows differ by chance alone; 6 + 10 x variants comparisons."""
    rows = [("stl", None), ("rtm", None), ("l3masking", None)]
    rows += [(method, f"v{number}") for number in range(variants) for method in ("rtm", "l3masking")]
    seeds, cells = generator.normal(0.75, 0.02, 10), []
    for method, variant in rows:
        accuracy = np.round(139 * (seeds + generator.normal(0, 0.02, 10))) / 139
        other = accuracy + generator.normal(-0.08, 0.02, 10)
        for objective, values in (("accuracy", accuracy), ("macro_f1", other)):
            cells.append(seeded(method, values.tolist(), variant=variant, objective=objective))
    return cells


@pytest.mark.parametrize(("variants", "studies"), [(0, 500), (4, 100), (8, 60)])
def test_a_study_without_any_difference_is_rarely_decisive(variants: int, studies: int):
    """Both "decisive" and "on this test set" count: the texts are no part of this simulation."""
    generator, before, after, findings = named_generator("no difference", variants), 0, 0, 0
    for _ in range(studies):
        found = compare(no_difference(generator, variants))
        assert len(found) == 6 + 10 * variants
        # the rule until 2026-12-01: Holm over encoder and dataset pairs, of which there is one here
        before += any((entry.p or 1) < LEVEL and leaves_zero_out(entry.ci_low, entry.ci_high) for entry in found)
        verdicts = {verdict(entry) for entry in found}
        after += bool(verdicts & {"decisive", "on_this_test_set"})
        findings += "to_confirm" in verdicts
    shares = [round(count / studies, 3) for count in (before, after, findings)]
    print(
        f"{6 + 10 * variants} tests, {studies} studies: before {shares[0]}, decisive {shares[1]}, finding {shares[2]}"
    )
    assert after / studies < LEVEL + margin(studies)
    assert findings / studies < LEVEL + margin(studies)
    assert before / studies > 0.1


def test_lasting_preferences_for_texts_are_no_difference():
    """Two arms that are equal on texts of this kind, each better on some of them whatever its seed; 10 seeds."""
    studies, texts, before, after = 400, 139, 0, 0
    generator, labels = named_generator("preferences"), np.zeros(texts, dtype=np.int32)
    for _ in range(studies):
        cells, predictions = [], {}
        for method, right in zip(("rtm", "l3masking"), two_arms(generator, 10, texts, PREFERENCE), strict=True):
            cells.append(seeded(method, right.mean(axis=1).tolist()))
            predictions[cells[-1].key] = dict(enumerate((~right).astype(np.uint8)))
        found, notes = over_texts(compare(cells), cells, predictions, {"arc": Truth(labels, 2)})
        assert notes == []
        assert len(found) == 1
        before += (found[0].p or 1) < LEVEL and leaves_zero_out(found[0].ci_low, found[0].ci_high)
        after += verdict(found[0]) == "decisive"
    print(f"preferences, {studies} studies: before {before / studies:.3f}, decisive {after / studies:.3f}")
    assert after / studies < LEVEL + margin(studies)
    assert before / studies > 0.3
