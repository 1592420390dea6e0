"""A task, and how well a model does on one of its splits."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from l3masking.metrics import METRICS
from l3masking.precision import Precision, autocast
from l3masking.training.model import MultiTaskModel
from l3masking.training.steps import Examples

EVALUATION_TOKENS = 16384  # padded tokens in an evaluation batch; no gradient is held


@dataclass(frozen=True, eq=False)
class Task:
    """A text-classification task, encoded."""

    train: Examples
    validation: Examples
    test: Examples | None  # None: a run that may look at validation alone, such as a search
    num_classes: int


class Measurement(NamedTuple):
    """Metrics as fractions with the cross-entropy (nats) as `loss`, and the predicted class of each text in order."""

    metrics: dict[str, float]
    predictions: list[int]


class NonFiniteLoss(RuntimeError):
    """A loss or metric became NaN or infinite: the trial has failed."""


def check_finite(place: str, values: Mapping[str, float]) -> None:
    """Raise NonFiniteLoss, naming the place and the values, where one of them is NaN or infinite."""
    if not all(math.isfinite(value) for value in values.values()):
        raise NonFiniteLoss(f"not finite at {place}: {', '.join(f'{name} {value}' for name, value in values.items())}")


@torch.inference_mode()
def measure(model: MultiTaskModel, examples: Examples, num_classes: int, precision: Precision) -> Measurement:
    """All metrics over a split, in large batches of like lengths. The model is left in training mode."""
    model.eval()
    device, pad_id = model.encoder.device, model.encoder.tokenizer.pad_token_id
    predicted = torch.zeros(len(examples.labels), dtype=torch.long)
    total = 0.0
    order = sorted(range(len(examples.labels)), key=lambda i: len(examples.input_ids[i]))
    while order:
        size = max(1, EVALUATION_TOKENS // len(examples.input_ids[order[-1]]))
        part, order = order[-size:], order[:-size]
        chunks = examples.chunks(part, 1, pad_id, device)
        with autocast(device, precision):
            logits = model.classifier(model.features(chunks)).float()
        total += float(F.cross_entropy(logits, chunks[0].labels, reduction="sum"))
        predicted[part] = logits.argmax(dim=-1).cpu()  # one bucket keeps the order of `part`, which is by length
    model.train()
    predictions, labels = predicted.tolist(), examples.labels.tolist()
    metrics = {name: metric(predictions, labels, num_classes) for name, metric in METRICS.items()}
    return Measurement({**metrics, "loss": total / max(1, len(labels))}, predictions)
