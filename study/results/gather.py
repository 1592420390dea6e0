"""From a study's folder to its tables: the plan says which records count, the records say the rest."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from l3masking.data.spec import DataSpec
from study.plan.grid import of_plan
from study.plan.trials import Trial
from study.results.aggregate import Cell, CellKey, Order, TimingRow, cell_key, cells, timing_rows
from study.results.compare import Comparison, compare
from study.results.convergence import converged
from study.results.courses import Course, course_of
from study.results.generalisation import Judged
from study.results.set_comparisons import SetComparison, compare_sets
from study.results.texts import Predictions
from study.space.search_section import BEST
from study.space.spec import StudySpec
from study.store.record import Failure, Kept, part
from study.store.store import Store


class Results(NamedTuple):
    """What the records of a study say."""

    cells: list[Cell]
    timing: list[TimingRow]
    comparisons: list[Comparison]
    """The default questions, without the resampling of test texts."""
    failures: list[Failure]
    """Trials and objectives that failed and have no record."""
    predictions: Predictions
    """Of every record, on its test set."""
    set_comparisons: list[SetComparison]
    """The same questions on the evaluation sets, without the resampling of texts; empty without such sets."""
    set_predictions: Mapping[str, Predictions]
    """Evaluation set -> predictions on it, of every record that read it."""
    courses: Sequence[Course]
    """What figures need, of every record."""


def gather(store: Store, spec: StudySpec, trials: Sequence[Trial]) -> Results:
    """Aggregate and compare the records of `trials`, in the order of the space."""
    keys = {key for trial in trials for key in trial.keys.values()}
    read, courses = _read(store, keys)
    records = of_plan(read, trials)
    failures = of_plan(store.failures(), trials)
    wanted = Counter(
        CellKey(trial.encoder, trial.dataset, trial.method, trial.variant, trial.mask_mean, objective)
        for trial in trials
        for objective in trial.keys
    )
    order = Order(
        encoder=list(dict.fromkeys(pair.encoder for pair in spec.pairs)),
        dataset=list(dict.fromkeys(pair.dataset for pair in spec.pairs)),
        method=spec.methods,
        variant=list(spec.variants),
        objective=spec.objectives,
    )
    predictions: dict[CellKey, dict[int, Any]] = {}
    on_sets: dict[str, dict[CellKey, dict[int, Any]]] = {}
    for record in records:
        key, seed = cell_key(record), record["seed"]
        if "test_predictions" in record:
            predictions.setdefault(key, {})[seed] = record["test_predictions"]
        if "evaluations" in record:  # files have them by name
            record["evaluations"] = dict(sorted(record["evaluations"].items(), key=_place(spec, record["dataset"])))
        for name, result in record.get("evaluations", {}).items():
            on_sets.setdefault(name, {}).setdefault(key, {})[seed] = result["predictions"]
    found = cells(records, failures, wanted, keys=keys, order=order)
    return Results(
        cells=found,
        timing=timing_rows(records, keys=keys, order=order),
        comparisons=compare(found, reordered=reordered(spec)),
        failures=failures,
        predictions=predictions,
        set_comparisons=compare_sets(found, reordered=reordered(spec)),
        set_predictions=on_sets,
        courses=[dataclasses.replace(courses[record["key"]], key=cell_key(record)) for record in records],
    )


def _place(spec: StudySpec, dataset: str) -> Callable[[tuple[str, Any]], int]:
    """The place of an evaluation set, with its result, among those of its dataset in the space."""
    data = spec.datasets[dataset]
    places = {name: place for place, name in enumerate(data.evaluation_sets if isinstance(data, DataSpec) else ())}
    return lambda item: places.get(item[0], len(places))


def reordered(spec: StudySpec) -> frozenset[str]:
    """The variants under which batches are made otherwise, so that a seed gives another order of them."""
    changed: dict[str, Collection[str]] = {**spec.variants}
    if spec.search is not None:
        changed[BEST] = spec.search.parameters
    return frozenset(name for name, keys in changed.items() if any(key.startswith("train.") for key in keys))


def _read(store: Store, keys: Collection[str]) -> tuple[list[Judged], dict[str, Course]]:
    """What is needed of the records that are there, one file in memory at a time; the courses by their keys."""
    found, courses = [], {}
    for key in sorted(keys):
        record = store.read(key)
        if record is not None:
            kept = cast(Judged, part(record, Kept))
            verdict = converged(record)
            if verdict is not None:
                kept["converged"] = verdict
            if "test_predictions" in kept:
                kept["test_predictions"] = _small(kept["test_predictions"])
            if "evaluations" in kept:
                kept["classes"] = len(record["labels"])
                for result in kept["evaluations"].values():
                    result["predictions"] = _small(result["predictions"])
            found.append(kept)
            courses[key] = course_of(record)
    return found, courses


def _small(predictions: list[int] | NDArray[np.integer]) -> NDArray[np.integer]:
    """Classes as bytes where they fit, which is several times quicker and smaller."""
    try:
        return np.frombuffer(bytes(predictions), dtype=np.uint8)
    except ValueError:  # more than 256 classes
        return np.asarray(predictions, dtype=np.int32)
