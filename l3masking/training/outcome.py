"""What a training leaves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from l3masking.training.evaluation import Measurement


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one objective leaves. Metric values are fractions; epochs are primary examples seen / |train|."""

    objective: str
    test: dict[str, float] | None  # None if the task holds no test split
    validation: dict[str, float]
    epochs_to_best: float  # where validation ties, to the latest of the ties, whose weights are kept
    epochs_to_first_best: float  # to the first of them
    epochs_to_stop: float
    updates: int
    planned_updates: int  # where nothing stops the main stage early
    primary_examples: int
    mlm_passes: float
    empty_mlm_batches: int
    final_stage: dict[str, Any]
    curve: list[dict[str, Any]]
    test_predictions: list[int] | None
    test_probabilities: list[list[float]] | None  # [E, C], as in Measurement
    evaluations: dict[str, Measurement]  # on each evaluation set; {} if the task has none
    micro_batch: int | None = None  # most texts at a time at the end; None: whole batches, as memory was never short
    weights: dict[str, Tensor] = field(repr=False)  # parameters of the MultiTaskModel that was tested, by name
