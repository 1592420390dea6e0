"""From a study's folder to its tables: the plan says which records count, the records say the rest."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from l3masking.data.spec import DataSpec
from study.plan.grid import of_plan
from study.plan.resolved import Resolved
from study.plan.searches import searches
from study.plan.trials import Trial
from study.results.aggregate import Cell, CellKey, Order, TimingRow, cell_key, cells, timing_rows
from study.results.compare import Budgets, compare, questions
from study.results.comparison import Budget, Comparison
from study.results.convergence import converged
from study.results.courses import Course, course_of
from study.results.effort_pairs import Efforts, efforts_of
from study.results.families import DeclaredFamily, declared
from study.results.generalisation import Judged
from study.results.remarks import constant, mixed, remarks_of
from study.results.resampled import cut_anew
from study.results.set_comparisons import SetComparison, compare_sets
from study.results.texts import Predictions, over_set_texts, over_texts
from study.results.truth import Truths
from study.results.weighed import weighed
from study.space.report_section import EpochUnit
from study.space.search_section import BEST
from study.space.spec import StudySpec
from study.store.record import Failure, Kept, Record, part
from study.store.store import Store


class Results(NamedTuple):
    """What the records of a study say."""

    cells: list[Cell]
    timing: list[TimingRow]
    comparisons: list[Comparison]
    """The questions of the study; with intervals over seeds and test texts where the labels are known."""
    failures: list[Failure]
    """Trials and objectives that failed and have no record."""
    predictions: Predictions
    """Of every record, on its test set."""
    set_comparisons: list[SetComparison]
    """The same questions on the evaluation sets; empty without such sets."""
    set_predictions: Mapping[str, Predictions]
    """Evaluation set -> predictions on it, of every record that read it."""
    courses: Sequence[Course] = ()
    """What figures need, of every record."""
    efforts: Efforts = MappingProxyType({})
    """What each training took."""
    notes: Sequence[str] = ()
    """Why there is no interval over seeds and test texts; may name files of this machine."""


def gather(
    store: Store,
    spec: StudySpec,
    trials: Sequence[Trial],
    look: Callable[[Record], None] = lambda record: None,
    *,
    spent: Budgets | None = None,
    truths: Callable[[Iterable[str]], Truths] | None = None,
    baseline: str | None = None,
    margin: float | None = None,
) -> Results:
    """Aggregate and compare the records of `trials`. The arguments are those of `read_results` and `compared`."""
    results = read_results(store, spec, trials, look)
    how: dict[str, Any] = {"spent": spent, "truths": truths, "baseline": baseline, "margin": margin}
    return compared(results, spec, family=declared(spec.compare), **how)


def read_results(
    store: Store,
    spec: StudySpec,
    trials: Sequence[Trial],
    look: Callable[[Record], None] = lambda record: None,
) -> Results:
    """Aggregate the records of `trials`, in the order of the space, and compare nothing yet.

    `look` sees each of these records whole, before what is bulky is dropped.
    """
    keys = {key for trial in trials for key in trial.keys.values()}
    unit = spec.report.epoch_unit
    read, courses = _read(store, keys, look, unit)
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
    found = with_remarks(cells(records, failures, wanted, keys=keys, order=order, unit=unit), spec, records)
    return Results(
        cells=found,
        timing=timing_rows(records, keys=keys, order=order),
        comparisons=[],
        failures=failures,
        predictions=predictions,
        set_comparisons=[],
        set_predictions=on_sets,
        courses=[dataclasses.replace(courses[record["key"]], key=cell_key(record)) for record in records],
        efforts=efforts_of(records, unit),
    )


def compared(
    results: Results,
    spec: StudySpec,
    *,
    family: DeclaredFamily,
    spent: Budgets | None = None,
    truths: Callable[[Iterable[str]], Truths] | None = None,
    baseline: str | None = None,
    margin: float | None = None,
) -> Results:
    """The results with all comparisons of their cells.

    `family`: what is confirmatory. `spent`: by the searches. `truths`: gives the labels of datasets by their names,
    which the intervals over seeds and test texts need; None leaves them out. `baseline`: as in `compare.questions`.
    `margin`: largest difference that does not matter, fraction; None: that of the space.
    """
    how: dict[str, Any] = {"family": family, "reordered": reordered(spec), "budgets": spent or {}}
    asked = None if baseline is None else questions(results.cells, baseline, family=family)
    found = results._replace(
        comparisons=compare(results.cells, asked, **how), set_comparisons=compare_sets(results.cells, asked, **how)
    )
    return _weighed(found, spec.compare.margin if margin is None else margin, truths)


def _weighed(results: Results, margin: float | None, truths: Callable[[Iterable[str]], Truths] | None) -> Results:
    """The results with intervals over seeds and texts where the labels are known, and with what they allow to say."""
    known = Truths({}, {}, {})
    if truths is not None:
        known = truths(dict.fromkeys(entry.dataset for entry in results.comparisons if entry.n))
        results = _over_texts(results, known)
    found = weighed(results.comparisons, results.cells, results.predictions, known.test, margin)
    return results._replace(comparisons=found)


def _over_texts(results: Results, known: Truths) -> Results:
    on_test = over_texts(results.comparisons, results.cells, results.predictions, known.test)
    on_sets, further = over_set_texts(
        results.set_comparisons,
        results.cells,
        (results.predictions, known.test),
        results.set_predictions,
        known.sets,
    )
    notes = [f"{name}: no interval over test texts: {reason}" for name, reason in known.missing.items()]
    notes += dict.fromkeys([*on_test.notes, *further])
    return results._replace(comparisons=on_test.comparisons, set_comparisons=on_sets, notes=notes)


def budgets(resolved: Resolved) -> Budgets:
    """What each search of a study has spent, or is to spend; for the rows that it finds."""
    spec, identities, findings = resolved
    return {
        (search.encoder, search.dataset, search.method, BEST): Budget(
            findings.get(search.key, {}).get("trials", search.config.settings), search.config.seeds
        )
        for search in searches(spec, identities)
    }


def with_remarks(found: Sequence[Cell], spec: StudySpec, records: Sequence[Judged]) -> list[Cell]:
    """The cells, each with what is to be said of the trainings on its dataset."""
    own: dict[str, list[Judged]] = {name: [] for name in spec.datasets}
    for record in records:
        own.setdefault(record["dataset"], []).append(record)
    said = {
        name: remarks_of(name, data) + mixed(name, (record["run"] for record in own[name])) + constant(name, own[name])
        for name, data in spec.datasets.items()
    }
    cut = cut_anew(spec)
    sizes: dict[CellKey, list[tuple[int, int]]] = {}
    for record in records:
        if record["dataset"] in cut and "train_texts" in record and "test_predictions" in record:
            sizes.setdefault(cell_key(record), []).append((len(record["test_predictions"]), record["train_texts"]))
    return [
        dataclasses.replace(cell, remarks=said.get(cell.dataset, ()), resampled=_ratio(sizes.get(cell.key, [])))
        for cell in found
    ]


def _ratio(sizes: Sequence[tuple[int, int]]) -> float | None:
    """Test texts over training texts, of all splits together; None without any."""
    return sum(test for test, _ in sizes) / sum(train for _, train in sizes) if sizes else None


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


def _read(
    store: Store, keys: Collection[str], look: Callable[[Record], None], unit: EpochUnit
) -> tuple[list[Judged], dict[str, Course]]:
    """What is needed of the records that are there, one file in memory at a time; the courses by their keys."""
    found, courses = [], {}
    for key in sorted(keys):
        record = store.read(key)
        if record is not None:
            look(record)
            kept = cast(Judged, part(record, Kept))
            verdict = converged(record)
            if verdict is not None:
                kept["converged"] = verdict
            if "train_rows" in (counts := record.get("overlap", {})):
                kept["train_texts"] = counts["train_rows"] - counts.get("dropped_train", 0)
            if "test_predictions" in kept:
                kept["test_predictions"] = _small(kept["test_predictions"])
            if "evaluations" in kept:
                kept["classes"] = len(record["labels"])
                for result in kept["evaluations"].values():
                    result["predictions"] = _small(result["predictions"])
                    result.pop("probabilities", None)  # study.results.classified reads them, one record at a time
            found.append(kept)
            courses[key] = course_of(record, unit)
    return found, courses


def _small(predictions: list[int] | NDArray[np.integer]) -> NDArray[np.integer]:
    """Classes as bytes where they fit, which is several times quicker and smaller."""
    try:
        return np.frombuffer(bytes(predictions), dtype=np.uint8)
    except ValueError:  # more than 256 classes
        return np.asarray(predictions, dtype=np.int32)
