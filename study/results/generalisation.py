"""What the seeds of a cell say of a further evaluation set, and of the gap between the test split and that set.

The gap of a seed is its test value minus its value on the set, both of the model that was selected on validation data
by the cell's objective. It is above zero where the model does worse on the set. Fractions only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NotRequired

from l3masking.errors import InputError
from study.results.spread import Spread, spread
from study.store.record import EvaluationResult, Identity, Kept


class Judged(Kept):
    """A record in memory, with what its bulky parts say."""

    converged: NotRequired[bool]  # verdict on the curve; absent where it is too short to tell
    classes: NotRequired[int]  # of the dataset, 2 and up
    train_texts: NotRequired[int]  # texts of train, 1 and up


@dataclass(frozen=True, kw_only=True)
class Generalisation:
    """One evaluation set in one cell. Statistics are None if a finished seed of the cell lacks the set."""

    n: int
    """Seeds whose record has the set, 0 and up."""
    mean: float | None
    """Arithmetic mean of the values on the set, fraction; None if n = 0, or below the n of the cell."""
    std: float | None
    """Sample standard deviation, fraction; None if n < 2."""
    ci_low: float | None
    """Ends of the 95 % t interval of the mean, fractions."""
    ci_high: float | None
    gap_mean: float | None
    """Mean over the seeds of test value minus value on the set, fraction in [-1, 1]."""
    gap_std: float | None
    """Sample standard deviation of the gaps of the seeds."""
    gap_ci_low: float | None
    """Ends of the 95 % t interval of the mean gap."""
    gap_ci_high: float | None
    classes: tuple[str, ...]
    """Names of the set's classes, sorted, after its label map."""
    merged: bool
    """Whether the label map merged classes: the set has fewer than the dataset."""
    absent: tuple[str, ...]
    """Those of which the set has no text, each of which counts 0 in macro F1."""
    texts: int | None
    """Texts in the set, 1 and up; None if no record says."""
    values: Mapping[int, float]
    """Value on the set by seed, fractions."""
    gaps: Mapping[int, float]
    """Test value minus value on the set by seed, fractions."""


def generalisations(rows: Sequence[Judged], tests: Mapping[int, float], objective: str) -> dict[str, Generalisation]:
    """The evaluation sets that occur in the records of one cell, in their order there.

    `rows`: the records; `tests`: test value by seed, of all of them. InputError where two records read other sets under
    one name, or a value is not finite.
    """
    sets: dict[str, dict[int, Judged]] = {}
    for row in rows:
        for name in row.get("evaluations", {}):
            sets.setdefault(name, {})[row["seed"]] = row
    return {name: _of_set(name, by_seed, tests, objective) for name, by_seed in sets.items()}


def _of_set(name: str, rows: Mapping[int, Judged], tests: Mapping[int, float], objective: str) -> Generalisation:
    results = {seed: row["evaluations"][name] for seed, row in rows.items()}
    seed, first = next(iter(results.items()))
    for other, result in results.items():
        if _kind(result) != _kind(first):
            raise InputError(
                f"records {rows[seed]['key']} and {rows[other]['key']} read other texts or classes as evaluation set "
                f"{name!r}: delete those of the earlier set and run the study again"
            )
    values = {seed: finite(rows[seed], result["metrics"][objective]) for seed, result in results.items()}
    gaps = {seed: tests[seed] - value for seed, value in values.items()}
    nothing = Spread(None, None, None, None)
    whole = values.keys() == tests.keys()  # else its mean would be one of other seeds than the test mean
    here, gap = (spread(numbers.values()) if whole else nothing for numbers in (values, gaps))
    return Generalisation(
        n=len(values),
        mean=here.mean,
        std=here.std,
        ci_low=here.low,
        ci_high=here.high,
        gap_mean=gap.mean,
        gap_std=gap.std,
        gap_ci_low=gap.low,
        gap_ci_high=gap.high,
        classes=tuple(first["labels"]),
        merged=len(first["labels"]) < rows[seed].get("classes", 0),
        absent=tuple(first.get("absent", ())),  # unknown in the first records with evaluation sets
        texts=len(first["predictions"]) or None,
        values=values,
        gaps=gaps,
    )


def _kind(result: EvaluationResult) -> tuple[tuple[str, ...], int]:
    """What the records of one set have in common."""
    return tuple(result["labels"]), len(result["predictions"])


def finite(record: Identity, value: float) -> float:
    """A value of a record; InputError where it is no number."""
    if not math.isfinite(value):
        raise InputError(f"record {record['key']} holds the value {value}: delete its file and run the study again")
    return float(value)
