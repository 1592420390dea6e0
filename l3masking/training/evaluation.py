"""A task, and how well a model does on one of its splits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from l3masking.memory import Halving
from l3masking.metrics import METRICS
from l3masking.precision import Precision, autocast
from l3masking.training.model import MultiTaskModel
from l3masking.training.steps import Examples


@dataclass(frozen=True, eq=False)
class FurtherSet:
    """Texts on which the selected model is judged too, under classes of their own."""

    examples: Examples
    num_classes: int
    of_class: Tensor  # [C] class of the set for which each class of the task stands


@dataclass(frozen=True, eq=False)
class Task:
    """A text-classification task, encoded."""

    train: Examples
    validation: Examples
    test: Examples | None  # None: a run that may look at validation alone, such as a search
    num_classes: int
    further: Mapping[str, FurtherSet] = field(default_factory=dict)  # evaluation sets by name; read as test is


class Measurement(NamedTuple):
    """Metrics as fractions with the cross-entropy (nats) as `loss`, and what is predicted for each text in order."""

    metrics: dict[str, float]
    predictions: list[int]  # class of each text
    probabilities: list[list[float]]  # [E, C] of each class for each text, in [0, 1], float32; a row sums to 1


class NonFiniteLoss(RuntimeError):
    """A loss or metric became NaN or infinite: the trial has failed."""


def check_finite(place: str, values: Mapping[str, float]) -> None:
    """Raise NonFiniteLoss, naming the place and the values, where one of them is NaN or infinite."""
    if not all(math.isfinite(value) for value in values.values()):
        raise NonFiniteLoss(f"not finite at {place}: {', '.join(f'{name} {value}' for name, value in values.items())}")


def unheard() -> None:
    """Nobody wants to hear of a batch."""


def mean_losses(losses: Sequence[Mapping[str, Tensor]]) -> dict[str, float]:
    """The mean of each task over some updates; not each of them has a loss of each task."""
    names = sorted({name for window in losses for name in window})
    return {name: float(torch.stack([window[name] for window in losses if name in window]).mean()) for name in names}


def check_course(
    name: str,
    update: int,
    losses: Sequence[Mapping[str, Tensor]],
    values: Mapping[str, float],
    *,
    rate: Callable[[int], float],
    earlier: Mapping[str, float] | None = None,
) -> None:
    """Raise NonFiniteLoss where one of `values` is not finite, which were found after `update`.

    losses: by task, of the last updates, `update` being the last. The message names the first of them that is not
    finite, its learning rate, and the last finite losses. rate: learning rate of an update. earlier: losses before.
    """
    if all(map(math.isfinite, values.values())):
        return
    last, at = earlier, update - len(losses)
    for at, window in enumerate(losses, update - len(losses) + 1):  # noqa: B007
        found = {task: float(loss) for task, loss in window.items()}
        if not all(map(math.isfinite, found.values())):
            break
        last = found
    else:  # the weights are not finite since the last update, or the metrics are not
        found = dict(values)
    known = "none" if not last else ", ".join(f"{task} {loss:.4g}" for task, loss in last.items())
    said = ", ".join(f"{task} {loss}" for task, loss in found.items())
    raise NonFiniteLoss(f"not finite at {name}update {at} (lr {rate(at):.3g}): {said}; last finite loss: {known}")


def measure(
    model: MultiTaskModel,
    examples: Examples,
    num_classes: int,
    precision: Precision,
    tokens: Halving,
    beat: Callable[[], None] = unheard,
) -> Measurement:
    """All metrics over a split, in large batches of like lengths. The model is left in training mode.

    tokens: padded ones of a batch, halved where memory does not hold them. beat: called after each batch.
    """
    logits_EC, losses = _all_logits(model, examples, num_classes, precision, tokens, beat)
    predicted = logits_EC.argmax(dim=-1)
    mean = sum(float(loss) for loss in losses) / max(1, len(examples.labels))
    metrics = {**_metrics(predicted, examples, num_classes), "loss": mean}
    return Measurement(metrics, predicted.tolist(), logits_EC.softmax(dim=-1).tolist())


def judge(
    model: MultiTaskModel,
    further: FurtherSet,
    precision: Precision,
    tokens: Halving,
    beat: Callable[[], None] = unheard,
) -> Measurement:
    """Metrics on an evaluation set: the predicted class of the task counts as the class that it stands for there.

    The probability of a class of the set is the sum over the task's classes that stand for it. Where several do, the
    likeliest class of the set may therefore be another one than the predicted class. There is no loss. beat: as in
    `measure`.
    """
    logits_EC, _ = _all_logits(model, further.examples, len(further.of_class), precision, tokens, beat)
    predicted = further.of_class[logits_EC.argmax(dim=-1)]
    likely_EC = torch.zeros(len(predicted), further.num_classes)
    likely_EC.index_add_(1, further.of_class, logits_EC.softmax(dim=-1))
    check_finite("an evaluation set", {"probabilities": float(likely_EC.sum())})
    metrics = _metrics(predicted, further.examples, further.num_classes)
    return Measurement(metrics, predicted.tolist(), likely_EC.tolist())


def _metrics(predicted: Tensor, examples: Examples, num_classes: int) -> dict[str, float]:
    predictions, labels = predicted.tolist(), examples.labels.tolist()
    return {name: metric(predictions, labels, num_classes) for name, metric in METRICS.items()}


def _all_logits(
    model: MultiTaskModel,
    examples: Examples,
    num_classes: int,
    precision: Precision,
    tokens: Halving,
    beat: Callable[[], None],
) -> tuple[Tensor, list[Tensor]]:
    """[E, C] of all texts in order, on the CPU, and the summed loss of each batch; a GPU is waited for at the end."""
    order, logits, losses = list[int](), list[Tensor](), list[Tensor]()
    for part, logits_BC, labels_B in _classified(model, examples, precision, tokens):
        order += part
        logits.append(logits_BC)
        losses.append(F.cross_entropy(logits_BC, labels_B, reduction="sum"))
        beat()
    logits_EC = torch.zeros(len(examples.labels), num_classes)
    if logits:
        logits_EC[order] = torch.cat(logits).cpu()
    return logits_EC, losses


@torch.inference_mode()
def _classified(
    model: MultiTaskModel, examples: Examples, precision: Precision, tokens: Halving
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Indices of some texts, their logits [B, C] and labels [B], batch by batch, the longest texts first."""
    model.eval()
    device, pad_id = model.encoder.device, model.encoder.tokenizer.pad_token_id
    order = sorted(range(len(examples.labels)), key=lambda i: len(examples.input_ids[i]))[::-1]

    def classified(part: Sequence[int]) -> tuple[list[int], Tensor, Tensor]:
        shortest_first = [*part[::-1]]  # an order that one bucket keeps
        chunks = examples.chunks(shortest_first, 1, pad_id, device)
        with autocast(device, precision):
            logits = model.classifier(model.features(chunks)).float()
        return shortest_first, logits, chunks[0].labels

    length = model.encoder.padded_to
    for _, found in tokens.batches(order, lambda i: length or len(examples.input_ids[i]), classified):
        yield found
    model.train()
