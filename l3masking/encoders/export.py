"""A fine-tuned model as a folder, and back."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.rng import stream
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig
from l3masking.whole import made_whole

CLASSIFIER, LABELS = "classifier.safetensors", "labels.json"


class Tuned(NamedTuple):
    """A fine-tuned model in eval mode, and the name of each class."""

    model: MultiTaskModel
    labels: tuple[str, ...]


def save_tuned(encoder: Encoder, weights: Mapping[str, Tensor], labels: Sequence[str], folder: Path) -> None:
    """Write a model whole or not at all; a folder that is there stays.

    encoder: the one that was fine-tuned, itself still vanilla. weights: `Outcome.weights`, the best ones. transformers
    reads body, LM head and tokenizer from the folder; the classification head lies beside them.
    """
    if folder.exists():
        return
    own = dataclasses.replace(encoder, model=copy.deepcopy(encoder.model))
    model = MultiTaskModel(own, len(labels), ModelConfig(), stream(0, "head"))
    model.restore(weights)
    with made_whole(folder) as temporary:
        model.language_model.save_pretrained(temporary)  # type: ignore[operator]
        encoder.tokenizer.save_pretrained(temporary)
        save_file(model.classifier.state_dict(), temporary / CLASSIFIER)
        (temporary / LABELS).write_text(json.dumps(list(labels)), encoding="utf-8")


def load_tuned(folder: Path, *, device: str | torch.device = "cpu") -> Tuned:
    """What `save_tuned` wrote. `model.classifier(model.features(chunks))` gives [B, C] logits."""
    labels = tuple(json.loads((folder / LABELS).read_text(encoding="utf-8")))
    encoder = load_encoder(str(folder), device=device)
    model = MultiTaskModel(encoder, len(labels), ModelConfig(), stream(0, "head"))
    model.classifier.load_state_dict(load_file(folder / CLASSIFIER, device=str(device)))
    return Tuned(model.eval(), labels)
