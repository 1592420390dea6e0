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
from study.results.compare import Compared, Comparison, Side
from study.results.paired import named_generator
from study.results.set_comparisons import MEASURES, SetComparison, measured

Predictions = Mapping[CellKey, Mapping[int, NDArray[np.integer]]]  # cell -> seed -> predicted class of each test text
Model = tuple[CellKey, int]  # a trained model: its cell and seed
METRIC_TOLERANCE = 1e-9  # between a record's test value and the same metric computed again
TEST = "test texts"  # name of the random stream


class Truth(NamedTuple):
    """The test set of one dataset, or one of its evaluation sets."""

    labels: NDArray[np.integer]  # [E] indices into the sorted labels of the set, as predictions are
    num_classes: int


class Sample(NamedTuple):
    """The texts of one kind, and what all models say of them."""

    name: str  # of the random stream
    what: str  # its values in words
    cells: Mapping[CellKey, Cell]  # with the values that were recorded on these texts
    predictions: Predictions
    truths: Mapping[str, Truth]  # dataset -> the truth


Resamples = dict[tuple[object, ...], NDArray[np.float64] | None]  # what was drawn already


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
    test = Sample(TEST, "test values", {cell.key: cell for cell in cells}, predictions, truths)
    return Resampled(*_resample(comparisons, [test], (), {}, draws))


def resample_sets(
    comparisons: Sequence[SetComparison],
    cells: Sequence[Cell],
    test: tuple[Predictions, Mapping[str, Truth]],
    on_sets: Mapping[str, Predictions],
    truths: Mapping[str, Mapping[str, Truth]],
    *,
    draws: int = DRAWS,
) -> tuple[list[SetComparison], list[str]]:
    """The same for comparisons on evaluation sets; for a gap, the test split and the set are resampled each by itself.

    `test`: predictions and truths of the test split; `on_sets` and `truths`: those of each evaluation set, by name.
    """
    known = {cell.key: cell for cell in cells}
    split = Sample(TEST, "test values", known, *test)
    samples = {
        name: Sample(
            f"texts of {name}",
            f"values on {name}",
            {key: measured(cell, name, "value") for key, cell in known.items() if name in cell.evaluations},
            on_sets.get(name, {}),
            truths.get(name, {}),
        )
        for name in dict.fromkeys(entry.evaluation for entry in comparisons)
    }
    found, notes = list(comparisons), []
    for place in dict.fromkeys((entry.encoder, entry.dataset) for entry in comparisons):
        made: Resamples = {}  # of one place at a time: a table of models and draws takes some MB
        for name, own in samples.items():
            for measure in MEASURES:
                wanted = (*place, name, measure)
                here = [i for i, e in enumerate(found) if (e.encoder, e.dataset, e.evaluation, e.measure) == wanted]
                parts = [own] if measure == "value" else [split, own]
                done, said = _resample([found[index] for index in here], parts, (name, measure), made, draws)
                for index, entry in zip(here, done, strict=True):
                    found[index] = entry
                notes += said
    return found, list(dict.fromkeys(notes))


def _resample(
    comparisons: Sequence[Compared], samples: Sequence[Sample], named: Sequence[str], made: Resamples, draws: int
) -> tuple[list[Compared], list[str]]:
    """Comparisons of a value on the first sample, minus the value on the second where there is one."""
    out, notes = list(comparisons), []
    known = samples[-1].cells
    for place in dict.fromkeys((entry.encoder, entry.dataset) for entry in comparisons):
        here = [index for index, entry in enumerate(out) if (entry.encoder, entry.dataset) == place and entry.n]
        if not here or any(place[1] not in sample.truths for sample in samples):
            continue
        used = _models([out[index] for index in here], known)
        parts = [_drawn(sample, place, used, made, draws) for sample in samples]
        for sample, part in zip(samples, parts, strict=True):
            if part is None:
                where = " / ".join(place)
                notes.append(f"{where}: no interval over test texts: the labels do not give the recorded {sample.what}")
        drawn = [part for part in parts if part is not None]
        if len(drawn) < len(parts):
            continue
        values = drawn[0] if len(drawn) == 1 else drawn[0] - drawn[1]
        rows = {model: row for row, model in enumerate(used)}
        for index in here:
            entry = out[index]
            first, second = (values[[rows[model] for model in _models([entry], known, side)]] for side in (0, 1))
            generator = named_generator("seeds", entry.question, *place, entry.objective, *named)
            low, high = joint_interval(first, second, generator)
            out[index] = dataclasses.replace(entry, bootstrap_low=low, bootstrap_high=high)
    return out, notes


def _drawn(
    sample: Sample, place: tuple[str, str], used: Sequence[Model], made: Resamples, draws: int
) -> NDArray[np.float64] | None:
    """The metric of each model on the resampled texts [M, draws]; None if the labels do not give recorded values."""
    name = (sample.name, *used)
    if name not in made:
        truth, predictions = sample.truths[place[1]], sample.predictions
        right = all(_agrees(predictions, truth, key, seed, sample.cells[key].values[seed]) for key, seed in used)
        made[name] = None
        if right:
            made[name] = resampled_metrics(
                truth.labels,
                np.array([predictions[key][seed] for key, seed in used]),
                [key.objective for key, _ in used],
                truth.num_classes,
                named_generator(sample.name, *place),
                draws=draws,
            )
    return made[name]


def _models(comparisons: Sequence[Comparison], cells: Mapping[CellKey, Cell], only: int | None = None) -> list[Model]:
    """(cell, seed) of the trained models that these comparisons use, each once; of one side alone with `only`."""
    models: dict[Model, None] = {}
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
