"""A fine-tuned model as a folder, and back; and as a folder that transformers reads as a text classifier."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from l3masking.encoders.heads import OWN_HEADS
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.encoders.table import EncoderSpec
from l3masking.encoders.weights import restore_weights
from l3masking.errors import InputError
from l3masking.predicting import logits_of, read_classifier
from l3masking.reading import KEY_OF_READING, Reading
from l3masking.rng import stream
from l3masking.scoring.words import encode_texts
from l3masking.training.batches import chunk_of
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig
from l3masking.whole import made_whole

CLASSIFIER, LABELS = "classifier.safetensors", "labels.json"
LOGIT_TOLERANCE = 1e-5  # between logits of the saved and of the exported model, absolute and relative
CHECKED = ("a text", "The reviewers weren't sure: 12 of the 40 results (see Table 3) could not be repeated.", "?")


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
    with made_whole(folder, durable=True) as temporary:
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


def write_classifier(tuned: Tuned, reading: Reading, folder: Path) -> bool:
    """Write a fine-tuned model into a folder that is there, as transformers reads classifiers of texts.

    Returns True if AutoModelForSequenceClassification reads it, because the classifier of its type is ours (OWN_HEADS),
    and False if l3masking.classifier.TextClassifier does. Equal models give equal bytes. Raises InputError where the
    folder, read back, gives other logits than the model: texts of CHECKED and of the vocabulary are compared.
    """
    encoder, own = tuned.model.encoder, OWN_HEADS.get(tuned.model.encoder.model_type)
    made = _of_own_type(tuned) if own else _of_our_type(tuned)
    config = made.config
    config.id2label = dict(enumerate(tuned.labels))
    config.label2id = {label: number for number, label in enumerate(tuned.labels)}
    config.problem_type = "single_label_classification"
    setattr(config, KEY_OF_READING, reading.as_config())
    made.eval().save_pretrained(folder)
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.model_max_length = reading.max_length
    tokenizer.truncation_side = "right"
    given = {"token_type_ids": encoder.separator is not None, "attention_mask": not reading.padded}
    tokenizer.model_input_names = ["input_ids", *(name for name, used in given.items() if used)]
    tokenizer.split_special_tokens = True  # "[MASK]" in a text is text, as in training
    for name in ("model_input_names", "split_special_tokens"):  # saved are what has an entry here
        tokenizer.init_kwargs[name] = getattr(tokenizer, name)
    for name in ("local_files_only", "is_local", "name_or_path"):  # how it was read here
        tokenizer.init_kwargs.pop(name, None)
    tokenizer.save_pretrained(folder)
    _compare(tuned, reading, folder)
    return own is not None


def _of_own_type(tuned: Tuned) -> Any:
    """The model under the class that transformers has for classifiers of its type."""
    from transformers import AutoModelForSequenceClassification

    encoder = tuned.model.encoder
    own = OWN_HEADS[encoder.model_type]
    config = _configuration(tuned)
    config.num_labels = len(tuned.labels)
    for name, value in own.settings.items():
        setattr(config, name, value)
    with torch.random.fork_rng(devices=[]):  # it draws weights, which are replaced
        made = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    _fill(made.base_model, encoder.body, but_for="pooler")
    _fill(made.get_submodule(own.dense), tuned.model.classifier.dense)
    _fill(made.get_submodule(own.out), tuned.model.classifier.out)
    return made


def _of_our_type(tuned: Tuned) -> Any:
    """The model as a TextClassifier."""
    from l3masking.classifier import TextClassifier, TextClassifierConfig

    classifier = tuned.model.classifier
    inner = _configuration(tuned)
    config = TextClassifierConfig(
        encoder=inner.to_dict(), num_labels=len(tuned.labels), classifier_dropout=classifier.dropout
    )
    with torch.random.fork_rng(devices=[]):
        made = TextClassifier(config)
    _fill(made.encoder, tuned.model.encoder.body)
    _fill(made.dense, classifier.dense)
    _fill(made.out, classifier.out)
    return made


def _configuration(tuned: Tuned) -> Any:
    """A copy of the encoder's configuration, without the place that it was read from."""
    config: Any = copy.deepcopy(tuned.model.language_model.config)
    config._name_or_path = ""
    return config


def _fill(part: nn.Module, source: nn.Module, but_for: str | None = None) -> None:
    """Put the weights of `source` into `part`, which may have more under the name `but_for` alone."""
    missing, unexpected = part.load_state_dict(source.state_dict(), strict=False)
    wrong = [name for name in missing if name.split(".")[0] != but_for] + list(unexpected)
    assert not wrong, f"the two classes have other weights: {', '.join(wrong[:3])}"


@torch.inference_mode()
def _compare(tuned: Tuned, reading: Reading, folder: Path) -> None:
    """Read the folder back and compare its logits with those of the model, [B, C] of a few texts."""
    encoder = tuned.model.encoder.with_padding(reading.max_length) if reading.padded else tuned.model.encoder
    words = encoder.tokenizer.decode(range(0, len(encoder.tokenizer), max(1, len(encoder.tokenizer) // 64)))
    singles = [*CHECKED, words, words[: len(words) // 2]]
    texts = list(zip(singles, reversed(singles), strict=True)) if reading.pairs else singles
    encoded = encode_texts(encoder.tokenizer, texts, max_length=reading.max_length, whitespace=reading.whitespace)
    ids = [text.input_ids for text in encoded]
    pad_id = encoder.tokenizer.pad_token_id
    given = chunk_of(ids, range(len(ids)), torch.zeros(len(ids)), pad_id)[:2]  # ids and mask
    expected = tuned.model.classifier(encoder.text_states(*given))
    read = read_classifier(folder)
    found = logits_of(read.models[0], read.reading, *given, pad_id=pad_id, precision="float32")
    if not torch.allclose(found, expected.float(), atol=LOGIT_TOLERANCE, rtol=LOGIT_TOLERANCE):
        off = float((found - expected).abs().max())
        raise InputError(
            f"exported model: read back, its logits differ by up to {off:.1e} from those of the trained "
            f"{encoder.model_type} model, so it is not written: please report the type of the encoder"
        )


def _read_labels(file: Path) -> tuple[str, ...]:
    try:
        labels = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(
            f"{file.parent}: no saved model here ({file.name} is missing): give a folder models/KEY of a study that "
            "ran with resources.save_models"
        ) from error
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
