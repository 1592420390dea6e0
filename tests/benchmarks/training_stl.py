"""An STL update of ours, of transformers' Trainer and of Mask-tuning, timed on the same batches; run by training.py."""

from __future__ import annotations

import argparse
import copy
import dataclasses
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from l3masking.encoders.families import ForwardPass
from l3masking.training.batches import chunk_of
from l3masking.training.filling import MaskTuning
from l3masking.training.mask_tune import MaskTuneStepper
from l3masking.training.model import MultiTaskModel
from l3masking.training.optim import adamw, decay_groups, linear_factor
from l3masking.training.settings import MaskTuningConfig, TrainConfig
from l3masking.training.steps import Stepper


def stl_seconds(bench: Any, sides: Sequence[str]) -> dict[str, list[float]]:
    """Seconds per update of each side, one value per run after warm-up; a first update of each is not timed.

    bench: training.Bench. sides: of `stl`, `stl_padded`, `trainer` and `mask_tuning`. All read the same texts in the
    same order, clip at the same norm and end with fused AdamW and a linear schedule. `trainer` and `stl_padded` pad to
    the longest text of a batch.
    """
    works: dict[str, Callable[[Any], float]] = {
        "stl": ours,
        "stl_padded": lambda bench: ours(bench, "own"),
        "trainer": trainer,
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
    optim, total = bench.config.optim, bench.given.steps + 1
    groups = decay_groups(model.language_model, optim.lr, optim.decay)
    head = {"params": [*model.classifier.parameters()], "lr": optim.head_lr, "weight_decay": optim.head_decay}
    optimiser = adamw([*groups, head], optim)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda update: linear_factor(update, total, 0))

    def updates(numbers: Sequence[int]) -> None:
        for update in numbers:
            stepper.window(update)
            model.clip(optim.clip)
            optimiser.step()
            schedule.step()

    updates([1])
    return bench.clock(lambda: updates(range(2, total + 1))) / bench.given.steps


def trainer(bench: Any) -> float:
    """transformers' own model for classification under its Trainer, from the end of the first update to the last."""
    from transformers import AutoModelForSequenceClassification, PrinterCallback, Trainer, TrainerCallback

    given, texts = bench.given, bench.world.train
    updates = given.steps + 1
    scribe = bench.stepper(bench.model, multi_task=False, buckets=1)
    order = [index for _ in range(updates * given.accumulate) for index in next(scribe._primary)]
    config = copy.deepcopy(bench.world.encoder.model.config)
    config.num_labels = bench.world.num_classes
    with torch.random.fork_rng():
        model = AutoModelForSequenceClassification.from_config(config)
    model.base_model.load_state_dict(bench.world.encoder.body.state_dict(), strict=False)
    stamps: list[float] = []

    class Stamps(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            bench.synchronize()
            stamps.append(time.perf_counter())

    def padded(batch: list[int]) -> dict[str, torch.Tensor]:
        chunk = chunk_of(texts.input_ids, batch, texts.labels[batch], bench.world.encoder.tokenizer.pad_token_id)
        return chunk._asdict()

    with tempfile.TemporaryDirectory(prefix="l3masking-trainer-") as folder:
        arguments = training_arguments(bench, folder, updates)
        loop = Trainer(model, arguments, data_collator=padded, train_dataset=order, callbacks=[Stamps()])
        loop.remove_callback(PrinterCallback)
        loop.train()
    return (stamps[-1] - stamps[0]) / given.steps


def training_arguments(bench: Any, folder: str, updates: int) -> Any:
    """Our settings in Trainer's words; it logs, saves and evaluates nothing."""
    from transformers import TrainingArguments

    given, optim = bench.given, bench.config.optim
    return TrainingArguments(
        output_dir=folder,
        max_steps=updates,
        per_device_train_batch_size=given.batch,
        gradient_accumulation_steps=given.accumulate,
        train_sampling_strategy="sequential",
        learning_rate=optim.lr,
        weight_decay=optim.decay,
        adam_beta1=optim.betas[0],
        adam_beta2=optim.betas[1],
        adam_epsilon=optim.eps,
        max_grad_norm=optim.clip,
        optim="adamw_torch_fused",
        bf16=given.dtype == "bf16",
        use_cpu=bench.device.type == "cpu",
        dataloader_pin_memory=bench.device.type == "cuda",
        remove_unused_columns=False,
        logging_strategy="no",
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__, epilog="Run by `training.py --parts trainer`.").parse_args()
