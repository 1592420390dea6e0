"""A fine-tuned model as a folder, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.encoders.table import EncoderSpec
from l3masking.encoders.weights import restore_weights
from l3masking.errors import InputError
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
    model = MultiTaskModel(encoder.copied(), len(labels), ModelConfig(), stream(0, "head"))
    restore_weights(model, weights)
    with made_whole(folder) as temporary:
        model.language_model.save_pretrained(temporary)  # type: ignore[operator]
        encoder.tokenizer.save_pretrained(temporary)
        save_file(model.classifier.state_dict(), temporary / CLASSIFIER)
        (temporary / LABELS).write_text(json.dumps(list(labels)), encoding="utf-8")


def load_tuned(folder: Path, *, device: str | torch.device = "cpu") -> Tuned:
    """What `save_tuned` wrote. `model.classifier(model.features(chunks))` gives [B, C] logits.

    Raises InputError if a file of the folder is missing, damaged or from another model.
    """
    labels = _read_labels(folder / LABELS)
    encoder = load_encoder(EncoderSpec(path=str(folder)), device=device)
    model = MultiTaskModel(encoder, len(labels), ModelConfig(), stream(0, "head"))
    shapes = {name: tuple(value.shape) for name, value in model.classifier.state_dict().items()}
    model.classifier.load_state_dict(_read_tensors(folder / CLASSIFIER, shapes))
    return Tuned(model.eval(), labels)


def _read_labels(file: Path) -> tuple[str, ...]:
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise _damaged(file, error.strerror or error) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(file, f"not JSON: {error}") from error
    if not isinstance(labels, list) or not labels or not all(isinstance(label, str) for label in labels):
        raise _damaged(file, "not a list of class names")
    return tuple(labels)


def _read_tensors(file: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The tensors of a file, which must have these names and shapes."""
    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise _damaged(file, error) from error
    found = {name: tuple(value.shape) for name, value in tensors.items()}
    for name in sorted(shapes.keys() | found.keys()):
        if shapes.get(name) != found.get(name):
            held, needed = (f"shape {of[name]}" if name in of else "absent" for of in (found, shapes))
            raise _damaged(file, f"tensor {name}: {held}, but {needed} in this model with the classes of {LABELS}")
    return tensors


def _damaged(file: Path, reason: object) -> InputError:
    return InputError(
        f"saved model: cannot use {file} ({' '.join(str(reason).split())}): copy the whole folder again, or save the "
        "model again"
    )
