"""An STL update, with padding and without, and one of Mask-tuning, timed on the same batches; run by training.py.

`updater` makes a whole update of any stepper: end_to_end.py, against_trainer.py and launches.py use it too.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l3masking.encoders.families import ForwardPass
from l3masking.training.filling import MaskTuning
from l3masking.training.mask_tune import MaskTuneStepper
from l3masking.training.model import MultiTaskModel
from l3masking.training.optim import adamw, decay_groups, linear_factor
from l3masking.training.settings import MaskTuningConfig, OptimConfig, TrainConfig
from l3masking.training.steps import Stepper


def stl_seconds(bench: Any, sides: Sequence[str]) -> dict[str, list[float]]:
    """Seconds per update of each side, one value per run after warm-up; a first update of each is not timed.

    bench: training.Bench. sides: of `stl`, `stl_padded` and `mask_tuning`. All read the same texts in the same order,
    clip at the same norm and end with fused AdamW and a linear schedule. `stl_padded` pads to the longest text of a
    batch.
    """
    works: dict[str, Callable[[Any], float]] = {
        "stl": ours,
        "stl_padded": lambda bench: ours(bench, "own"),
        "mask_tuning": mask_tuning,
    }
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    warm = bench.settling()
    for run, timed in enumerate(warm.rounds(bench.given.runs)):
        taken = {side: works[side](bench) for side in (sides if run % 2 else reversed(sides))}
        if not timed:
            warm.seconds.append(sum(taken.values()))
            continue
        for side, value in taken.items():
            seconds[side].append(value)
    return seconds


def ours(bench: Any, forward: ForwardPass = "fast") -> float:
    """As loop.Trajectory trains without an auxiliary task."""
    model = bench.fresh_model(forward)
    return updates_of(bench, model, bench.stepper(model, multi_task=False, buckets=1))


def mask_tuning(bench: Any) -> float:
    """As loop.Trajectory trains under Mask-tuning, with the paper's rate and equal chances."""
    given, model = bench.given, bench.fresh_model()
    weights = [(row > 0).astype(np.float64) for row in bench.world.auxiliary.probabilities]
    config = dataclasses.replace(bench.config, train=TrainConfig(batch=given.batch, accumulate=given.accumulate))
    tuning = MaskTuning(config=MaskTuningConfig(), weights=weights)
    return updates_of(bench, model, MaskTuneStepper(model, bench.world.train, tuning, config, bench.seed))


def updates_of(bench: Any, model: MultiTaskModel, stepper: Stepper | MaskTuneStepper) -> float:
    """Seconds per update, without the first one."""
    total = bench.given.steps + 1
    update = updater(model, stepper, bench.config.optim, total)
    update(1)
    return bench.clock(lambda: [update(number) for number in range(2, total + 1)]) / bench.given.steps


def updater(
    model: MultiTaskModel, stepper: Stepper | MaskTuneStepper, optim: OptimConfig, total: int
) -> Callable[[int], dict[str, Tensor]]:
    """A function that makes update 1, 2, ... as trajectory.Trajectory does, and returns the losses.

    total: updates after which the learning rate is 0.
    """
    groups = decay_groups(model.language_model, optim.lr, optim.decay)
    head = {"params": [*model.classifier.parameters()], "lr": optim.head_lr, "weight_decay": optim.head_decay}
    optimiser = adamw([*groups, head], optim)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: linear_factor(update, total, 0))

    def update(number: int) -> dict[str, Tensor]:
        losses = stepper.window(number)
        model.clip(optim.clip)
        optimiser.step()
        schedule.step()
        if isinstance(stepper, Stepper) and stepper.weighting.learns:
            stepper.weighting.update()
        return losses

    return update


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, epilog="Run by `training.py --parts padded mask_tuning`.").parse_args()
