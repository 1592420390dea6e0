"""Pseudo-likelihood of every eligible token under the vanilla masked LM, exact.

The score of position i is s_i = log softmax f(x with M(i) masked)_i at x_i (Kimura et al. 2024, Eq. 1, which takes
M = word_l2r; the metrics are in copies.py). Natural logarithm; no normalisation by length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking.data.pairs import Text
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError, check_choice
from l3masking.memory import FIX, OutOfMemory, free_memory, is_out_of_memory
from l3masking.precision import Precision, autocast
from l3masking.scoring.budget import token_budget as fitting_budget
from l3masking.scoring.copies import CopyRow, cut_within, mask_rows, pack, token_batches
from l3masking.scoring.forward import pass_of
from l3masking.scoring.settings import (
    Context,
    Metric,
    Normalise,
    ScoringConfig,
    Whitespace,
    WordSource,
)
from l3masking.scoring.vocabulary import read_predictions
from l3masking.scoring.words import EncodedText, checked_texts, encode_as, sides_of

HEAD_READS = 512  # read positions that go through the LM head at a time, at most


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenScores:
    """Scores of one text: T input ids, n eligible positions."""

    input_ids: NDArray[np.int64]  # [T]
    positions: NDArray[np.int64]  # [n]
    words: NDArray[np.int64]  # [n]
    log_likelihood: NDArray[np.float32]  # [n], <= 0
    entropy: NDArray[np.float32] | None = None  # [n] nats, of the prediction at each; None: not computed

    def spread(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """One value per eligible position [n] -> one per input id [T], 0 at the others."""
        row = np.zeros(len(self.input_ids))
        row[self.positions] = values
        return row


def score_tokens(
    encoder: Encoder,
    texts: Iterable[Text],
    *,
    metric: Metric = "word_l2r",
    max_length: int = 128,
    word_source: WordSource = "tokenizer",
    whitespace: Whitespace = "collapse",
    normalise: Normalise = "none",
    context: Context = "truncated",
    precision: Precision = "float32",
    token_budget: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[TokenScores]:
    """Scores of all texts, in order; texts that encode alike are scored once. Safe to call from several threads.

    texts: any iterable of strings, such as a list, a column of a table, an array or a generator; or of tuples of two
    strings, each a pair that belongs together. precision: "bf16" takes matrix products in bfloat16; sums over the
    vocabulary stay float32. token_budget: tokens per batch; none: what suits the device, and on a GPU its
    free memory (budget.py); halved where the memory does not hold it. progress: called with the number of tokens scored
    since the last call. A text without eligible tokens gets an empty score. Raises InputError where max_length exceeds
    the encoder's positions, a setting is not known, or a text is not a string.
    """
    config = ScoringConfig(
        metric=metric,
        max_length=max_length,
        word_source=word_source,
        whitespace=whitespace,
        normalise=normalise,
        context=context,
    )
    return score_texts(encoder, texts, config, precision=precision, token_budget=token_budget, progress=progress)


def score_texts(
    encoder: Encoder,
    texts: Iterable[Text],
    config: ScoringConfig,
    *,
    precision: Precision = "float32",
    token_budget: int | None = None,
    progress: Callable[[int], None] | None = None,
    entropy: bool = False,
) -> list[TokenScores]:
    """As `score_tokens`, under a ScoringConfig. entropy: also that of the model's prediction at each token, in nats.

    With `context: full` the model sees a text as far as its positions reach, the ids beyond `max_length` included; only
    tokens within `max_length` are scored.
    """
    check_choice("precision", precision, Precision)
    if token_budget is not None and token_budget < 1:
        raise InputError(f"token_budget is {token_budget}: at least 1, or None for the default of the device")
    if encoder.model.training:
        raise InputError("the encoder is in training mode, so dropout would change the scores: call model.eval()")
    encoder.check_length(config.max_length)
    texts = checked_texts(texts)
    encoded = encode_as(config, encoder.tokenizer, texts)
    full = config.context == "full"
    seen = encode_as(config, encoder.tokenizer, texts, limit=encoder.max_positions) if full else encoded
    first: dict[tuple[bytes, bytes], int] = {}  # same ids and words: scored once
    source = [first.setdefault((text.input_ids.tobytes(), text.words.tobytes()), i) for i, text in enumerate(seen)]
    distinct = sorted(set(source), key=lambda i: len(seen[i].input_ids))
    kept = {i: kept_places(seen[i], encoded[i]) for i in distinct}
    scores = {i: np.zeros((1 + entropy, len(seen[i].positions)), dtype=np.float32) for i in distinct}
    rows = (row for i in distinct for row in _rows_of(seen[i], i, config.metric, kept[i]))
    budget = token_budget or fitting_budget(encoder.model, precision)
    scorer = _Scorer(encoder, seen, precision, budget, entropy=entropy)
    with torch.inference_mode():
        for group in scorer.groups(rows):
            values, start = group.values.cpu().numpy(), 0
            for row in group.rows:
                scores[row.text][:, row.read] = values[:, start : start + len(row.read)]
                start += len(row.read)
            if progress:
                progress(start)
    return [
        TokenScores(
            input_ids=text.input_ids,
            positions=text.positions,
            words=text.words,
            log_likelihood=scores[i][0][kept[i]],
            entropy=scores[i][1][kept[i]] if entropy else None,
        )
        for text, i in zip(encoded, source, strict=True)
    ]


def kept_places(seen: EncodedText, cut: EncodedText) -> NDArray[np.int64]:
    """[n] which eligible tokens of a text are there too where it is cut shorter: the first ones of each side."""
    sides, left = sides_of(seen.positions), sides_of(cut.positions)
    return np.concatenate([np.flatnonzero(sides == side)[: np.count_nonzero(left == side)] for side in (0, 1)])


def _rows_of(seen: EncodedText, index: int, metric: Metric, kept: NDArray[np.int64]) -> Iterator[CopyRow]:
    """The masked copies from which kept tokens are read."""
    for row in mask_rows(seen, index, metric):
        read = row.read[np.isin(row.read, kept)]
        if len(read):
            yield row._replace(read=read)


class _Group(NamedTuple):
    """Rows that went through the LM head together."""

    rows: list[CopyRow]
    values: Tensor  # [1, N] log-likelihoods of all that the rows read, one after the other; [2, N] with entropies


class _Scorer:
    """The way from rows to log-likelihoods."""

    def __init__(
        self, encoder: Encoder, encoded: Sequence[EncodedText], precision: Precision, budget: int, *, entropy: bool
    ) -> None:
        self.encoder, self.encoded, self.precision, self.budget = encoder, encoded, precision, budget
        self.entropy = entropy
        self.forward = pass_of(encoder.model, precision)

    def groups(self, rows: Iterable[CopyRow]) -> Iterator[_Group]:
        """All rows. The next group is begun before one is given out: a GPU works on while its values are fetched."""
        begun: _Group | None = None
        cut = token_batches(rows, self.encoded, lambda: self.budget)
        for batches in cut_within(cut, lambda batch: sum(len(row.read) for row in batch), lambda: HEAD_READS):
            following = self._score(batches)
            if begun:
                yield begun
            begun = following
        if begun:
            yield begun

    def _score(self, batches: Sequence[list[CopyRow]]) -> _Group:
        parts = [part for batch in batches for part in self._states(batch)]
        states_NH, truth_N = (torch.cat(both) for both in zip(*parts, strict=True))
        values = [
            self._values(states, truth)
            for states, truth in zip(states_NH.split(HEAD_READS), truth_N.split(HEAD_READS), strict=True)
        ]
        return _Group([row for batch in batches for row in batch], torch.cat(values, dim=1))

    def _states(self, batch: list[CopyRow]) -> list[tuple[Tensor, Tensor]]:
        """[N, H] states at the read positions and the [N] ids that belong there; halves where memory is short."""
        try:
            encoder = self.encoder
            copies = pack(batch, self.encoded, encoder.tokenizer.mask_token_id, encoder.device, encoder.separator)
            return [(self.forward(copies), copies.truth)]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(batch) == 1:
                raise OutOfMemory(self._too_large(batch[0])) from error
        free_memory()  # behind the `except`, which would hold the memory of what failed
        self.budget = sum(len(self.encoded[row.text].input_ids) for row in batch) // 2  # of later batches
        half = len(batch) // 2
        return self._states(batch[:half]) + self._states(batch[half:])

    def _too_large(self, row: CopyRow) -> str:
        ids = self.encoded[row.text].input_ids
        begin = self.encoder.tokenizer.decode(ids[:20].tolist(), skip_special_tokens=True)
        return f"out of memory with one copy of text {row.text} ({len(ids)} ids, {begin!r:.60}): {FIX}"

    def _values(self, states_NH: Tensor, truth_N: Tensor) -> Tensor:
        """[1, N] log-likelihood of the true ids; [2, N] with the entropy of the prediction. It halves too."""
        try:
            return self._read(states_NH, truth_N)
        except (MemoryError, RuntimeError) as error:
            if len(truth_N) == 1 or not is_out_of_memory(error):
                raise
        free_memory()
        half = len(truth_N) // 2
        parts = (slice(None, half), slice(half, None))
        return torch.cat([self._values(states_NH[part], truth_N[part]) for part in parts], dim=1)

    def _read(self, states_NH: Tensor, truth_N: Tensor) -> Tensor:
        with autocast(self.encoder.device, self.precision):
            logits_NV = self.encoder.mlm_logits(states_NH)
        return read_predictions(logits_NV, truth_N, entropy=self.entropy)
