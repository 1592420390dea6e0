"""Intervals over seeds and test texts: who gets one, from which models, and what if the labels do not fit."""

from __future__ import annotations

import numpy as np
import pytest
from compared_cells import seeded

from l3masking.metrics import METRICS
from study.results.compare import compare
from study.results.paired import named_generator
from study.results.texts import Truth, resample_texts

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
    found, notes = resample_texts(compare(cells), cells, predictions, TRUTH, draws=500)
    assert notes == []
    assert len(found) == 6
    for entry in found:
        low, high = entry.bootstrap_low or 0, entry.bootstrap_high or 0
        assert low < (entry.difference or 0) < high
    far = next(entry for entry in found if entry.question == "l3masking vs stl")
    assert (far.bootstrap_low or 0) > 0.2
    again = resample_texts(compare(cells), cells, predictions, TRUTH, draws=500)
    assert again.comparisons == found


def test_the_streams_are_those_that_they_were():
    """Intervals of the same records stay the same from version to version: these are of 2026-12-01."""
    cells, predictions = world()
    found = resample_texts(compare(cells), cells, predictions, TRUTH, draws=500).comparisons
    assert [(entry.bootstrap_low, entry.bootstrap_high) for entry in found] == [
        pytest.approx(ends, abs=1e-12)
        for ends in (
            (0.292109375, 0.514140625),
            (0.27039606679655953, 0.49611637286805943),
            (0.367109375, 0.58453125),
            (0.41326248509145014, 0.5881504119224731),
            (-0.05953125, 0.176640625),
            (-0.012009659221216544, 0.23756076466059253),
        )
    ]


def test_it_is_the_bootstrap_of_rows_and_columns_written_as_a_loop():
    cells, predictions = world(("rtm", "l3masking"), seeds=3, objectives=("macro_f1",))
    [entry] = resample_texts(compare(cells), cells, predictions, TRUTH, draws=4000).comparisons
    generator, slow = named_generator("loop"), []
    rtm, l3 = (predictions[cell.key] for cell in cells)
    for _ in range(4000):
        texts, seeds = generator.integers(0, TEXTS, TEXTS), generator.integers(0, 3, 3)
        gains = [
            METRICS["macro_f1"](l3[s][texts], LABELS[texts], CLASSES)
            - METRICS["macro_f1"](rtm[s][texts], LABELS[texts], CLASSES)
            for s in seeds
        ]
        slow.append(np.mean(gains))
    low, high = np.quantile(slow, [0.025, 0.975])
    margin = 5 * 2.67 * np.std(slow) * np.sqrt(2 / 4000)  # both are drawn; 2.67: of a normal 2.5 % quantile
    assert abs((entry.bootstrap_low or 0) - low) < margin
    assert abs((entry.bootstrap_high or 0) - high) < margin
    assert margin < 0.2 * (high - low)


def test_labels_that_do_not_give_the_recorded_values_are_not_used():
    cells, predictions = world()
    other = Truth((LABELS + 1) % CLASSES, CLASSES)
    for truth in (other, Truth(LABELS[:-1], CLASSES)):
        found, [note] = resample_texts(compare(cells), cells, predictions, {"arc": truth}, draws=10)
        assert note == "bert / arc: no interval over test texts: the labels do not give the recorded test values"
        assert {entry.bootstrap_low for entry in found} == {None}
    found, [_] = resample_texts(compare(cells), cells, {}, TRUTH, draws=10)
    assert {entry.bootstrap_low for entry in found} == {None}


def test_where_there_are_no_labels_or_no_pairs_nothing_happens():
    cells, predictions = world()
    given = compare(cells)
    assert resample_texts(given, cells, predictions, {}) == (given, [])
    empty = [seeded("rtm", []), seeded("l3masking", [])]
    assert resample_texts(compare(empty), empty, {}, TRUTH) == (compare(empty), [])


@pytest.mark.parametrize("seeds", [1, 2])
def test_few_seeds_have_an_interval_over_texts(seeds: int):
    cells, predictions = world(("rtm", "l3masking"), seeds=seeds, objectives=("accuracy",))
    [entry] = resample_texts(compare(cells), cells, predictions, TRUTH, draws=200).comparisons
    assert entry.bootstrap_low is not None
    assert (entry.ci_low is None) == (seeds == 1)
