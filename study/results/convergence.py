"""Whether a training had converged, from its record: undertrained arms say nothing about each other.

Two signs are asked for. The best validation value came before the last tenth of the updates that were planned. And the
training loss of the primary task had become flat: at the slope of the last quarter of its curve, a tenth more training
would lower it by less than FLAT.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from study.results.aggregate import first_best
from study.store.record import CurvePoint, Record

LATEST_BEST = 0.9  # share of the updates planned before which the best validation value must lie
FLAT = 0.05  # nats by which a tenth more training may lower the training loss
QUARTER = 4  # the slope is that of the last 1/QUARTER of the curve, two points or more


def converged(record: Record) -> bool | None:
    """Whether the training of a record had converged; None if its curve is too short to tell."""
    curve, stop = record.get("curve") or [], record.get("epochs_to_stop")
    if len(curve) < 2 or not stop:
        return None
    done, allowed = _progress(record, stop)
    early = first_best(record) / stop * done < LATEST_BEST * allowed
    return early and longer_gains(curve) < FLAT


def _progress(record: Record, stop: float) -> tuple[float, float]:
    """How long the main stage was and might have been: in updates, or in passes where the record has no plan."""
    planned = record.get("planned_updates")
    if planned is not None:
        return record["updates"], planned
    passes = stop if record.get("mask_mean") is None else record["mlm_passes"]  # over the texts that drive the loop
    return passes, record["settings"]["train"]["max_epochs"]


def longer_gains(curve: Sequence[CurvePoint]) -> float:
    """Nats by which a tenth more training would lower the primary training loss, at the slope of the end of `curve`."""
    points = [(point["epoch"], point["train_loss"]["primary"]) for point in curve if "primary" in point["train_loss"]]
    last = points[-max(2, math.ceil(len(points) / QUARTER)) :]
    if len(last) < 2:
        return math.inf
    epoch, loss = (sum(values) / len(last) for values in zip(*last, strict=True))
    spread = sum((x - epoch) ** 2 for x, _ in last)
    slope = sum((x - epoch) * (y - loss) for x, y in last) / spread
    return -slope * points[-1][0] / 10
