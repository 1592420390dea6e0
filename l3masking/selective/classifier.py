"""Importance of the tokens of labelled texts, from a classifier that was fine-tuned on them.

Shapes: B sequences, T positions, H hidden width, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.encoders.weights import restore_weights
from l3masking.memory import Halving
from l3masking.precision import Precision, autocast
from l3masking.scoring.settings import TOKEN_BUDGETS
from l3masking.scoring.words import EncodedText, sides_of
from l3masking.selective.heuristic import Capacity, Passage, Query, important_units
from l3masking.selective.sentences import of_tokens, stop_words
from l3masking.selective.settings import SelectiveConfig
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

PADDING = {"cpu": 64, "cuda": 2048}  # tokens that take about as long as a batch does beside its tokens


@dataclass(frozen=True, eq=False, kw_only=True)
class Importance:
    """What the heuristic says of one text with n eligible tokens."""

    important: NDArray[np.bool_]  # [n]
    gain: NDArray[np.float32]  # [n] in [0, 1], what the token adds to P(true label); 0 in units that were not tested
    tested: int  # units that the classifier gets right and that were tested
    units: int  # of the text


class Classifier:
    """A fine-tuned classifier: probabilities of classes for sequences of ids."""

    def __init__(
        self,
        encoder: Encoder,
        weights: Mapping[str, Tensor],
        num_classes: int,
        *,
        precision: Precision = "float32",
        token_budget: int | None = None,
    ) -> None:
        """weights: `Outcome.weights` of a fine-tuning of `encoder`, which stays vanilla."""
        self.model = MultiTaskModel(encoder.copied(), num_classes, ModelConfig(), rng.stream(0, "head"))
        restore_weights(self.model, weights)
        self.model.eval()
        self.precision = precision
        self.tokens = Halving(token_budget or TOKEN_BUDGETS[encoder.device.type], of_tokens=True)

    @property
    def budget(self) -> int:
        """Tokens of a batch, padding included; less where memory was short."""
        return self.tokens.size

    @torch.inference_mode()
    def probabilities(self, sequences: Sequence[Sequence[int] | NDArray[np.int64]]) -> NDArray[np.float32]:
        """[B, C] for sequences of ids with their special tokens."""
        found = np.zeros((len(sequences), self.model.classifier.out.out_features), dtype=np.float32)
        lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
        order, encoder = np.argsort(-lengths, kind="stable").tolist(), self.model.encoder

        def classified(part: Sequence[int]) -> NDArray[np.float32]:
            mask = np.arange(lengths[part[0]]) < lengths[part, None]
            ids = np.full(mask.shape, encoder.tokenizer.pad_token_id)
            ids[mask] = np.fromiter(chain.from_iterable(sequences[index] for index in part), np.int64)
            ids_BT, mask_BT = (torch.from_numpy(array).to(encoder.device) for array in (ids, mask.astype(np.int64)))
            with autocast(encoder.device, self.precision):
                logits_BC = self.model.classifier(encoder.text_states(ids_BT, mask_BT))
            return torch.softmax(logits_BC.float(), dim=-1).cpu().numpy()

        for part, rows in self.tokens.batches(order, lambda index: int(lengths[index]), classified):
            found[part] = rows
        return found


@dataclass(frozen=True, eq=False)
class _Part:
    """One unit of one text."""

    text: int  # index of the text
    tokens: NDArray[np.int64]  # [k] indices into its eligible tokens
    head: list[int]  # special ids in front
    tail: list[int]  # and behind
    ids: list[int]  # [k]

    def sequence(self, ids: list[int]) -> list[int]:
        return [*self.head, *ids, *self.tail]


@dataclass(frozen=True, eq=False)
class _PairPart(_Part):
    """A pair of texts. The tokens of the second one are written as -1 - id, so that each side is known again."""

    between: list[int]  # special ids between the texts

    def sequence(self, ids: list[int]) -> list[int]:
        first, second = [i for i in ids if i >= 0], [-1 - i for i in ids if i < 0]
        return [*self.head, *first, *self.between, *second, *self.tail]


def importance_of(
    classifier: Classifier,
    texts: Sequence[EncodedText],
    labels: Sequence[int],
    config: SelectiveConfig,
    progress: Callable[[int], None] | None = None,
) -> list[Importance]:
    """Importance of the tokens of texts whose labels are known, in order.

    Units that the classifier gets wrong, and all but the `top_share` most confident of the others, have no important
    token. progress: called with the number of units tested since the last call.
    """
    tokenizer = classifier.model.encoder.tokenizer
    parts = [part for index, text in enumerate(texts) for part in _parts(tokenizer, index, text, config)]
    whole = classifier.probabilities([part.sequence(part.ids) for part in parts])
    truth = np.asarray([labels[part.text] for part in parts], dtype=np.int64)
    confidence = whole[np.arange(len(parts)), truth] if parts else np.zeros(0)
    right = np.flatnonzero(whole.argmax(axis=1) == truth) if parts else np.zeros(0, dtype=np.int64)
    most = right[np.argsort(-confidence[right], kind="stable")][: int(np.ceil(config.top_share * len(right)))]

    def ask(queries: list[Query]) -> list[float]:
        found = classifier.probabilities([parts[number].sequence(ids) for number, ids in queries])
        values: list[float] = found[np.arange(len(queries)), truth[[number for number, _ in queries]]].tolist()
        return values

    important = [np.zeros(len(text.positions), dtype=bool) for text in texts]
    gain = [np.zeros(len(text.positions), dtype=np.float32) for text in texts]
    # longest first: units of like length are tested together
    chosen = sorted(most.tolist(), key=lambda number: (-len(parts[number].ids), number))
    units = (Passage(number, parts[number].ids, float(confidence[number])) for number in chosen)
    specials = max((len(part.sequence([])) for part in parts), default=0)
    capacity = Capacity(classifier.budget, PADDING[classifier.model.encoder.device.type], specials)
    for tested in important_units(units, ask, config.delta, config.criterion, capacity=capacity):
        part = parts[tested.number]
        important[part.text][part.tokens] = tested.important
        gain[part.text][part.tokens] = np.clip(tested.gain, 0, 1)
        if progress:
            progress(1)
    if config.stop_words:
        for index, text in enumerate(texts):
            stops = stop_words(tokenizer, text)
            important[index] &= ~stops
            gain[index][stops] = 0
    counts = np.bincount([part.text for part in parts], minlength=len(texts)) if parts else np.zeros(len(texts), int)
    tests = np.bincount([parts[number].text for number in chosen], minlength=len(texts))
    return [
        Importance(important=flags, gain=values, tested=int(done), units=int(count))
        for flags, values, done, count in zip(important, gain, tests, counts, strict=True)
    ]


def _parts(tokenizer: object, index: int, text: EncodedText, config: SelectiveConfig) -> list[_Part]:
    """The units of a text, none for a text without eligible tokens. A pair is one unit, as the classifier knows it."""
    if not len(text.positions):
        return []
    head = text.input_ids[: text.positions[0]].tolist()
    tail = text.input_ids[text.positions[-1] + 1 :].tolist()
    second = sides_of(text.positions).astype(bool)
    if second.any():
        ids, start = text.input_ids[text.positions], int(np.flatnonzero(second)[0])
        between = text.input_ids[text.positions[start - 1] + 1 : text.positions[start]].tolist()
        return [_PairPart(index, np.arange(len(ids)), head, tail, np.where(second, -1 - ids, ids).tolist(), between)]
    numbers = of_tokens(tokenizer, text) if config.unit == "sentence" else np.zeros(len(text.positions), dtype=np.int64)
    units = [np.flatnonzero(numbers == number) for number in range(int(numbers.max()) + 1)]
    return [_Part(index, unit, head, tail, text.input_ids[text.positions[unit]].tolist()) for unit in units]
