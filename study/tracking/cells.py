"""What MLflow shows of the cells: their runs, the same as a table, and how they stand while the study goes on.

Nothing here imports mlflow.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from l3masking.errors import InputError
from study.results.aggregate import Cell, CellKey, Order, cell_key, cells
from study.store.record import Evaluated, EvaluationResult, Failure, Identity, Record, Row, part
from study.tracking.runs import (
    CURRENT,
    IDENTITY,
    MirrorEntry,
    RunView,
    cell_name,
    cell_tags,
    finite,
    flatten,
    identity_params,
    set_metric,
)
from study.tracking.views import Page

if TYPE_CHECKING:
    from study.plan.trials import Trial

Known = TypeVar("Known", Record, Failure, Record | Failure)
KeptPart = TypeVar("KeptPart", Evaluated, Identity)

STATISTICS = ("mean", "std", "n", "failed", "wanted", "ci_low", "ci_high")
"""Of the test metric; fractions and counts."""
SET_STATISTICS = ("n", "mean", "std", "ci_low", "ci_high", "gap_mean", "gap_std", "gap_ci_low", "gap_ci_high")
"""On an evaluation set; fractions and a count."""
CELL_COLUMNS = (*IDENTITY, "objective", *STATISTICS, "epochs_to_first_best_mean", "epochs_to_stop_mean")
"""Of the table."""


def cell_views(found: Iterable[Cell]) -> list[RunView]:
    """One view per encoder × dataset × method × variant × mean; the objectives of a cell share its run.

    Metrics: `test_<objective>_mean|_std|_n|_failed|_wanted|_ci_low|_ci_high` (fractions; sample standard deviation;
    95 % interval) and `<objective>_epochs_to_best_mean|_epochs_to_first_best_mean|_epochs_to_stop_mean`. The same names
    without an objective, and `epochs_mean` (epochs trained: to the stop), are those of the first objective given.
    `ood.<set>.<objective>_mean` and so on, with the names of SET_STATISTICS, where the dataset has evaluation sets.
    """
    grouped: dict[str, list[Cell]] = {}
    for cell in found:
        grouped.setdefault(cell_name(row_of(cell)), []).append(cell)
    return [_cell_view(name, group) for name, group in grouped.items()]


def table(found: Iterable[Cell]) -> str:
    """The cells as JSON of the shape that MLflow's table viewer reads: `columns` and `data`."""
    data = [[getattr(cell, name) for name in CELL_COLUMNS] for cell in found]
    return json.dumps({"columns": list(CELL_COLUMNS), "data": data})


class Places:
    """Where the records of a plan belong: record key -> its cells (a found setting may be the declared one)."""

    def __init__(self, trials: Iterable[Trial]) -> None:
        self.homes: dict[str, list[CellKey]] = {}
        for trial in trials:
            for objective, key in trial.keys.items():
                home = CellKey(**{name: getattr(trial, name) for name in IDENTITY}, objective=objective)
                self.homes.setdefault(key, []).append(home)
        self.wanted = Counter(home for homes in self.homes.values() for home in homes)

    def placed(self, record: Known) -> Known:
        """The record under a variant that the plan has it under; as it is where the plan does not know it."""
        homes = self.homes.get(record["key"], [])
        if not homes or cell_key(record) in homes:
            return record
        return cast(Known, {**record, **homes[0]._asdict()})


class Tally:
    """The records so far, as far as cells and the page need them: what the UI shows while the study goes on."""

    def __init__(self, description: str = "", *, live: bool = True) -> None:
        """`description`: of the study, Markdown. `live`: cells are to follow the records as they come."""
        self._live = live
        self.places: Places | None = None
        self.changed = False  # since the last `views`
        self._shown: list[CellKey] = []
        self._description = description
        self._records: dict[str, Evaluated] = {}
        self._failures: dict[str, Identity] = {}
        self._tried: dict[str, set[str]] = {}  # param of a search -> values, two at most

    def plan(self, places: Places) -> None:
        """Count the records of this plan from now on."""
        self.places, self._shown, self.changed = places, list(places.wanted), self._live

    def shown(self, found: Iterable[Cell]) -> None:
        """What the tables show, in their order."""
        self._shown = [cell.key for cell in found]

    def add(self, entry: MirrorEntry) -> None:
        """Take in a record or a failure."""
        record = entry.record
        if entry.role == "search":
            for name, value in flatten({} if "reason" in record else record["settings"]).items():
                values = self._tried.setdefault(name, set())
                if len(values) < 2:
                    values.add(value)
            return
        if "reason" in record:
            self._failures[record["key"]] = part(record, Identity)
        else:
            kept = self._records[record["key"]] = part(record, Evaluated)
            kept.pop("test_predictions", None)  # the largest part, and no number of a cell run
            if "evaluations" in kept:
                sets = kept["evaluations"].items()
                kept["evaluations"] = {name: _without_texts(result) for name, result in sets}
        self.changed = self._live

    def page(self) -> Page:
        """What the page of the study is made from."""

        def names(part: str) -> tuple[Any, ...]:
            return tuple(dict.fromkeys(getattr(cell, part) for cell in self._shown))

        return Page(
            description=self._description,
            objectives=names("objective"),
            methods=names("method"),
            variants=names("variant") not in ((), (None,)),
            searched=tuple(name for name, values in self._tried.items() if len(values) > 1),
            sets=tuple(sorted({name for record in self._records.values() for name in record.get("evaluations", {})})),
        )

    def views(self) -> list[RunView]:
        """The cells as they stand; none without a plan. What is not complete is RUNNING."""
        self.changed = False
        if self.places is None:
            return []
        records = list(self._of_plan(self._records))
        order = Order(objective=list(dict.fromkeys(home.objective for home in self.places.wanted)))
        try:
            found = cells(records, self._of_plan(self._failures), self.places.wanted, order=order)
        except InputError:
            return []  # a record that cannot be averaged: the end of the run says which
        return [replace(view, status="RUNNING") if view.status == "KILLED" else view for view in cell_views(found)]

    def _of_plan(self, entries: Mapping[str, KeptPart]) -> Iterable[KeptPart]:
        homes = self.places.homes if self.places else {}
        return (
            cast(KeptPart, {**entry, **home._asdict()}) for key, entry in entries.items() for home in homes.get(key, ())
        )


def _without_texts(result: EvaluationResult) -> EvaluationResult:
    """The result without its largest parts, which are no numbers of a cell run."""
    bare: EvaluationResult = {**result, "predictions": []}
    bare.pop("probabilities", None)
    return bare


def _cell_view(name: str, group: Sequence[Cell]) -> RunView:
    """Of one or more objectives of the same cell."""
    metrics: dict[str, float | None] = {}
    for cell in group:
        for stat in STATISTICS:
            metrics[f"test_{cell.objective}_{stat}"] = getattr(cell, stat)
        metrics[f"{cell.objective}_epochs_to_best_mean"] = cell.epochs_to_best_mean
        metrics[f"{cell.objective}_epochs_to_first_best_mean"] = cell.epochs_to_first_best_mean
        metrics[f"{cell.objective}_epochs_to_stop_mean"] = cell.epochs_to_stop_mean
        for evaluation, on_set in cell.evaluations.items():
            for stat in SET_STATISTICS:
                metrics[set_metric(evaluation, f"{cell.objective}_{stat}")] = getattr(on_set, stat)
    first = group[0]
    for stat in ("epochs_to_best_mean", "epochs_to_first_best_mean", "epochs_to_stop_mean"):
        metrics[stat] = getattr(first, stat)
    metrics["epochs_mean"] = first.epochs_to_stop_mean
    if any(cell.n + cell.failed < cell.wanted for cell in group):
        status = "KILLED"  # stopped before the end; the next start goes on
    else:
        status = "FAILED" if any(cell.failed for cell in group) else "FINISHED"
    identity = row_of(first)
    again = sum(cell.retried for cell in group)
    retried = {"retried_in_float32": f"{again} of {sum(cell.n for cell in group)} records"} if again else {}
    return RunView(
        role="cell",
        key=name,
        name=name,
        tags={"role": "cell", CURRENT: "yes", **cell_tags(identity), **retried},
        status=status,
        params=identity_params(identity),
        metrics=finite(metrics),
    )


def row_of(cell: Cell | CellKey) -> Row:
    """What a cell has in common with those of the other objectives."""
    return {
        "encoder": cell.encoder,
        "dataset": cell.dataset,
        "method": cell.method,
        "variant": cell.variant,
        "mask_mean": cell.mask_mean,
    }
