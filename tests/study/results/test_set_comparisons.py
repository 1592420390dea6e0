"""Rows against each other on evaluation sets: the numbers of a slow oracle, families of their own, plain words."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from evaluated_cells import SETS, TRUTH, evaluated, record, records

from l3masking.metrics import METRICS
from study.report.wording import families, place, sentence, title
from study.results.aggregate import Cell, cell_key, cells
from study.results.compare import Comparison, compare
from study.results.paired import named_generator
from study.results.set_comparisons import SetComparison, compare_sets, measured
from study.results.texts import Predictions, resample_sets, resample_texts


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


def test_families_are_apart_for_values_and_gaps_and_leave_those_of_the_test_split_alone(study: list[Cell]):
    without = evaluated(records(seeds=6, sets=()), 6)
    assert compare(study) == compare(without)
    assert compare_sets(without) == []
    groups: dict[tuple[str, ...], list[SetComparison]] = {}
    for entry in compare_sets(study):
        groups.setdefault((entry.question, entry.objective, entry.measure), []).append(entry)
    for family in groups.values():
        assert [entry.evaluation for entry in family] == list(SETS)
        low, high = sorted(entry.p or 0 for entry in family)
        assert sorted(entry.p_holm or 0 for entry in family) == [min(1, 2 * low), max(min(1, 2 * low), high)]
        assert {(entry.family, entry.floor) for entry in family} == {(2, 2 / 2**6)}


def test_two_datasets_share_a_family():
    other = [entry | {"dataset": "qqp", "key": f"q{entry['key']}"} for entry in records(("stl", "rtm"), sets=("anli",))]
    found = compare_sets(evaluated([*records(("stl", "rtm")), *other]))
    assert {(entry.dataset, entry.evaluation) for entry in found} == {
        *(("mnli", "hans"), ("mnli", "anli"), ("qqp", "anli"))
    }
    assert {entry.family for entry in found} == {3}


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
    assert title(value) == "RTM against STL, accuracy on evaluation sets"
    assert title(gap) == "RTM against STL, accuracy, generalisation gap"
    assert place(value) == "bert / mnli on hans"


def test_families_of_the_report_are_those_of_the_adjustment(study: list[Cell]):
    plain: list[Comparison] = [*compare(study), *compare_sets(study)]
    found = families(plain)
    assert sum(map(len, found)) == len(plain)
    for family in found:
        assert {entry.family for entry in family} == {len(family)}


# ---- resampled texts


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


def test_the_interval_is_the_bootstrap_written_as_a_loop():
    found, test, on_sets = given(records(("rtm", "l3masking"), seeds=3, objectives=("macro_f1",)))
    made, notes = resample_sets(compare_sets(found), found, (test, TEST), on_sets, ON_SETS, draws=4000)
    assert notes == []
    rtm, l3 = (next(cell.key for cell in found if cell.method == method) for method in ("rtm", "l3masking"))
    metric, generator = METRICS["macro_f1"], named_generator("loop")
    slow: dict[str, list[float]] = {"value": [], "gap": []}
    truth, own = TRUTH["test"], TRUTH["hans"]
    for _ in range(4000):
        texts = generator.integers(0, len(truth.labels), len(truth.labels))
        other = generator.integers(0, len(own.labels), len(own.labels))
        values, gaps = [], []
        for seed in generator.integers(0, 3, 3):
            numbers = {
                key: (
                    metric(test[key][seed][texts], truth.labels[texts], truth.num_classes),
                    metric(on_sets["hans"][key][seed][other], own.labels[other], own.num_classes),
                )
                for key in (rtm, l3)
            }
            values.append(numbers[l3][1] - numbers[rtm][1])
            gaps.append((numbers[l3][0] - numbers[l3][1]) - (numbers[rtm][0] - numbers[rtm][1]))
        slow["value"].append(float(np.mean(values)))
        slow["gap"].append(float(np.mean(gaps)))
    for measure, drawn in slow.items():
        entry = next(c for c in made if (c.evaluation, c.measure) == ("hans", measure))
        low, high = np.quantile(drawn, [0.025, 0.975])
        margin = 5 * 2.67 * np.std(drawn) * np.sqrt(2 / 4000)  # both are drawn; 2.67: of a normal 2.5 % quantile
        assert abs((entry.bootstrap_low or 0) - low) < margin
        assert abs((entry.bootstrap_high or 0) - high) < margin
        assert margin < 0.2 * (high - low)


def test_the_test_split_and_a_set_are_resampled_each_by_itself():
    """A set that equals the test split: no gap in any seed, but other draws of the two have one, sqrt(2) as wide."""
    found = records(("rtm", "l3masking"), seeds=3, objectives=("accuracy",), sets=())
    for entry in found:
        result = {"metrics": entry["test"], "labels": entry["labels"], "predictions": entry["test_predictions"]}
        entry["evaluations"] = {"twin": result}
    shown, test, on_sets = given(found)
    value, gap = resample_sets(compare_sets(shown), shown, (test, TEST), on_sets, {"twin": TEST}, draws=4000)[0]
    assert (gap.difference, gap.ci_low, gap.ci_high) == (0, 0, 0)
    text_width = wide(found, test)
    assert (gap.bootstrap_high or 0) - (gap.bootstrap_low or 0) == pytest.approx(2**0.5 * text_width, rel=0.1)
    assert value.bootstrap_low is not None


def wide(found: list[dict], test: Predictions) -> float:
    """Width of the interval of the mean paired difference over resampled texts and seeds, with fixed differences."""
    generator, truth = named_generator("wide"), TRUTH["test"].labels
    rtm, l3 = (next(rows for key, rows in test.items() if key.method == method) for method in ("rtm", "l3masking"))
    right = np.array([(l3[seed] == truth).astype(float) - (rtm[seed] == truth) for seed in range(3)])
    right -= right.mean(axis=1, keepdims=True)  # only what texts do
    drawn = [
        np.mean(right[generator.integers(0, 3, 3)][:, generator.integers(0, len(truth), len(truth))])
        for _ in range(4000)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(high - low)


def test_the_order_stays_and_the_same_call_gives_the_same_intervals():
    found, test, on_sets = given(records(seeds=3))
    asked = compare_sets(found)
    made, _ = resample_sets(asked, found, (test, TEST), on_sets, ON_SETS, draws=200)
    again, _ = resample_sets(asked, found, (test, TEST), on_sets, ON_SETS, draws=200)
    assert made == again
    assert [(c.question, c.objective, c.evaluation, c.measure) for c in made] == [
        (c.question, c.objective, c.evaluation, c.measure) for c in asked
    ]
    for entry in made:
        assert (entry.bootstrap_low or 0) < (entry.difference or 0) < (entry.bootstrap_high or 0)


def test_labels_that_do_not_give_the_recorded_values_are_not_used():
    found, test, on_sets = given(records(("rtm", "stl"), objectives=("accuracy",), seeds=3))
    wrong = {**ON_SETS, "hans": {"mnli": TRUTH["hans"]._replace(labels=1 - TRUTH["hans"].labels)}}
    made, notes = resample_sets(compare_sets(found), found, (test, TEST), on_sets, wrong, draws=50)
    assert notes == ["bert / mnli: no interval over test texts: the labels do not give the recorded values on hans"]
    assert {(c.evaluation, c.measure): c.bootstrap_low is None for c in made} == {
        **{("hans", measure): True for measure in ("value", "gap")},
        **{("anli", measure): False for measure in ("value", "gap")},
    }
    made, _ = resample_sets(compare_sets(found), found, (test, {}), on_sets, ON_SETS, draws=50)
    assert {(c.measure, c.bootstrap_low is None) for c in made} == {("value", False), ("gap", True)}


def test_the_intervals_of_the_test_split_do_not_move():
    found, test, _ = given(records(seeds=3))
    without = [dataclasses.replace(cell, evaluations={}) for cell in found]
    assert resample_texts(compare(found), found, test, TEST, draws=100) == (
        resample_texts(compare(without), without, test, TEST, draws=100)
    )


def test_a_measured_cell_keeps_its_identity(study: list[Cell]):
    cell = study[0]
    assert measured(cell, "hans", "gap").key == cell.key
    assert measured(cell, "hans", "value").values == cell.evaluations["hans"].values
