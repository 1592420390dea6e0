"""Rows against each other on evaluation sets: the numbers of a slow oracle, families of their own, plain words."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
import scipy.stats
from evaluated_cells import SETS, TRUTH, evaluated, record, records

from l3masking.metrics import METRICS
from study.report.wording import by_question, place, sentence, title
from study.results.aggregate import Cell, cell_key, cells
from study.results.compare import compare
from study.results.comparison import Comparison
from study.results.components import components
from study.results.set_comparisons import SetComparison, compare_sets, measured
from study.results.texts import Predictions, over_set_texts, over_texts


def slow(first: list[float], second: list[float]) -> tuple[float, float, float]:
    """Mean difference, its sample deviation and the sign-flip p, one flip after the other."""
    differences = [a - b for a, b in zip(first, second, strict=True)]
    mean = sum(differences) / len(differences)
    deviation = math.sqrt(sum((d - mean) ** 2 for d in differences) / (len(differences) - 1))
    flips = list(itertools.product((1, -1), repeat=len(differences)))
    hits = sum(
        abs(sum(s * d for s, d in zip(signs, differences, strict=True))) >= abs(sum(differences)) - 1e-12
        for signs in flips
    )
    return mean, deviation, hits / len(flips)


def read(method: str, objective: str, name: str, measure: str, seeds: int) -> list[float]:
    """Values or gaps straight from the records."""
    found = [record(method, seed, objective) for seed in range(seeds)]
    values = [entry["evaluations"][name]["metrics"][objective] for entry in found]
    if measure == "value":
        return values
    return [entry["test"][objective] - value for entry, value in zip(found, values, strict=True)]


@pytest.fixture(scope="module")
def study() -> list[Cell]:
    return evaluated(records(seeds=6), 6)


def test_every_comparison_is_that_of_a_slow_oracle(study: list[Cell]):
    found = compare_sets(study)
    assert len(found) == 3 * 2 * 2 * 2  # questions, objectives, measures, sets
    for entry in found:
        first, second = entry.question.split(" vs ")
        sides = [read(name, entry.objective, entry.evaluation, entry.measure, 6) for name in (first, second)]
        mean, deviation, p = slow(*sides)
        assert entry.n == 6
        assert entry.difference == pytest.approx(mean, abs=1e-12)
        assert entry.effect_size == pytest.approx(mean / deviation, rel=1e-9)
        assert entry.p == pytest.approx(p)
        half = (entry.ci_high or 0) - mean
        assert half == pytest.approx(2.5705818 * deviation / math.sqrt(6), rel=1e-6)  # t(.975; 5)
        assert (entry.first.mean, entry.second.mean) == tuple(pytest.approx(np.mean(side)) for side in sides)


def test_the_difference_of_gaps_is_that_of_the_test_split_minus_that_of_the_set(study: list[Cell]):
    on_test = {(entry.question, entry.objective): entry.difference or 0 for entry in compare(study)}
    found = {(c.question, c.objective, c.evaluation, c.measure): c.difference or 0 for c in compare_sets(study)}
    for (question, objective, name, measure), difference in found.items():
        if measure == "gap":
            on_set = found[question, objective, name, "value"]
            assert difference == pytest.approx(on_test[question, objective] - on_set, abs=1e-12)


def test_all_comparisons_on_sets_are_one_exploratory_family_and_leave_the_test_split_alone(study: list[Cell]):
    without = evaluated(records(seeds=6, sets=()), 6)
    assert compare(study) == compare(without)
    assert compare_sets(without) == []
    found = compare_sets(study)
    assert {(entry.confirmatory, entry.family, entry.complete) for entry in found} == {(False, 24, 24)}
    ordered = sorted(entry.p or 0 for entry in found)
    assert min(entry.p_holm or 0 for entry in found) == min(1, 24 * ordered[0])
    groups: dict[tuple[str, ...], list[SetComparison]] = {}
    for entry in found:
        groups.setdefault((entry.question, entry.objective, entry.measure), []).append(entry)
    for group in groups.values():
        assert [entry.evaluation for entry in group] == list(SETS)


def test_cells_that_have_not_run_count_in_the_family():
    """RTM has no record yet: its two questions are planned on both sets all the same."""
    some = [entry for entry in records(seeds=4) if entry["method"] != "rtm"]
    planned = {cell.key: cell.wanted for cell in evaluated(records(seeds=4))}
    found = compare_sets(cells(some, [], planned))
    assert {(entry.family, entry.complete) for entry in found} == {(24, 8)}
    assert {entry.n for entry in found if "rtm" in entry.question} == {0}


def test_two_datasets_share_a_family():
    other = [entry | {"dataset": "qqp", "key": f"q{entry['key']}"} for entry in records(("stl", "rtm"), sets=("anli",))]
    found = compare_sets(evaluated([*records(("stl", "rtm")), *other]))
    assert {(entry.dataset, entry.evaluation) for entry in found} == {
        *(("mnli", "hans"), ("mnli", "anli"), ("qqp", "anli"))
    }
    assert {entry.family for entry in found} == {3 * 2 * 2}  # objectives and measures


def test_seeds_that_lack_the_set_on_one_side_are_no_pairs():
    found = [record("rtm", seed) for seed in range(4)]
    found += [record("stl", seed, sets=("anli",) if seed == 2 else tuple(SETS)) for seed in range(4)]
    made = {(entry.evaluation, entry.measure): entry for entry in compare_sets(evaluated(found))}
    assert {key: entry.n for key, entry in made.items()} == {
        **{("hans", measure): 3 for measure in ("value", "gap")},
        **{("anli", measure): 4 for measure in ("value", "gap")},
    }
    rtm, stl = (
        [record(m, seed)["evaluations"]["hans"]["metrics"]["accuracy"] for seed in (0, 1, 3)] for m in ("rtm", "stl")
    )
    assert made["hans", "value"].difference == pytest.approx(slow(rtm, stl)[0], abs=1e-12)
    none = [record("rtm", 0), record("rtm", 1, sets=()), record("stl", 0, sets=()), record("stl", 1)]
    [value, *_] = compare_sets(evaluated(none))
    assert (value.n, value.difference, value.p) == (0, None, None)
    assert sentence(value) == "RTM and STL share no seed with a value on hans: nothing to compare."


def test_the_standard_error_is_that_of_the_set_and_no_gap_has_one(study: list[Cell]):
    for entry in compare_sets(study):
        if entry.measure == "gap" or entry.objective != "accuracy":
            assert entry.standard_error is None
        else:
            accuracy, texts = entry.first.mean or 0, len(TRUTH[entry.evaluation].labels)
            assert entry.test_texts == texts
            assert entry.standard_error == pytest.approx(math.sqrt(accuracy * (1 - accuracy) / texts))


# ---- words


def said(first: float, second: float, measure: str = "gap") -> str:
    """The sentence on RTM at `first` and STL at `second`, under two seeds."""
    found = []
    for method, value in (("rtm", first), ("stl", second)):
        for seed in range(2):
            entry = record(method, seed, sets=("anli",), test={"accuracy": 0.75, "macro_f1": 0})
            entry["evaluations"]["anli"]["metrics"] = {"accuracy": 0.75 - value if measure == "gap" else value}
            found.append(entry)
    return sentence(next(c for c in compare_sets(evaluated(found, 2)) if c.measure == measure))


def test_sentences_are_plain():
    assert said(0.25, 0.5).startswith("The gap of RTM to anli is 25.00 points below that of STL (")
    assert said(0.5, 0.25).startswith("The gap of RTM to anli is 25.00 points above that of STL (")
    assert said(0.25, 0.25).startswith("The gap of RTM to anli and that of STL are the same under every seed (")
    assert said(0.5, 0.25, "value").startswith("RTM is 25.00 points above STL on anli (")
    assert said(0.25, 0.25, "value").startswith("RTM and STL have the same value on anli under every seed (")
    [value, gap] = compare_sets(evaluated([record(m, s, sets=("hans",)) for m in ("rtm", "stl") for s in range(2)]))
    assert title(value) == "RTM against STL, accuracy on evaluation sets (exploratory)"
    assert title(gap) == "RTM against STL, accuracy, generalisation gap (exploratory)"
    assert place(value) == "bert / mnli on hans"


def test_tables_of_the_report_hold_each_comparison_once(study: list[Cell]):
    every: list[Comparison] = [*compare(study), *compare_sets(study)]
    found = by_question(every)
    assert sum(map(len, found)) == len(every)
    assert all(entry.confirmatory for group in found[:3] for entry in group), "confirmatory ones first"
    assert not any(entry.confirmatory for group in found[3:] for entry in group)


# ---- test texts as a sample too


def given(found: list[dict]) -> tuple[list[Cell], Predictions, dict[str, Predictions]]:
    """Cells, predictions on the test split, and on each set."""
    test: dict = {}
    on_sets: dict = {}
    for entry in found:
        key, seed = cell_key(entry), entry["seed"]
        test.setdefault(key, {})[seed] = np.array(entry["test_predictions"])
        for name, result in entry["evaluations"].items():
            on_sets.setdefault(name, {}).setdefault(key, {})[seed] = np.array(result["predictions"])
    return cells(found, [], 3), test, on_sets


TEST = {"mnli": TRUTH["test"]}
ON_SETS = {name: {"mnli": TRUTH[name]} for name in SETS}


def width(entry: SetComparison) -> float:
    return (entry.joint_high or 0) - (entry.joint_low or 0)


def one_less(name: str, predictions: np.ndarray, metric: str) -> np.ndarray:
    """Values by text of one model on the test split or a set, leaving out one text after the other."""
    truth = TRUTH[name]
    whole, rest = METRICS[metric](predictions, truth.labels, truth.num_classes), []
    for text in range(len(truth.labels)):
        keep = np.arange(len(truth.labels)) != text
        rest.append(METRICS[metric](predictions[keep], truth.labels[keep], truth.num_classes))
    return len(truth.labels) * whole - (len(truth.labels) - 1) * np.array(rest)


def test_the_interval_is_that_of_a_slow_oracle():
    found, test, on_sets = given(records(("rtm", "l3masking"), seeds=3, objectives=("macro_f1",)))
    made, notes = over_set_texts(compare_sets(found), found, (test, TEST), on_sets, ON_SETS)
    assert notes == []
    rtm, l3 = (next(cell.key for cell in found if cell.method == method) for method in ("rtm", "l3masking"))

    def table(name: str, rows: Predictions) -> np.ndarray:
        return np.array(
            [one_less(name, rows[l3][s], "macro_f1") - one_less(name, rows[rtm][s], "macro_f1") for s in range(3)]
        )

    tables = {"value": [table("hans", on_sets["hans"])]}
    tables["gap"] = [table("test", test), *tables["value"]]
    for measure, parts in tables.items():
        entry = next(c for c in made if (c.evaluation, c.measure) == ("hans", measure))
        of_texts = [(scipy.stats.t.ppf(0.975, part.shape[1] - 1) ** 2, components(part)) for part in parts]
        half = ((entry.ci_high or 0) - (entry.ci_low or 0)) / 2
        square = half**2 + sum(q * max(0.0, one.texts - one.both) for q, one in of_texts)
        expected = 2 * math.sqrt(max(square, sum(q * one.texts for q, one in of_texts)))
        assert width(entry) == pytest.approx(expected, rel=1e-9)


def test_the_test_split_and_a_set_are_samples_each_by_itself():
    """A set that equals the test split: no gap in any seed, but with other texts of both there is one."""
    found = records(("rtm", "l3masking"), seeds=3, objectives=("accuracy",), sets=())
    for entry in found:
        result = {"metrics": entry["test"], "labels": entry["labels"], "predictions": entry["test_predictions"]}
        entry["evaluations"] = {"twin": result}
    shown, test, on_sets = given(found)
    value, gap = over_set_texts(compare_sets(shown), shown, (test, TEST), on_sets, {"twin": TEST})[0]
    assert (gap.difference, gap.ci_low, gap.ci_high) == (0, 0, 0)
    rtm, l3 = (next(rows for key, rows in test.items() if key.method == method) for method in ("rtm", "l3masking"))
    truth = TRUTH["test"].labels
    table = np.array([(l3[s] == truth).astype(float) - (rtm[s] == truth) for s in range(3)])
    texts = scipy.stats.t.ppf(0.975, len(truth) - 1) * math.sqrt(2 * components(table).texts)
    assert width(gap) == pytest.approx(2 * texts)
    assert value.joint_low is not None


def test_splits_of_each_seed_leave_the_texts_of_a_set_the_same():
    """Then the seeds hold the choice of test texts, but not that of the set's; without its labels nothing is said."""
    found, _, on_sets = given(records(("rtm", "l3masking"), seeds=3, objectives=("accuracy",)))
    anew = [dataclasses.replace(cell, resampled=0.25) for cell in found]
    asked = compare_sets(anew)
    assert {(entry.joint_low, entry.joint_high) for entry in asked} == {(None, None)}
    made, notes = over_set_texts(asked, anew, ({}, {}), on_sets, ON_SETS)
    assert notes == []
    rtm, l3 = (next(cell.key for cell in found if cell.method == method) for method in ("rtm", "l3masking"))
    rows, truth = on_sets["hans"], TRUTH["hans"].labels
    table = np.array([(rows[l3][s] == truth).astype(float) - (rows[rtm][s] == truth) for s in range(3)])
    part = components(table)
    for entry in (c for c in made if c.evaluation == "hans"):
        by_seed = [anew[1].evaluations["hans"], anew[0].evaluations["hans"]]
        first, second = ((one.values if entry.measure == "value" else one.gaps) for one in by_seed)
        sign = 1 if anew[1].key == l3 else -1
        std = np.std([sign * (first[s] - second[s]) for s in range(3)], ddof=1)
        assert (entry.ci_high or 0) - (entry.ci_low or 0) == pytest.approx(
            2 * scipy.stats.t.ppf(0.975, 2) * std * math.sqrt(1 / 3 + 0.25)
        )
        of_texts = scipy.stats.t.ppf(0.975, len(truth) - 1) ** 2
        square = ((entry.ci_high or 0) - (entry.ci_low or 0)) ** 2 / 4 + of_texts * max(0.0, part.texts - part.both)
        assert width(entry) == pytest.approx(2 * math.sqrt(max(square, of_texts * part.texts)))
    on_test, _ = over_texts(compare(anew), anew, {}, {})
    assert all((entry.joint_low, entry.joint_high) == (entry.ci_low, entry.ci_high) for entry in on_test)


def test_the_order_stays_and_the_same_call_gives_the_same_intervals():
    found, test, on_sets = given(records(seeds=3))
    asked = compare_sets(found)
    made, _ = over_set_texts(asked, found, (test, TEST), on_sets, ON_SETS)
    again, _ = over_set_texts(asked, found, (test, TEST), on_sets, ON_SETS)
    assert made == again
    assert [(c.question, c.objective, c.evaluation, c.measure) for c in made] == [
        (c.question, c.objective, c.evaluation, c.measure) for c in asked
    ]
    for entry in made:
        assert (entry.joint_low or 0) < (entry.difference or 0) < (entry.joint_high or 0)


def test_labels_that_do_not_give_the_recorded_values_are_not_used():
    found, test, on_sets = given(records(("rtm", "stl"), objectives=("accuracy",), seeds=3))
    wrong = {**ON_SETS, "hans": {"mnli": TRUTH["hans"]._replace(labels=1 - TRUTH["hans"].labels)}}
    made, notes = over_set_texts(compare_sets(found), found, (test, TEST), on_sets, wrong)
    assert notes == ["bert / mnli: no interval over test texts: the labels do not give the recorded values on hans"]
    assert {(c.evaluation, c.measure): c.joint_low is None for c in made} == {
        **{("hans", measure): True for measure in ("value", "gap")},
        **{("anli", measure): False for measure in ("value", "gap")},
    }
    made, _ = over_set_texts(compare_sets(found), found, (test, {}), on_sets, ON_SETS)
    assert {(c.measure, c.joint_low is None) for c in made} == {("value", False), ("gap", True)}


def test_the_intervals_of_the_test_split_do_not_move():
    found, test, _ = given(records(seeds=3))
    without = [dataclasses.replace(cell, evaluations={}) for cell in found]
    assert over_texts(compare(found), found, test, TEST) == (over_texts(compare(without), without, test, TEST))


def test_a_measured_cell_keeps_its_identity(study: list[Cell]):
    cell = study[0]
    assert measured(cell, "hans", "gap").key == cell.key
    assert measured(cell, "hans", "value").values == cell.evaluations["hans"].values
