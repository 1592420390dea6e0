"""One training loop for every method. Plain fine-tuning (STL) is the case without an auxiliary task.

Main stage: windows of micro-steps, evaluation by updates, early stopping, best weights per objective. Final stage, per
objective: from the best weights, classification only, at a small constant learning rate; kept where it helps.
Several objectives (accuracy, macro F1) watch one trajectory: each has its own best weights, stop and final stage, and
each result equals that of a run with this objective alone. The test split is read once, by the finished model.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from l3masking import rng
from l3masking.batches import epochs
from l3masking.encoders import Encoder
from l3masking.errors import InputError
from l3masking.heads import ModelConfig, MultiTaskModel
from l3masking.metrics import METRICS
from l3masking.optim import OptimConfig, adamw, clip_norms, decay_groups, linear_factor
from l3masking.precision import Precision, autocast
from l3masking.selection import EvaluateConfig, Selection, StopConfig
from l3masking.steps import Auxiliary, Examples, Stepper
from l3masking.weighting import WEIGHTINGS, MetaConfig

EVALUATION_TOKENS = 16384  # padded tokens in an evaluation batch; no gradient is held


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Batches of the main stage."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    batch: int = 64  # texts per micro-step and task, >= 1
    accumulate: int = 2  # micro-steps per update, >= 1
    max_epochs: int = 150  # passes over the texts that drive the loop (masked-LM texts, or train for STL), >= 1
    length_buckets: int = 1  # parts of like length into which a batch is cut before padding; moves rounding and dropout

    def __post_init__(self) -> None:
        for name in ("batch", "accumulate", "max_epochs", "length_buckets"):
            if getattr(self, name) < 1:
                raise InputError(f"train.{name} is {getattr(self, name)}: at least 1")

    def updates_per_epoch(self, num_texts: int) -> int:
        return max(1, num_texts // (self.batch * self.accumulate))


@dataclass(frozen=True, kw_only=True)
class FinalConfig:
    """The classification-only stage at the end (released code; not in the paper)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    enabled: bool = True
    lr: float = 5e-6  # constant, > 0
    decay: float = 0.01  # none on biases and normalisation layers; >= 0
    max_epochs: int = 10  # >= 1
    patience: int = 3  # epochs without a better validation value, >= 1

    def __post_init__(self) -> None:
        for name in ("lr", "max_epochs", "patience"):
            if not getattr(self, name) > 0:
                raise InputError(f"final.{name} is {getattr(self, name)}: it must be above 0")
        if not self.decay >= 0:
            raise InputError(f"final.decay is {self.decay}: it must not be negative")


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Everything about training that may change a result, one section per component."""

    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    stop: StopConfig = field(default_factory=StopConfig)
    final: FinalConfig = field(default_factory=FinalConfig)
    meta: MetaConfig = field(default_factory=MetaConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    precision: Precision = "float32"


# `paper` is Table 2 read literally: one learning rate, batch 64, patience of 3 epochs (counted after warm-up, or a run
# could end inside it), no final stage. `default` follows the released run script.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "default": {},
    "paper": {
        "optim": {"head_lr": 1e-4},
        "meta": {"head_lr": 1e-4},
        "train": {"accumulate": 1},
        "evaluate": {"every": 1, "unit": "epochs"},
        "stop": {"patience": 3, "count_warmup": False},
        "final": {"enabled": False},
    },
}


@dataclass(frozen=True, eq=False)
class Task:
    """A text-classification task, encoded."""

    train: Examples
    validation: Examples
    test: Examples
    num_classes: int


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What one objective leaves. Metric values are fractions; epochs are primary examples seen / |train|."""

    objective: str
    test: dict[str, float]
    validation: dict[str, float]
    epochs_to_best: float
    epochs_to_stop: float
    updates: int
    primary_examples: int
    mlm_passes: float
    empty_mlm_batches: int
    final_stage: dict[str, Any]
    curve: list[dict[str, Any]]
    test_predictions: list[int]
    weights: dict[str, Tensor] = field(repr=False)  # parameters of the MultiTaskModel that was tested, by name


class NonFiniteLoss(RuntimeError):
    """A loss or metric became NaN or infinite: the trial has failed."""


def fine_tune(
    encoder: Encoder,
    task: Task,
    config: FinetuneConfig,
    *,
    seed: int,
    objectives: Sequence[str] = ("accuracy", "macro_f1"),
    auxiliary: Auxiliary | None = None,
    weighting: str = "static",
    on_evaluation: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Outcome]:
    """Fine-tune a copy of `encoder` (which stays vanilla) and return one outcome per objective.

    weighting: a name of WEIGHTINGS; with no auxiliary task the one weight is 1. on_evaluation: called with every
    point of the curve. Raises NonFiniteLoss where training diverges, InputError for a name that is not known.
    """
    if weighting not in WEIGHTINGS:
        raise InputError(f"weighting is {weighting!r}: choose from {', '.join(WEIGHTINGS)}")
    for objective in objectives:
        if objective not in METRICS:
            raise InputError(f"objective is {objective!r}: choose from {', '.join(METRICS)}")
    trajectory = Trajectory(encoder, task, config, seed, auxiliary, weighting)
    selections = [Selection(objective=name, config=config.stop) for name in objectives]
    trajectory.main_stage(selections, on_evaluation)
    return {selection.objective: trajectory.finish(selection) for selection in selections}


class Trajectory:
    """The state of one training run."""

    def __init__(
        self,
        encoder: Encoder,
        task: Task,
        config: FinetuneConfig,
        seed: int,
        auxiliary: Auxiliary | None,
        weighting: str,
    ) -> None:
        self.task, self.config, self.seed, self.auxiliary = task, config, seed, auxiliary
        own = dataclasses.replace(encoder, model=copy.deepcopy(encoder.model))
        self.model = MultiTaskModel(own, task.num_classes, config.model, rng.stream(seed, "head"))
        self.weighting = WEIGHTINGS[weighting](1 if auxiliary is None else 2, config.meta)
        train = config.train
        self.stepper = Stepper(
            self.model,
            task.train,
            task.validation,
            auxiliary,
            self.weighting,
            config.meta,
            model_config=config.model,
            batch=train.batch,
            accumulate=train.accumulate,
            num_chunks=train.length_buckets,
            precision=config.precision,
            seed=seed,
        )
        driver = task.train.input_ids if auxiliary is None else auxiliary.input_ids
        self.updates_per_epoch = train.updates_per_epoch(len(driver))
        self.total = self.updates_per_epoch * train.max_epochs
        self.warmup = int(config.optim.warmup * self.total)
        self.curve: list[dict[str, Any]] = []

    def main_stage(
        self, selections: Sequence[Selection], on_evaluation: Callable[[dict[str, Any]], None] | None
    ) -> None:
        """Train until every objective has stopped or the epochs are used up."""
        optim, evaluate = self.config.optim, self.config.evaluate
        groups = decay_groups(self.model.language_model, optim.lr, optim.decay)
        head = {"params": self.stepper.head, "lr": optim.head_lr, "weight_decay": optim.head_decay}
        optimiser = adamw([*groups, head], optim)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimiser, lambda update: linear_factor(update, self.total, self.warmup)
        )
        parts = [self.stepper.body + self.stepper.lm_head, self.stepper.head]
        every = evaluate.every * (self.updates_per_epoch if evaluate.unit == "epochs" else 1)
        losses: list[dict[str, Tensor]] = []
        self.model.train()
        for update in range(1, self.total + 1):
            losses.append(self.stepper.window(update))
            clip_norms(parts, optim.clip)
            optimiser.step()
            schedule.step()
            if self.weighting.learns:
                self.weighting.update()
            if update % every and update < self.total:
                continue
            point = self.evaluate_at(update, losses)
            losses = []
            values = point["validation"]
            keepers = [s for s in selections if s.see(values[s.objective], update, warming_up=update < self.warmup)]
            if keepers:
                weights = self.snapshot()  # one copy for all: nobody writes to it
                for selection in keepers:
                    selection.weights = weights
            if on_evaluation:
                on_evaluation(point)
            if all(selection.stopped for selection in selections):
                return

    def evaluate_at(self, update: int, losses: Sequence[dict[str, Tensor]]) -> dict[str, Any]:
        """A point of the curve: validation metrics and the mean training losses since the last one."""
        names = {name for window in losses for name in window}
        train_loss = {
            name: float(torch.stack([window[name] for window in losses if name in window]).mean())
            for name in sorted(names)
        }
        metrics, _ = self.measure(self.task.validation)
        tasks = ["primary", "mlm"][: 1 if self.auxiliary is None else 2]
        point = {
            "update": update,
            "epoch": self.epochs_at(update),
            "validation": metrics,
            "train_loss": train_loss,
            "task_weights": dict(zip(tasks, self.weighting.weights(), strict=True)),
            "empty_mlm_batches": self.stepper.empty_mlm_batches,
        }
        if not all(math.isfinite(value) for value in [*train_loss.values(), *metrics.values()]):
            raise NonFiniteLoss(
                f"not finite at update {update} (peak lr {self.config.optim.lr}): {train_loss}, {metrics}"
            )
        self.curve.append(point)
        return point

    def epochs_at(self, update: int) -> float:
        """Primary examples seen after `update` updates, over |train|."""
        return self.examples_at(update) / len(self.task.train.labels)

    def examples_at(self, update: int) -> int:
        train = self.config.train
        return update * train.accumulate * min(train.batch, len(self.task.train.labels))

    def snapshot(self) -> dict[str, Tensor]:
        """The weights by name; shared ones once."""
        return {name: parameter.detach().clone() for name, parameter in self.model.named_parameters()}

    @torch.no_grad()
    def restore(self, weights: Mapping[str, Tensor]) -> None:
        for name, parameter in self.model.named_parameters():
            parameter.copy_(weights[name])

    @torch.inference_mode()
    def measure(self, examples: Examples) -> tuple[dict[str, float], list[int]]:
        """All metrics and the cross-entropy (nats) over a split, and the predicted classes."""
        self.model.eval()
        predicted = torch.zeros(len(examples.labels), dtype=torch.long)
        total = 0.0
        order = sorted(range(len(examples.labels)), key=lambda i: len(examples.input_ids[i]))
        while order:
            longest = len(examples.input_ids[order[-1]])
            part, order = order[-max(1, EVALUATION_TOKENS // longest) :], order[: -max(1, EVALUATION_TOKENS // longest)]
            chunks = examples.chunks(part, 1, self.model.encoder.tokenizer.pad_token_id, self.model.encoder.device)
            with autocast(self.model.encoder.device, self.config.precision):
                logits = self.model.classifier(self.model.features(chunks)).float()
            total += float(F.cross_entropy(logits, chunks[0].labels, reduction="sum"))
            predicted[part] = logits.argmax(dim=-1).cpu()  # one bucket keeps the order of `part`, which is by length
        self.model.train()
        classes = predicted.tolist()
        labels = examples.labels.tolist()
        values = {name: metric(classes, labels, self.task.num_classes) for name, metric in METRICS.items()}
        return {**values, "loss": total / max(1, len(labels))}, classes

    def finish(self, selection: Selection) -> Outcome:
        """Final stage from the objective's best weights, then the one look at the test split."""
        self.restore(selection.weights)
        stage = (
            self.final_stage(selection) if self.config.final.enabled else {"enabled": False, "epochs": 0, "kept": False}
        )
        validation, _ = self.measure(self.task.validation)
        test, predictions = self.measure(self.task.test)
        stop = selection.stop_update or self.curve[-1]["update"]
        curve = [point for point in self.curve if point["update"] <= stop]
        micro_steps = stop * self.config.train.accumulate
        mlm_size = len(self.auxiliary.input_ids) if self.auxiliary else 0
        return Outcome(
            objective=selection.objective,
            test={name: test[name] for name in METRICS},
            validation={name: validation[name] for name in METRICS},
            epochs_to_best=self.epochs_at(selection.best_update),
            epochs_to_stop=self.epochs_at(stop),
            updates=stop,
            primary_examples=self.examples_at(stop),
            mlm_passes=micro_steps * min(self.config.train.batch, mlm_size) / mlm_size if mlm_size else 0.0,
            empty_mlm_batches=curve[-1]["empty_mlm_batches"],
            final_stage=stage,
            curve=curve,
            test_predictions=predictions,
            weights=self.snapshot(),
        )

    def final_stage(self, selection: Selection) -> dict[str, Any]:
        """Classification only; the model ends with the stage's best weights, or with those it came with."""
        final, train = self.config.final, self.config.train
        best, kept, since, epoch = selection.best, False, 0, 0
        weights = selection.weights
        optimiser = adamw(
            [
                *decay_groups(self.model.encoder.body, final.lr, final.decay),
                *decay_groups(self.model.classifier, final.lr, final.decay),
            ],
            self.config.optim,
        )
        size = len(self.task.train.labels)
        order = epochs(size, train.batch, rng.stream(self.seed, "order", "final", selection.objective))
        device = self.model.encoder.device
        while epoch < final.max_epochs and since < final.patience:
            epoch += 1
            for update in range(train.updates_per_epoch(size)):
                optimiser.zero_grad()
                for micro in range(train.accumulate):
                    chunks = self.stepper.chunks(self.task.train, next(order))
                    names = ("final", selection.objective, epoch, update, micro)
                    with rng.dropout(device, self.seed, *names), autocast(device, self.config.precision):
                        loss = self.model.classification_loss(chunks)
                    (loss / train.accumulate).backward()
                clip_norms([self.stepper.body, self.stepper.head], self.config.optim.clip)
                optimiser.step()
            metrics, _ = self.measure(self.task.validation)
            if not math.isfinite(metrics["loss"]):
                raise NonFiniteLoss(f"not finite in epoch {epoch} of the final stage (lr {final.lr}): {metrics}")
            value = metrics[selection.objective]
            since += 1
            if value > best:
                best, kept, since, weights = value, True, 0, self.snapshot()
        self.restore(weights)
        return {"enabled": True, "epochs": epoch, "kept": kept}
