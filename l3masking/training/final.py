"""The final stage: classification only, from an objective's best weights, kept where it helps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from l3masking import rng
from l3masking.errors import InputError
from l3masking.precision import Precision, autocast
from l3masking.training.batches import TrainConfig, epochs
from l3masking.training.early_stopping import Selection
from l3masking.training.evaluation import Task, check_finite, measure
from l3masking.training.model import MultiTaskModel
from l3masking.training.optim import OptimConfig, adamw, clip_norms, decay_groups


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


def final_stage(
    model: MultiTaskModel,
    task: Task,
    final: FinalConfig,
    train: TrainConfig,
    optim: OptimConfig,
    *,
    precision: Precision,
    selection: Selection,
    seed: int,
) -> dict[str, Any]:
    """Train from the weights that `model` holds, the best of `selection`; it ends with the best of both stages.

    The stage's result is kept only where validation improves strictly. Its random streams are named by the objective,
    so that it does not matter which other objectives the training serves.
    """
    best, kept, since, epoch = selection.best, False, 0, 0
    weights = selection.weights
    body, head = model.encoder.body, model.classifier
    optimiser = adamw([group for part in (body, head) for group in decay_groups(part, final.lr, final.decay)], optim)
    size = len(task.train.labels)
    order = epochs(size, train.batch, rng.stream(seed, "order", "final", selection.objective))
    device, pad_id = model.encoder.device, model.encoder.tokenizer.pad_token_id
    while epoch < final.max_epochs and since < final.patience:
        epoch += 1
        for update in range(train.updates_per_epoch(size)):
            optimiser.zero_grad()
            for micro in range(train.accumulate):
                chunks = task.train.chunks(next(order), train.length_buckets, pad_id, device)
                names = ("final", selection.objective, epoch, update, micro)
                with rng.dropout(device, seed, *names), autocast(device, precision):
                    loss = model.classification_loss(chunks)
                (loss / train.accumulate).backward()
            clip_norms([model.body_parameters(), list(head.parameters())], optim.clip)
            optimiser.step()
        metrics = measure(model, task.validation, task.num_classes, precision).metrics
        check_finite(f"epoch {epoch} of the final stage (lr {final.lr})", metrics)
        since += 1
        if metrics[selection.objective] > best:
            best, kept, since, weights = metrics[selection.objective], True, 0, model.snapshot()
    model.restore(weights)
    return {"enabled": True, "epochs": epoch, "kept": kept}
