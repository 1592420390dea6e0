"""The final stage: classification only, from an objective's best weights, kept where it helps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from l3masking import rng
from l3masking.encoders.weights import restore_weights, weights_of
from l3masking.precision import Precision, autocast
from l3masking.training.batches import Batches, epochs
from l3masking.training.checkpoint import (
    NO_KEEPER,
    Keeper,
    Snapshot,
    below,
    losses_state,
    optimiser_state,
    plain_weights,
    restore_optimiser,
    restored_losses,
    under,
)
from l3masking.training.early_stopping import Selection
from l3masking.training.evaluation import Task, check_course, measure
from l3masking.training.model import MultiTaskModel
from l3masking.training.optim import adamw, decay_groups
from l3masking.training.portions import Portions, stream_of
from l3masking.training.settings import FinalConfig, OptimConfig, TrainConfig


@dataclass(frozen=True, eq=False)
class _Gradients:
    """The gradients of the updates of one final stage."""

    model: MultiTaskModel
    task: Task
    train: TrainConfig
    precision: Precision
    name: tuple[str, str]  # of the stage's streams
    seed: int
    order: Batches
    portions: Portions

    def fill(self, epoch: int, update: int) -> Tensor:
        """Those of one update into `param.grad`, and the mean loss (nats); in portions where memory is short."""
        before = self.order.state()
        return self.portions.texts.attempt(lambda: self._fill(epoch, update), lambda: self.order.restore(before))

    def _fill(self, epoch: int, update: int) -> Tensor:
        total = torch.zeros((), device=self.model.encoder.device)
        model, train, encoder, gradients = self.model, self.train, self.model.encoder, self.model.gradients
        span = gradients.span("body", "head")
        gradients.clear()
        for micro in range(train.accumulate):
            pad_id = encoder.tokenizer.pad_token_id
            chunks = self.task.train.chunks(next(self.order), train.length_buckets, pad_id, encoder.device)
            for number, (portion, share) in enumerate(self.portions.shares(chunks)):
                name = *self.name, epoch, update, micro, *stream_of(number)
                with rng.dropout(encoder.device, self.seed, *name), autocast(encoder.device, self.precision):
                    loss = model.classification_loss(portion)
                gradients.add(span, gradients.of(loss * share / train.accumulate, span), 1.0)
                total += loss.detach() * share / train.accumulate
        return total


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
    portions: Portions | None = None,
    keeper: Keeper = NO_KEEPER,
    saved: Snapshot | None = None,
) -> dict[str, Any]:
    """Train from the weights that `model` holds, the best of `selection`; it ends with the best of both stages.

    The stage's result is kept only where validation improves strictly. Its random streams are named by the objective,
    so that it does not matter which other objectives the training serves. keeper, saved: as in `fine_tune`.
    """
    best, kept, since, weights = selection.best, False, 0, selection.weights
    epoch, made = 0, 0  # whole epochs, and updates of the next one
    trained = (model.encoder.body, model.classifier)
    optimiser = adamw([group for part in trained for group in decay_groups(part, final.lr, final.decay)], optim)
    size, portions = len(task.train.labels), portions or Portions(train.batch)
    order = epochs(size, train.batch, rng.stream(seed, "order", "final", selection.objective))
    gradients = _Gradients(model, task, train, precision, ("final", selection.objective), seed, order, portions)
    losses, per_epoch = list[dict[str, Tensor]](), train.updates_per_epoch(size)  # losses: of the next epoch
    if saved is not None:
        epoch, made, since, best, kept = (saved.facts[name] for name in ("epoch", "made", "since", "best", "kept"))
        restore_weights(model, below("model", saved.tensors))
        restore_optimiser(optimiser, below("adam", saved.tensors))
        order.restore(below("order", saved.tensors))
        losses = restored_losses(below("losses", saved.tensors), model.encoder.device)
        if kept:
            weights = below("kept", saved.tensors) if since or made else weights_of(model)

    def state() -> Snapshot:
        tensors = under("model", plain_weights(model)) | under("adam", optimiser_state(optimiser))
        tensors |= under("order", order.state()) | (under("kept", weights) if kept and (since or made) else {})
        tensors |= under("losses", losses_state(losses))
        facts = {"epoch": epoch, "made": made, "since": since, "best": best, "kept": kept}
        return Snapshot({**facts, "portions": portions.state()}, tensors)

    beat = partial(keeper.beat, state)
    while epoch < final.max_epochs and since < final.patience:
        while made < per_epoch:
            losses.append({"primary": gradients.fill(epoch + 1, made)})
            model.clip(optim.clip)
            optimiser.step()
            made += 1
            beat()
        metrics = measure(model, task.validation, task.num_classes, precision, portions.tokens, beat).metrics
        epoch, made = epoch + 1, 0
        check_course(f"final stage, epoch {epoch}, ", per_epoch, losses, metrics, rate=lambda _: final.lr)
        losses, since = [], since + 1
        if metrics[selection.objective] > best:
            best, kept, since, weights = metrics[selection.objective], True, 0, weights_of(model)
        keeper.offer(state)
    restore_weights(model, weights)
    return {"enabled": True, "epochs": epoch, "kept": kept}
