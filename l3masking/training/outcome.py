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


@dataclass(frozen=True, eq=False, kw_only=True)
class Adapted:
    """What an `adapt` stage leaves."""

    weights: dict[str, Tensor] = field(repr=False)  # of the whole masked LM, by parameter name
    updates: int  # optimiser steps until the end
    best_update: int  # whose weights these are
    passes: float  # over the training texts
    texts: int  # of the source, held-out ones included
    masked_share: float  # of all tokens that were fed to the model, special ones included
    losses: list[dict[str, float]]  # per evaluation: update, train and dev loss in nats per masked token
    micro_batch: int | None = None  # most texts at a time at the end; None: whole batches, as memory was never short
