"""Comparisons with the test texts taken as a sample too: what other texts of the same kind might have said."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.results.aggregate import Cell, CellKey
from study.results.comparison import Comparison, compared_cell
from study.results.components import joint_interval, text_values
from study.results.families import Compared
from study.results.set_comparisons import MEASURES, SetComparison, measured

Predictions = Mapping[CellKey, Mapping[int, NDArray[np.integer]]]  # cell -> seed -> predicted class of each test text
METRIC_TOLERANCE = 1e-9  # between a record's test value and the same metric computed again
ByText = dict[int, NDArray[np.float64]]  # seed -> value on each text [E], as study.results.components has it


class Truth(NamedTuple):
    """The test set of one dataset, or one of its evaluation sets."""

    labels: NDArray[np.integer]  # [E] indices into the sorted labels of the set, as predictions are
    num_classes: int


class Sample(NamedTuple):
    """The texts of one kind, and what all models say of them."""

    what: str  # its values in words
    cells: Mapping[CellKey, Cell]  # with the values that were recorded on these texts
    predictions: Predictions
    truths: Mapping[str, Truth]  # dataset -> the truth
    anew: Collection[str] = ()  # datasets with other texts under each seed, which are no sample beside the seeds


class OverTexts(NamedTuple):
    """Comparisons with their intervals over seeds and texts where that is possible; a line for each place where not."""

    comparisons: list[Comparison]
    notes: list[str]


def over_texts(
    comparisons: Sequence[Comparison],
    cells: Sequence[Cell],
    predictions: Predictions,
    truths: Mapping[str, Truth],
) -> OverTexts:
    """Add to paired comparisons within a study the 95 % interval over seeds and test texts together."""
    known = {cell.key: cell for cell in cells}
    test = Sample("test values", known, predictions, truths, _cut_anew(cells))
    return OverTexts(*_over(comparisons, [test], known))


def over_set_texts(
    comparisons: Sequence[SetComparison],
    cells: Sequence[Cell],
    test: tuple[Predictions, Mapping[str, Truth]],
    on_sets: Mapping[str, Predictions],
    truths: Mapping[str, Mapping[str, Truth]],
) -> tuple[list[SetComparison], list[str]]:
    """The same for comparisons on evaluation sets; for a gap, the test split and the set are samples each by itself.

    A test split that each seed cuts anew is no sample beside the seeds; the set is the same under all of them.
    `test`: predictions and truths of the test split; `on_sets` and `truths`: those of each evaluation set, by name.
    """
    known = {cell.key: cell for cell in cells}
    split = Sample("test values", known, *test, _cut_anew(cells))
    found, notes = list(comparisons), []
    for name in dict.fromkeys(entry.evaluation for entry in comparisons):
        there = {key: cell for key, cell in known.items() if name in cell.evaluations}
        values, gaps = ({key: measured(cell, name, measure) for key, cell in there.items()} for measure in MEASURES)
        own = Sample(f"values on {name}", values, on_sets.get(name, {}), truths.get(name, {}))
        for measure, parts, compared in (("value", [own], values), ("gap", [split, own], gaps)):
            here = [i for i, entry in enumerate(found) if (entry.evaluation, entry.measure) == (name, measure)]
            done, said = _over([found[index] for index in here], parts, compared)
            for index, entry in zip(here, done, strict=True):
                found[index] = entry
            notes += said
    return found, list(dict.fromkeys(notes))


def _over(
    comparisons: Sequence[Compared], samples: Sequence[Sample], compared: Mapping[CellKey, Cell]
) -> tuple[list[Compared], list[str]]:
    """Comparisons of the values of the cells `compared`, which are those on the first sample minus those on the second.

    One encoder, dataset and objective at a time: the values of all models on all texts take some MB.
    """
    out, notes = list(comparisons), []
    for place in dict.fromkeys((entry.encoder, entry.dataset, entry.objective) for entry in comparisons if entry.n):
        parts = [sample for sample in samples if place[1] not in sample.anew]
        if not parts or any(place[1] not in sample.truths for sample in parts):
            continue
        made: list[dict[CellKey, ByText | None]] = [{} for _ in parts]
        for index, entry in enumerate(out):
            if (entry.encoder, entry.dataset, entry.objective) != place or not entry.n:
                continue
            keys = [compared_cell(entry, side) for side in (entry.first, entry.second)]
            here, there = (compared[key].values for key in keys)
            seeds = [seed for seed in here if seed in there]
            tables = [_table(sample, known, keys, seeds) for sample, known in zip(parts, made, strict=True)]
            where = " / ".join(place[:2])
            notes += [
                f"{where}: no interval over test texts: the labels do not give the recorded {sample.what}"
                for sample, table in zip(parts, tables, strict=True)
                if table is None
            ]
            whole = [table for table in tables if table is not None]
            if len(whole) == len(parts):
                ratio = compared[keys[0]].resampled or 0.0
                low, high = joint_interval([here[seed] - there[seed] for seed in seeds], whole, ratio=ratio)
                out[index] = dataclasses.replace(entry, joint_low=low, joint_high=high)
    return out, list(dict.fromkeys(notes))


def _table(
    sample: Sample, known: dict[CellKey, ByText | None], keys: Sequence[CellKey], seeds: Sequence[int]
) -> NDArray[np.float64] | None:
    """First minus second on each text [n, E]; None if the labels do not give what was recorded. `known` is filled."""
    for key in keys:
        if key not in known:
            known[key] = _by_text(sample, key)
    first, second = (known[key] for key in keys)
    if first is None or second is None or not {*seeds} <= first.keys() & second.keys():
        return None
    return np.array([first[seed] - second[seed] for seed in seeds])


def _by_text(sample: Sample, key: CellKey) -> ByText | None:
    """The values by text of every seed of a cell that has predictions; None if these do not give what was recorded."""
    truth, recorded = sample.truths[key.dataset], sample.cells[key].values
    predictions = sample.predictions.get(key, {})
    seeds = [seed for seed in recorded if seed in predictions]
    if not seeds or any(len(predictions[seed]) != len(truth.labels) for seed in seeds):
        return None
    table = np.array([predictions[seed] for seed in seeds])
    if table.max() >= truth.num_classes:
        return None
    found = text_values(truth.labels, table, key.objective, truth.num_classes)
    if np.abs(found.metric - [recorded[seed] for seed in seeds]).max() > METRIC_TOLERANCE:
        return None
    return dict(zip(seeds, found.by_text, strict=True))


def _cut_anew(cells: Sequence[Cell]) -> frozenset[str]:
    """The datasets whose test split each seed cuts anew."""
    return frozenset(cell.dataset for cell in cells if cell.resampled is not None)
