"""Small fine-tuned models with random weights, in folders: nothing is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from more_encoders import FAST, OWN
from small_bart import save_bart
from small_encoders import MAKERS

from l3masking.encoders.export import Tuned, load_tuned, save_tuned
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.encoders.weights import weights_of
from l3masking.rng import stream
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

ALL_TYPES: dict[str, Callable[[Path], Path]] = {**MAKERS, **FAST, **OWN, "bart": save_bart}
NAMES = ("=cmd|' /C calc'!A0", "<b>[x](javascript:1)</b>\x1b[31m", "an ordinary name")  # of three classes


def save_random(encoder: Encoder, folder: Path, labels: Sequence[str] = NAMES, seed: int = 5) -> Path:
    """A model with the encoder's own body and a random head, wide enough that predictions differ."""
    model = MultiTaskModel(encoder.copied(), len(labels), ModelConfig(), stream(seed, "head"))
    with torch.no_grad():
        for parameter in model.classifier.parameters():
            parameter.mul_(3.0)
    save_tuned(encoder, weights_of(model), labels, folder)
    return folder


def random_classifier(kind: str, folder: Path) -> Tuned:
    """A saved model of one of ALL_TYPES, as it is read for an export."""
    encoder = load_encoder(str(ALL_TYPES[kind](folder / "encoder")))
    if kind.startswith("albert"):  # its few small weights give all texts nearly the same logits
        with torch.no_grad():
            for parameter in encoder.model.parameters():
                parameter.mul_(1.0 if parameter.dim() < 2 else 8.0)
    return load_tuned(save_random(encoder, folder / "tuned"))
