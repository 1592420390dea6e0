"""What figures need of a record: what it cost, and its curve as arrays. A whole curve as JSON is ten times larger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from study.results.aggregate import CellKey, cell_key, first_best
from study.results.epoch_units import in_unit, number
from study.space.report_section import EpochUnit
from study.store.record import Record

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class Course:
    """The course of one training, as the record of one objective tells it. K: evaluations until the stop, 0 and up."""

    key: CellKey
    seed: int
    trajectory: str  # key of the training, which the records of its objectives share
    epochs_to_best: float  # to the first of equal best validation values, as tables show it; NaN if not `in_epochs`
    epochs_to_stop: float
    updates: int  # of the main stage until its stop
    seconds: float  # wall time of the training, which serves all its objectives
    at_update: NDArray[np.int64]  # [K]
    at_epoch: Floats  # [K]
    validation: Floats  # [K] validation value of the objective, fraction
    task_weights: Mapping[str, Floats]  # task -> [K] weight of its loss, in [0, 1]
    mask_histogram: NDArray[np.int64] | None  # [BINS] eligible tokens by their mask probability; None: none is stored
    unit: EpochUnit = "primary"  # of all epochs here

    @property
    def in_epochs(self) -> bool:
        """Whether the unit can tell its length: not in passes over masked-LM texts for an arm without that task."""
        return not np.isnan(self.epochs_to_stop)


def course_of(record: Record, unit: EpochUnit = "primary") -> Course:
    """The course that a record tells. A record without a usable curve gives one with no evaluation."""

    def epochs(passes: float) -> float:
        return number(in_unit(record, passes, unit))

    objective = record["objective"]
    curve: list[Any] = [point for point in record.get("curve") or [] if objective in point.get("validation", {})]
    tasks = sorted({task for point in curve for task in point["task_weights"]})
    whole = [task for task in tasks if all(task in point["task_weights"] for point in curve)]
    histogram = record.get("mask_histogram")
    return Course(
        key=cell_key(record),
        seed=record["seed"],
        trajectory=record["trajectory"],
        epochs_to_best=epochs(first_best(record)),
        epochs_to_stop=epochs(float(record["epochs_to_stop"])),
        updates=int(record["updates"]),
        seconds=float(record["run"]["seconds"]),
        at_update=np.array([point["update"] for point in curve], dtype=np.int64),
        at_epoch=_floats([epochs(point["epoch"]) for point in curve]),
        validation=_floats([point["validation"][objective] for point in curve]),
        task_weights={task: _floats([point["task_weights"][task] for point in curve]) for task in whole},
        mask_histogram=None if histogram is None else np.array(histogram, dtype=np.int64),
        unit=unit,
    )


def _floats(values: list[float]) -> Floats:
    return np.array(values, dtype=np.float64)
