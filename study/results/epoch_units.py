"""Lengths of the main stage in the unit of `report.epoch_unit`. Records hold passes over train, and what converts them.

All three units count the same updates: passes over train and over the masked-LM texts are in proportion to them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from study.space.report_section import EpochUnit


@dataclass(frozen=True, kw_only=True)
class EpochsShown:
    """Means over the seeds of a cell in another unit than passes over train."""

    unit: EpochUnit
    to_best: float | None  # until the first of equal best validation values; None if a seed has no such number
    to_stop: float | None


def in_unit(record: Mapping[str, Any], epochs: float, unit: EpochUnit) -> float | None:
    """`epochs` passes over train of a record's main stage, in `unit`.

    None in passes over masked-LM texts for an arm without a masked-LM task beside the task.
    """
    if unit == "primary":
        return epochs
    if unit == "updates":
        return float(round(epochs * record["updates"] / record["epochs_to_stop"]))
    passes = record.get("mlm_passes") or 0.0
    return epochs * passes / record["epochs_to_stop"] if passes else None


def number(value: float | None) -> float:
    """NaN for None, as arrays hold it."""
    return math.nan if value is None else value
