"""Classes and probabilities of texts by an exported classifier, or by one per seed together.

Shapes: n texts, B texts in a batch, T positions of the longest of them, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from l3masking.data.pairs import Text, each_part, is_blank_text, parts_of
from l3masking.encoders.checks import check_tokenizer
from l3masking.encoders.hub import reading as reading_files
from l3masking.encoders.load import given_to
from l3masking.encoders.table import EncoderSpec
from l3masking.errors import InputError
from l3masking.memory import Halving
from l3masking.precision import Precision, autocast
from l3masking.reading import Described, Reading, described_all, member_folders
from l3masking.scoring.words import TOKENIZING, encode_texts
from l3masking.training.batches import chunk_of

TEXT_CLASSIFIER = "l3masking-text-classifier"  # model_type of l3masking.classifier.TextClassifier


@dataclass(frozen=True, eq=False, kw_only=True)
class ExportedClassifier:
    """Exported classifiers in eval mode. Several: one per seed, whose probabilities are averaged."""

    models: tuple[nn.Module, ...]
    tokenizer: Any
    labels: tuple[str, ...]  # [C]
    reading: Reading

    @property
    def device(self) -> torch.device:
        return next(self.models[0].parameters()).device


class TextPredictions(NamedTuple):
    """What a classifier says of n texts."""

    probabilities: NDArray[np.float64]  # [n, C], each row sums to 1; NaN for a blank text, which no model reads
    cut: int  # texts that are longer than the model reads, and lost their end
    blank: int  # texts in which nothing can be seen


def read_classifier(folder: Path, *, device: str | torch.device = "cpu") -> ExportedClassifier:
    """The classifier in a folder that an export wrote, or the classifiers of all its seeds. Needs no network.

    Raises InputError for a folder without one, for damaged files, and where the seeds do not belong together.
    """
    from transformers import AutoTokenizer

    folders = member_folders(folder)
    facts = described_all(folders)
    models = tuple(_read_model(part, facts).to(device) for part in folders)
    encoder: Any = getattr(models[0].config, "encoder", models[0].config)  # whose tokenizer this is
    with reading_files(EncoderSpec(path=str(folders[0])), "tokenizer"):
        tokenizer = AutoTokenizer.from_pretrained(
            folders[0], config=encoder, local_files_only=True, trust_remote_code=False
        )
    check_tokenizer(tokenizer, encoder.vocab_size, str(folders[0]))
    return ExportedClassifier(models=models, tokenizer=tokenizer, labels=facts.labels, reading=facts.reading)


def _read_model(folder: Path, facts: Described) -> nn.Module:
    from transformers import AutoModelForSequenceClassification

    reader: Any = AutoModelForSequenceClassification
    if facts.model_type == TEXT_CLASSIFIER:
        from l3masking.classifier import TextClassifier

        reader = TextClassifier
    with reading_files(EncoderSpec(path=str(folder)), "model"):
        model, loading = reader.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            dtype=torch.float32,
            output_loading_info=True,
        )
    if missing := sorted(loading["missing_keys"]):
        raise InputError(
            f"exported model {folder}: its weights lack {', '.join(missing[:3])} ({len(missing)} tensors): "
            "copy the whole folder again, or export the model again"
        )
    return model.eval()


def logits_of(
    model: nn.Module,
    reading: Reading,
    input_ids_BT: Tensor,
    attention_mask_BT: Tensor,
    *,
    pad_id: int,
    precision: Precision | None = None,
) -> Tensor:
    """[B, C] logits in float32. pad_id: the tokenizer's. precision: of the pass; None: that of training."""
    padded_to = reading.max_length if reading.padded else None
    given: dict[str, Any] = given_to(
        input_ids_BT, attention_mask_BT, separator=reading.separator, padded_to=padded_to, pad_id=pad_id
    )
    if getattr(model.config, "is_encoder_decoder", False):
        given["use_cache"] = False
    with autocast(input_ids_BT.device, precision or reading.precision):
        logits_BC: Tensor = model(**given).logits
    return logits_BC.float()


@torch.inference_mode()
def predict_texts(
    classifier: ExportedClassifier,
    texts: Sequence[Text],
    *,
    batch: int = 32,
    on_batch: Callable[[int], None] | None = None,
) -> TextPredictions:
    """The probabilities of texts, in their order. Batches hold texts of like lengths.

    texts: strings, or tuples of two for a classifier of pairs. batch: texts in one forward pass, 1 and up; halved where
    memory does not hold them. on_batch is told how many texts a batch settled. Raises InputError for texts of the other
    kind.
    """
    reading, tokenizer = classifier.reading, classifier.tokenizer
    _check_kind(texts, reading)
    seen = [index for index, text in enumerate(texts) if not is_blank_text(text)]
    probabilities = np.full((len(texts), len(classifier.labels)), np.nan)
    if on_batch is not None and len(seen) < len(texts):
        on_batch(len(texts) - len(seen))
    read = [texts[index] for index in seen]
    encoded = encode_texts(tokenizer, read, max_length=reading.max_length, whitespace=reading.whitespace)
    ids = [text.input_ids for text in encoded]
    order = sorted(range(len(ids)), key=lambda place: len(ids[place]), reverse=True)

    def predicted(part: Sequence[int]) -> NDArray[np.float64]:
        chunk = chunk_of(ids, part, torch.zeros(len(part)), tokenizer.pad_token_id)
        return _mean_probabilities(classifier, chunk.input_ids, chunk.attention_mask)

    for part, found in Halving(batch).batches(order, lambda place: len(ids[place]), predicted):
        probabilities[[seen[place] for place in part]] = found
        if on_batch is not None:
            on_batch(len(part))
    return TextPredictions(probabilities, _count_cut(classifier, read, ids), len(texts) - len(seen))


def _mean_probabilities(
    classifier: ExportedClassifier, input_ids_BT: Tensor, attention_mask_BT: Tensor
) -> NDArray[np.float64]:
    """[B, C], the mean over the models."""
    reading, pad_id = classifier.reading, classifier.tokenizer.pad_token_id
    given = input_ids_BT.to(classifier.device), attention_mask_BT.to(classifier.device)
    logits = [logits_of(model, reading, *given, pad_id=pad_id).cpu() for model in classifier.models]
    found = [logits_BC.double().softmax(dim=-1) for logits_BC in logits]
    mean: NDArray[np.float64] = torch.stack(found).mean(dim=0).numpy()
    return mean


def _check_kind(texts: Sequence[Text], reading: Reading) -> None:
    for index, text in enumerate(texts):
        if isinstance(text, str) == reading.pairs:
            wanted = "pairs of texts" if reading.pairs else "single texts"
            raise InputError(f"texts[{index}] is {text!r:.60}: this model was trained on {wanted}")


def _count_cut(classifier: ExportedClassifier, texts: Sequence[Text], ids: Sequence[NDArray[np.int64]]) -> int:
    """How many texts have more ids than were read. Only those that fill the length are read once more."""
    reading = classifier.reading
    full = [text for text, row in zip(texts, ids, strict=True) if len(row) >= reading.max_length]
    if not full:
        return 0
    if reading.whitespace == "collapse":
        full = [each_part(lambda part: " ".join(part.split()), text) for text in full]
    sides = [list(side) for side in zip(*map(parts_of, full), strict=True)]
    with TOKENIZING:
        whole = classifier.tokenizer(*sides, truncation=False, split_special_tokens=True, verbose=False)["input_ids"]
    return sum(len(row) > reading.max_length for row in whole)
