"""Pseudo-likelihood of every eligible token under the vanilla masked LM, exact.

The score of position i is s_i = log softmax f(x with M(i) masked)_i at x_i. The metric fixes the mask set M(i):
original {i} (Salazar et al. 2020); word_l2r {j in i's word, j >= i} and whole_word {j in i's word} (Kauf & Ivanova
2023). L3Masking (Kimura et al. 2024, Eq. 1) takes word_l2r. Natural logarithm; no normalisation by length.

Shapes: R masked copies ("rows") in a batch, T positions, H hidden width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking.encoders import Encoder
from l3masking.errors import InputError
from l3masking.precision import Precision, autocast
from l3masking.words import EncodedText, Whitespace, WordSource, encode_texts

Metric = Literal["word_l2r", "original", "whole_word"]
TOKEN_BUDGET = 8192  # padded tokens in a batch; changes speed and memory, never a score beyond rounding


@dataclass(frozen=True, kw_only=True)
class ScoringConfig:
    """How texts are encoded and scored. Training reads `max_length` and `whitespace` from here too."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    metric: Metric = "word_l2r"  # mask set of a scored position
    max_length: int = 128  # ids of a text, special tokens included; at least 3
    word_source: WordSource = "tokenizer"  # what a word is: a pre-token, or a run between blanks
    whitespace: Whitespace = "collapse"  # runs of white space become one blank, or stay

    def __post_init__(self) -> None:
        if self.max_length < 3:
            raise InputError(f"scoring.max_length is {self.max_length}: at least 3 (two special tokens and one other)")


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenScores:
    """Scores of one text: T input ids, n eligible positions."""

    input_ids: NDArray[np.int64]  # [T]
    positions: NDArray[np.int64]  # [n]
    words: NDArray[np.int64]  # [n]
    log_likelihood: NDArray[np.float32]  # [n], <= 0

    def spread(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        """One value per eligible position [n] -> one per input id [T], 0 at the others."""
        row = np.zeros(len(self.input_ids))
        row[self.positions] = values
        return row


class Row(NamedTuple):
    """One masked copy of one text and the eligible tokens that are read from it."""

    text: int  # index of the text
    masked: NDArray[np.int64]  # positions that hold the mask id
    read: NDArray[np.int64]  # indices into the text's eligible positions


def mask_rows(text: EncodedText, index: int, metric: Metric) -> Iterator[Row]:
    """The masked copies that score one text: one per token, or with whole_word one per word."""
    order = np.arange(len(text.positions))
    if metric == "original":
        for token in order:
            yield Row(index, text.positions[token : token + 1], order[token : token + 1])
        return
    # words are contiguous runs: cut where the word number changes
    for word in np.split(order, np.flatnonzero(np.diff(text.words)) + 1):
        if metric == "whole_word":
            yield Row(index, text.positions[word], word)
        else:
            for token in word:
                yield Row(index, text.positions[token : word[-1] + 1], order[token : token + 1])


def score_tokens(
    encoder: Encoder,
    texts: Sequence[str],
    *,
    metric: Metric = "word_l2r",
    max_length: int = 128,
    word_source: WordSource = "tokenizer",
    whitespace: Whitespace = "collapse",
    precision: Precision = "float32",
    token_budget: int = TOKEN_BUDGET,
    progress: Callable[[int], None] | None = None,
) -> list[TokenScores]:
    """Scores of all texts, in order; texts that encode alike are scored once.

    precision: "bf16" runs the encoder under autocast; log-softmax stays float32. token_budget: padded tokens per
    batch. progress: called with the number of tokens scored in each batch. A text without eligible tokens gets an
    empty score. Raises InputError where max_length exceeds the encoder's positions.
    """
    config = ScoringConfig(metric=metric, max_length=max_length, word_source=word_source, whitespace=whitespace)
    encoder.check_length(config.max_length)
    encoded = encode_texts(
        encoder.tokenizer, texts, max_length=max_length, whitespace=whitespace, word_source=word_source
    )
    return score_encoded(
        encoder, encoded, config.metric, precision=precision, token_budget=token_budget, progress=progress
    )


def score_encoded(
    encoder: Encoder,
    encoded: Sequence[EncodedText],
    metric: Metric,
    *,
    precision: Precision = "float32",
    token_budget: int = TOKEN_BUDGET,
    progress: Callable[[int], None] | None = None,
) -> list[TokenScores]:
    """As `score_tokens`, for texts that are encoded already."""
    if encoder.model.training:
        raise InputError("the encoder is in training mode, so dropout would change the scores: call model.eval()")
    first: dict[tuple[bytes, bytes], int] = {}  # same ids and words: scored once
    source = [first.setdefault((text.input_ids.tobytes(), text.words.tobytes()), i) for i, text in enumerate(encoded)]
    distinct = sorted(set(source), key=lambda i: len(encoded[i].input_ids))
    scores = {i: np.zeros(len(encoded[i].positions), dtype=np.float32) for i in distinct}
    rows = (row for i in distinct for row in mask_rows(encoded[i], i, metric))
    for batch in token_batches(rows, encoded, token_budget):
        values = score_batch(encoder, encoded, batch, precision)
        start = 0
        for row in batch:
            scores[row.text][row.read] = values[start : start + len(row.read)]
            start += len(row.read)
        if progress:
            progress(start)
    return [
        TokenScores(
            input_ids=text.input_ids, positions=text.positions, words=text.words, log_likelihood=scores[i].copy()
        )
        for text, i in zip(encoded, source, strict=True)
    ]


def token_batches(rows: Iterator[Row], encoded: Sequence[EncodedText], budget: int) -> Iterator[list[Row]]:
    """Cut rows of rising length into batches of at most `budget` padded tokens (at least one row)."""
    batch: list[Row] = []
    for row in rows:
        length = len(encoded[row.text].input_ids)
        if batch and (len(batch) + 1) * length > budget:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


@torch.inference_mode()
def score_batch(
    encoder: Encoder, encoded: Sequence[EncodedText], batch: Sequence[Row], precision: Precision
) -> NDArray[np.float32]:
    """Log-likelihoods of all tokens read from a batch of rows, row after row.

    Only the read positions go through the last layer's feed-forward part and the LM head.
    """
    longest = max(len(encoded[row.text].input_ids) for row in batch)
    ids_RT = np.full((len(batch), longest), encoder.tokenizer.pad_token_id, dtype=np.int64)
    attention_RT = np.zeros((len(batch), longest), dtype=np.int64)
    for r, row in enumerate(batch):
        ids = encoded[row.text].input_ids
        ids_RT[r, : len(ids)] = ids
        ids_RT[r, row.masked] = encoder.tokenizer.mask_token_id
        attention_RT[r, : len(ids)] = 1
    at_row = np.repeat(np.arange(len(batch)), [len(row.read) for row in batch])
    at_position = np.concatenate([encoded[row.text].positions[row.read] for row in batch])
    truth = np.concatenate([encoded[row.text].input_ids[encoded[row.text].positions[row.read]] for row in batch])
    device = encoder.device
    arrays = (ids_RT, attention_RT, at_row, at_position)
    with autocast(device, precision):
        logits_NV = encoder.mlm_logits(encoder.states_at(*(torch.from_numpy(array).to(device) for array in arrays)))
    log_softmax_NV = torch.log_softmax(logits_NV.float(), dim=-1)
    scored_N = log_softmax_NV.gather(1, torch.from_numpy(truth).to(device)[:, None])[:, 0]
    return scored_N.clamp(max=0).cpu().numpy()
