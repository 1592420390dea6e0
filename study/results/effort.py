"""What the rows of a study cost and what they reach: the data of Figure 3 of Kimura et al. 2024, for several costs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from study.results.aggregate import Cell, CellKey
from study.results.courses import Course
from study.results.spread import spread

WALL_TIME = "wall_time"
REPEATABLE = ("epochs_to_best", "epochs_to_stop", "updates")
EFFORTS = (*REPEATABLE, WALL_TIME)  # equal trainings take different times, so no file has them unless it is asked for


@dataclass(frozen=True, kw_only=True)
class Amount:
    """A mean over seeds and the sample standard deviation (n - 1), which is None for one seed."""

    mean: float
    std: float | None


@dataclass(frozen=True, kw_only=True)
class EffortPoint:
    """One cell with at least one finished seed."""

    key: CellKey
    n: int
    """Finished seeds, 1 and up."""
    wanted: int
    value: Amount
    """Test value of the objective, fraction."""
    efforts: Mapping[str, Amount]
    """By the names in EFFORTS: epochs, optimizer updates of the main stage, seconds of the whole training. Without
    epochs where their unit cannot tell them."""


def effort_points(cells: Sequence[Cell], courses: Iterable[Course]) -> list[EffortPoint]:
    """A point for each cell that has a mean, in the order of the cells."""
    by_cell: dict[CellKey, list[Course]] = {}
    for course in courses:
        by_cell.setdefault(course.key, []).append(course)
    return [
        EffortPoint(
            key=cell.key,
            n=cell.n,
            wanted=cell.wanted,
            value=Amount(mean=cell.mean, std=cell.std),
            efforts={
                name: amount
                for name in EFFORTS
                if (amount := _amount([_cost(one, name) for one in by_cell[cell.key]])) is not None
            },
        )
        for cell in cells
        if cell.mean is not None and cell.key in by_cell
    ]


def _cost(course: Course, name: str) -> float:
    return {
        "epochs_to_best": course.epochs_to_best,
        "epochs_to_stop": course.epochs_to_stop,
        "updates": float(course.updates),
        WALL_TIME: course.seconds,
    }[name]


def _amount(values: Sequence[float]) -> Amount | None:
    """None if a seed has no value."""
    if any(map(math.isnan, values)):
        return None
    mean, std, _, _ = spread(values)
    assert mean is not None, "a cell with courses"
    return Amount(mean=mean, std=std)


def effort_columns(names: Sequence[str]) -> list[str]:
    """The header of the CSV file for some of EFFORTS."""
    amounts = [f"{name}_{part}" for name in ("test", *names) for part in ("mean", "std")]
    return [*CellKey._fields, "n", "wanted", *amounts]


def effort_rows(points: Iterable[EffortPoint], names: Sequence[str]) -> list[list[object]]:
    """A line for each point: fractions, epochs, updates and seconds at full precision."""
    return [
        [
            *point.key,
            point.n,
            point.wanted,
            *(
                part
                for one in (point.value, *map(point.efforts.get, names))
                for part in ((None, None) if one is None else (one.mean, one.std))
            ),
        ]
        for point in points
    ]
