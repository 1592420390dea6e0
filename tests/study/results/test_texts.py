"""Intervals over seeds and test texts: who gets one, from which models, and what if the labels do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from compared_cells import seeded

from l3masking.metrics import METRICS
from study.results.compare import compare
from study.results.components import joint_interval
from study.results.paired import named_generator
from study.results.texts import Truth, over_texts

TEXTS, CLASSES = 80, 3
LABELS = named_generator("labels").integers(0, CLASSES, TEXTS).astype(np.int32)
RIGHT = {"stl": 0.4, "rtm": 0.5, "l3masking": 0.9}  # share of right answers


def world(methods=("stl", "rtm", "l3masking"), seeds: int = 4, objectives=("accuracy", "macro_f1")):
    """Cells, and the predictions that gave their values; every seed and objective has a model of its own."""
    cells, predictions = [], {}
    for method in methods:
        for objective in objectives:
            made = {}
            for seed in range(seeds):
                generator = named_generator(method, objective, seed)
                wrong = (LABELS + 1 + generator.integers(0, CLASSES - 1, TEXTS)) % CLASSES
                made[seed] = np.where(generator.random(TEXTS) < RIGHT[method], LABELS, wrong).astype(np.uint8)
            values = {seed: METRICS[objective](row, LABELS, CLASSES) for seed, row in made.items()}
            cells.append(seeded(method, values, objective=objective))
            predictions[cells[-1].key] = made
    return cells, predictions


TRUTH = {"arc": Truth(LABELS, CLASSES)}


def test_every_paired_comparison_gets_an_interval_around_its_difference():
    cells, predictions = world()
    found, notes = over_texts(compare(cells), cells, predictions, TRUTH)
    assert notes == []
    assert len(found) == 6
    for entry in found:
        low, high = entry.joint_low or 0, entry.joint_high or 0
        inner = entry.ci_low or 0, entry.ci_high or 0
        assert low <= inner[0] + 1e-12 < (entry.difference or 0) < inner[1] <= high + 1e-12
    far = next(entry for entry in found if entry.question == "l3masking vs stl")
    assert (far.joint_low or 0) > 0.2
    assert over_texts(compare(cells), cells, predictions, TRUTH).comparisons == found


@pytest.mark.parametrize("objective", ["accuracy", "macro_f1"])
def test_it_is_made_of_the_models_of_the_shared_seeds_and_one_text_less_at_a_time(objective: str):
    """The same from METRICS alone: values by text as differences of whole and rest."""
    cells, predictions = world(("rtm", "l3masking"), objectives=(objective,))
    del cells[0].values[1]  # a dictionary in a frozen cell
    [entry] = over_texts(compare(cells), cells, predictions, TRUTH).comparisons
    rtm, l3 = (predictions[cell.key] for cell in cells)
    metric = METRICS[objective]

    def by_text(row: np.ndarray) -> list[float]:
        whole = metric(row, LABELS, CLASSES)
        rest = [np.arange(TEXTS) != text for text in range(TEXTS)]
        return [TEXTS * whole - (TEXTS - 1) * metric(row[keep], LABELS[keep], CLASSES) for keep in rest]

    table = np.array([np.subtract(by_text(l3[seed]), by_text(rtm[seed])) for seed in (0, 2, 3)])
    differences = [metric(l3[s], LABELS, CLASSES) - metric(rtm[s], LABELS, CLASSES) for s in (0, 2, 3)]
    assert entry.n == 3
    assert (entry.joint_low, entry.joint_high) == pytest.approx(joint_interval(differences, [table]), abs=1e-9)


def test_labels_that_do_not_give_the_recorded_values_are_not_used():
    cells, predictions = world()
    for truth in (Truth((LABELS + 1) % CLASSES, CLASSES), Truth(LABELS[:-1], CLASSES), Truth(LABELS, 2)):
        found, [note] = over_texts(compare(cells), cells, predictions, {"arc": truth})
        assert note == "bert / arc: no interval over test texts: the labels do not give the recorded test values"
        assert {entry.joint_low for entry in found} == {None}
    found, [_] = over_texts(compare(cells), cells, {}, TRUTH)
    assert {entry.joint_low for entry in found} == {None}


def test_where_there_are_no_labels_or_no_pairs_nothing_happens():
    cells, predictions = world()
    given = compare(cells)
    assert over_texts(given, cells, predictions, {}) == (given, [])
    empty = [seeded("rtm", []), seeded("l3masking", [])]
    assert over_texts(compare(empty), empty, {}, TRUTH) == (compare(empty), [])


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_an_interval_over_texts(seeds: int):
    cells, predictions = world(("rtm", "l3masking"), seeds=seeds, objectives=("accuracy",))
    [entry] = over_texts(compare(cells), cells, predictions, TRUTH).comparisons
    assert entry.joint_low is not None
    assert (entry.ci_low is None) == (seeds == 1)
