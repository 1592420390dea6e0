"""One training loop for every method. Plain fine-tuning (STL) is the case without an auxiliary task.

Main stage: windows of micro-steps, evaluation by updates, early stopping, best weights per objective. Final stage, per
objective: from the best weights, classification only, at a small constant learning rate; kept where it helps.
Several objectives (accuracy, macro F1) watch one trajectory: each has its own best weights, stop and final stage, and
each result equals that of a run with this objective alone. The test split is read once, by the finished model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from l3masking.encoders.load import Encoder
from l3masking.errors import check_choice
from l3masking.metrics import METRICS
from l3masking.training.checkpoint import NO_KEEPER, Adding, Keeper
from l3masking.training.early_stopping import Selection
from l3masking.training.evaluation import Task
from l3masking.training.filling import MaskTuning
from l3masking.training.optim import MainStage, Pace
from l3masking.training.outcome import Outcome
from l3masking.training.portions import Portions
from l3masking.training.settings import FinetuneConfig
from l3masking.training.steps import Auxiliary
from l3masking.training.task_weights import WEIGHTINGS
from l3masking.training.trajectory import Trajectory
from l3masking.training.two_rounds import first_round, texts_state


def fine_tune(
    encoder: Encoder,
    task: Task,
    config: FinetuneConfig,
    *,
    seed: int,
    objectives: Sequence[str] = ("accuracy", "macro_f1"),
    auxiliary: Auxiliary | None = None,
    weighting: str = "static",
    tuning: MaskTuning | None = None,
    pace: Pace | None = None,
    on_evaluation: Callable[[dict[str, Any]], None] | None = None,
    keeper: Keeper = NO_KEEPER,
) -> dict[str, Outcome]:
    """Fine-tune a copy of `encoder` (which stays vanilla) and return one outcome per objective.

    weighting: a name of WEIGHTINGS; with no auxiliary task the one weight is 1. tuning: Mask-tuning in the place of
    plain fine-tuning; of two rounds, both. pace: what an epoch is; default: a pass over the texts of the auxiliary
    task, or of train. on_evaluation: called with every point of the curve. keeper: is offered a snapshot at every
    evaluation, hears of every step, and says where the training goes on; the outcomes are then those of an
    uninterrupted one, bit by bit, and `on_evaluation` is told of the new points alone. Raises NonFiniteLoss where
    training diverges, InputError for a name that is not known, Interrupted where the keeper ends the training.
    """
    check_choice("weighting", weighting, WEIGHTINGS)
    for objective in objectives:
        check_choice("objective", objective, METRICS)
    saved, portions = keeper.newest(), None
    if tuning is not None and tuning.rounds == 2:
        updates = MainStage.paced(config, len((auxiliary or task.train).input_ids), pace).total
        portions = Portions(config.train.batch)
        encoder, train = first_round(
            encoder,
            task.train,
            tuning,
            config,
            seed=seed,
            updates=updates,
            portions=portions,
            keeper=keeper,
            saved=saved,
        )
        keeper = Adding(keeper=keeper, tensors=texts_state(train))
        saved = None if saved is not None and saved.facts["stage"] not in ("main", "final") else saved
        task, tuning = dataclasses.replace(task, train=train), None
    trajectory = Trajectory(encoder, task, config, seed, auxiliary, weighting, tuning, pace, portions)
    selections = [Selection(objective=name, config=config.stop) for name in objectives]
    trajectory.saved = saved
    del saved  # as large as several models: nobody else holds it while the training goes on
    trajectory.main_stage(selections, on_evaluation, keeper)
    return trajectory.finished(selections, keeper)
