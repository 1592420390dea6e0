"""Masked-LM training of a whole model: AdamW, linear warm-up and decay, batches of texts of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from l3masking.encoders.families import family_of
from l3masking.errors import InputError
from l3masking.masking.applied import MaskedText
from l3masking.masking.corruption import IGNORED
from l3masking.training.optim import schedule_at

T = TypeVar("T")
CHUNK = 16  # batches that are sorted by length together, so that texts of like length meet and padding is rare


@dataclass(frozen=True, eq=False, kw_only=True)
class TextSource:
    """Texts that can be read again and again, in the same order each time."""

    count: int  # texts, >= 1
    read: Callable[[], Iterator[MaskedText]]


@dataclass(frozen=True, kw_only=True)
class MlmConfig:
    """Masked-LM training outside fine-tuning."""

    epochs: int = 3  # passes over the texts, >= 1
    batch: int = 64  # texts, >= 1
    lr: float = 1e-4  # peak learning rate, linear up and down, > 0
    warmup: float = 0.06  # share of the updates in which it rises, in [0, 1]
    decay: float = 0.01  # weight decay of every parameter, >= 0
    betas: tuple[float, float] = (0.9, 0.98)  # of AdamW, in [0, 1)
    eps: float = 1e-6  # of AdamW, > 0
    clip: float = 1.0  # largest gradient norm, > 0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if getattr(self, name) < 1:
                raise InputError(f"masked-LM training: {name} is {getattr(self, name)}: at least 1")
        for name in ("lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"masked-LM training: {name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"masked-LM training: warmup is {self.warmup}: a share of the updates, in [0, 1]")


def train_mlm(
    model: Any,
    rows: Sequence[Sequence[int]],
    collate: Callable[[list[dict[str, Any]]], Mapping[str, Tensor]],
    config: MlmConfig,
    *,
    order: torch.Generator,
    progress: Callable[[int, int, Sequence[float]], None] | None = None,
) -> list[float]:
    """Train a masked LM in place; the model keeps its mode (eval: no dropout).

    rows: input ids of each text. collate: pads, masks and labels a batch, as `MaskingCollator` does.
    order: draws the order of the batches. progress: called after every update with its number, the number of updates
    and all losses so far. Returns the loss of each update: nats per selected token, 0 where none was selected.
    """
    total = config.epochs * -(-len(rows) // config.batch)
    rise = max(1, int(config.warmup * total))
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=config.lr, betas=config.betas, eps=config.eps, weight_decay=config.decay, fused=True
    )
    batches = (part for _ in range(config.epochs) for part in near_batches(rows, config.batch, order))

    def gradients(update: int) -> float:
        optimiser.zero_grad()
        loss = mlm_loss(model, collate([{"input_ids": rows[index]} for index in next(batches)]))
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters()], config.clip, foreach=True)
        return float(loss.detach())

    def factor(done: int) -> float:
        return min((done + 1) / rise, (total - done) / max(1, total - rise))

    losses: list[float] = []
    for update, loss in updates_of(optimiser, gradients, factor, total=total):
        losses.append(loss)
        if progress is not None:
            progress(update, total, losses)
    return losses


def updates_of(
    optimiser: torch.optim.Optimizer,
    gradients: Callable[[int], T],
    factor: Callable[[int], float],
    *,
    total: int,
    done: int = 0,
) -> Iterator[tuple[int, T]]:
    """Masked-LM training step by step: yields each update up to `total` once it is made, and what `gradients` gave.

    gradients: puts the clipped gradients of an update in the place of those of the last. factor: of the learning rate,
    by the number of updates that are done. done: updates that `optimiser` has made already.
    """
    # `train_mlm` and continual.py share these steps alone: the embedded encoder is pinned, bit by bit, to batches of a
    # list, weight decay everywhere and no dropout, while `adapt` streams, accumulates, holds texts out and drops out
    schedule = schedule_at(optimiser, factor, done)
    for update in range(done + 1, total + 1):
        found = gradients(update)
        optimiser.step()
        schedule.step()
        yield update, found


def mlm_loss(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Cross-entropy in nats, mean over the selected positions: the LM head sees these alone."""
    selected = batch["labels"] != IGNORED
    hidden = model.base_model(batch["input_ids"], attention_mask=batch["attention_mask"])[0]
    logits_NV = family_of(model.config.model_type).mlm_head(model, hidden[selected])
    # a sum over at least one: a batch without a selected token then has loss 0 instead of NaN
    loss = F.cross_entropy(logits_NV, batch["labels"][selected], reduction="sum")
    return loss / max(1, int(selected.sum()))


def near_batches(rows: Sequence[Sequence[int]], batch: int, order: torch.Generator) -> Iterator[list[int]]:
    """Batches of one pass, in random order, each of texts of like length."""
    permutation = torch.randperm(len(rows), generator=order).tolist()
    for start in range(0, len(rows), CHUNK * batch):
        near = sorted(permutation[start : start + CHUNK * batch], key=lambda index: len(rows[index]))
        parts = [near[at : at + batch] for at in range(0, len(near), batch)]
        for part in torch.randperm(len(parts), generator=order).tolist():
            yield parts[part]
