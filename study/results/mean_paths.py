"""Curves of several seeds as one: learning curves and paths of task weights, evaluation by evaluation.

Seeds stop at different times. A mean is taken over the seeds that still train at an evaluation; `n` says how many they
are. No value is carried forward: after the first stop the mean is one of fewer seeds, and figures show it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from study.results.aggregate import Cell, CellKey
from study.results.courses import Course, Floats

PRIMARY = "primary"  # the task whose weight figures show


class PathPoint(NamedTuple):
    """One evaluation."""

    evaluation: int  # 1 and up
    update: float  # mean over the seeds; equal for all of them unless their training data differ in size
    epoch: float
    n: int  # seeds that train at this evaluation, 1 and up
    mean: float
    std: float | None  # sample standard deviation (n - 1); None for one seed
    low: float  # smallest value
    high: float  # largest value


CURVE_COLUMNS = (*CellKey._fields, *PathPoint._fields)
WEIGHT_COLUMNS = (*CellKey._fields[:-1], "task", *PathPoint._fields)


@dataclass(frozen=True, kw_only=True)
class MeanPath:
    """A value of one cell over its training."""

    key: CellKey
    what: str
    """The value: a metric on the validation split (fraction), or a task (weight of its loss)."""
    points: tuple[PathPoint, ...]

    @property
    def whole(self) -> int:
        """Evaluations before the first seed stopped."""
        return sum(point.n == self.points[0].n for point in self.points)


def learning_curves(cells: Sequence[Cell], courses: Iterable[Course]) -> list[MeanPath]:
    """The validation value of its objective for each cell with a curve, in the order of the cells."""
    found = _by_cell(courses)
    return [
        MeanPath(key=cell.key, what=cell.objective, points=mean_path(own, [one.validation for one in own]))
        for cell in cells
        if (own := found.get(cell.key))
    ]


def weight_paths(cells: Sequence[Cell], courses: Iterable[Course]) -> list[MeanPath]:
    """The task weights of each row with several tasks: a path per task; nothing unless some weight moves.

    The objectives of a training share its weights. Of each training the longest of their curves is taken, and its path
    stands under the first objective that the cells have.
    """
    longest: dict[tuple[object, ...], dict[tuple[str, int], Course]] = {}
    for one in courses:
        own = longest.setdefault(one.key[:-1], {})
        before = own.get((one.trajectory, one.seed))
        if len(one.task_weights) > 1 and len(one.at_update) > (len(before.at_update) if before else 0):
            own[one.trajectory, one.seed] = one
    if not any(_moves(one.task_weights) for own in longest.values() for one in own.values()):
        return []
    first = {cell.key[:-1]: cell.key for cell in reversed(cells)}
    paths = []
    for row in dict.fromkeys(cell.key[:-1] for cell in cells):
        own_courses = sorted(longest.get(row, {}).values(), key=lambda one: one.seed)
        for task in sorted({task for one in own_courses for task in one.task_weights}, key=lambda t: (t != PRIMARY, t)):
            having = [one for one in own_courses if task in one.task_weights]
            points = mean_path(having, [one.task_weights[task] for one in having])
            paths.append(MeanPath(key=first[row], what=task, points=points))
    return paths


def mean_path(courses: Sequence[Course], values: Sequence[Floats]) -> tuple[PathPoint, ...]:
    """Mean, deviation and range at each evaluation k = 1, 2, ..., over the courses that have one.

    values: [K_i] per course. Evaluations are matched by their number: seeds of one cell are evaluated after the same
    updates.
    """
    epochs, updates = _table([one.at_epoch for one in courses]), _table([one.at_update for one in courses])
    table = _table(values)  # [seeds, K], NaN after a stop
    there = ~np.isnan(table)
    n = there.sum(axis=0)
    mean = _mean(table, there)
    squares = np.where(there, (table - mean) ** 2, 0.0).sum(axis=0)
    std = np.sqrt(squares / np.maximum(n - 1, 1))
    low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
    update, epoch = _mean(updates, there), _mean(epochs, there)
    return tuple(
        PathPoint(
            evaluation=k + 1,
            update=float(update[k]),
            epoch=float(epoch[k]),
            n=int(n[k]),
            mean=float(mean[k]),
            std=float(std[k]) if n[k] > 1 else None,
            low=float(low[k]),
            high=float(high[k]),
        )
        for k in range(len(n))
    )


def curve_rows(paths: Iterable[MeanPath]) -> list[list[object]]:
    """A line of CURVE_COLUMNS for each evaluation, fractions at full precision."""
    return [[*path.key, *point] for path in paths for point in path.points]


def weight_rows(paths: Iterable[MeanPath]) -> list[list[object]]:
    """A line of WEIGHT_COLUMNS for each evaluation and task."""
    return [[*path.key[:-1], path.what, *point] for path in paths for point in path.points]


def _by_cell(courses: Iterable[Course]) -> dict[CellKey, list[Course]]:
    found: dict[CellKey, list[Course]] = {}
    for one in sorted(courses, key=lambda one: one.seed):
        if len(one.at_update):
            found.setdefault(one.key, []).append(one)
    return found


def _table(rows: Sequence[np.ndarray]) -> Floats:
    """Rows of different lengths as one array, NaN behind their ends."""
    table = np.full((len(rows), max(map(len, rows))), np.nan)
    for row, values in zip(table, rows, strict=True):
        row[: len(values)] = values
    return table


def _mean(table: Floats, there: np.ndarray) -> Floats:
    mean: Floats = np.where(there, table, 0.0).sum(axis=0) / there.sum(axis=0)
    return mean


def _moves(weights: Mapping[str, Floats]) -> bool:
    """Whether some weight is learned: a fixed one says nothing as a path."""
    return any(float(values.max() - values.min()) > 1e-9 for values in weights.values())
