"""Comparisons with the test texts taken as a sample too: what other texts of the same kind might have said."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from l3masking.metrics import METRICS
from study.results.aggregate import Cell, CellKey
from study.results.bootstrap import DRAWS, joint_interval, resampled_metrics
from study.results.compare import Comparison, Side
from study.results.paired import named_generator

Predictions = Mapping[CellKey, Mapping[int, NDArray[np.integer]]]  # cell -> seed -> predicted class of each test text
METRIC_TOLERANCE = 1e-9  # between a record's test value and the same metric computed again


class Truth(NamedTuple):
    """The test set of one dataset."""

    labels: NDArray[np.integer]  # [E] indices into the dataset's sorted labels, as predictions are
    num_classes: int


class Resampled(NamedTuple):
    """Comparisons, with their bootstrap intervals where that was possible, and a line for each place where not."""

    comparisons: list[Comparison]
    notes: list[str]


def resample_texts(
    comparisons: Sequence[Comparison],
    cells: Sequence[Cell],
    predictions: Predictions,
    truths: Mapping[str, Truth],
    *,
    draws: int = DRAWS,
) -> Resampled:
    """Add to paired comparisons within a study the 95 % interval over seeds and test texts together.

    All models of an encoder and dataset see the same resampled test sets. Random streams are named by what they serve,
    so that the same call gives the same intervals.
    """
    known = {cell.key: cell for cell in cells}
    out, notes = list(comparisons), []
    for place in dict.fromkeys((entry.encoder, entry.dataset) for entry in comparisons):
        here = [index for index, entry in enumerate(out) if (entry.encoder, entry.dataset) == place and entry.n]
        truth, name = truths.get(place[1]), " / ".join(place)
        if truth is None or not here:
            continue
        used = _models([out[index] for index in here], known)
        wrong = [f"seed {s}" for key, s in used if not _agrees(predictions, truth, key, s, known[key].values[s])]
        if wrong:
            notes.append(f"{name}: no interval over test texts: the labels do not give the recorded test values")
            continue
        drawn = resampled_metrics(
            truth.labels,
            np.array([predictions[key][seed] for key, seed in used]),
            [key.objective for key, _ in used],
            truth.num_classes,
            named_generator("test texts", *place),
            draws=draws,
        )
        rows = {model: row for row, model in enumerate(used)}
        for index in here:
            entry = out[index]
            first, second = (drawn[[rows[model] for model in _models([entry], known, side)]] for side in (0, 1))
            low, high = joint_interval(first, second, named_generator("seeds", entry.question, *place, entry.objective))
            out[index] = dataclasses.replace(entry, bootstrap_low=low, bootstrap_high=high)
    return Resampled(out, notes)


def _models(
    comparisons: Sequence[Comparison], cells: Mapping[CellKey, Cell], only: int | None = None
) -> list[tuple[CellKey, int]]:
    """(cell, seed) of the trained models that these comparisons use, each once; of one side alone with `only`."""
    models: dict[tuple[CellKey, int], None] = {}
    for entry in comparisons:
        first, second = (cells[_key(entry, side)] for side in (entry.first, entry.second))
        seeds = [seed for seed in first.values if seed in second.values]
        for cell in (first, second) if only is None else ((first, second)[only],):
            models |= dict.fromkeys((cell.key, seed) for seed in seeds)
    return list(models)


def _key(entry: Comparison, side: Side) -> CellKey:
    return CellKey(entry.encoder, entry.dataset, side.method, side.variant, side.mask_mean, entry.objective)


def _agrees(predictions: Predictions, truth: Truth, key: CellKey, seed: int, value: float) -> bool:
    predicted = predictions.get(key, {}).get(seed)
    if predicted is None or len(predicted) != len(truth.labels):
        return False
    return abs(METRICS[key.objective](predicted, truth.labels, truth.num_classes) - value) <= METRIC_TOLERANCE
