"""Masked copies of texts: which positions each one masks and reads, and batches of them for the forward pass.

The metric fixes the mask set M(i) of a scored position i: original {i} (Salazar et al. 2020); word_l2r {j in i's word,
j >= i} and whole_word {j in i's word} (Kauf & Ivanova 2023).

Shapes: U pairs of id and position, S tokens of all copies, R copies of one length T, N read positions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from typing import NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking.scoring.settings import Metric
from l3masking.scoring.words import EncodedText

T = TypeVar("T")


class CopyRow(NamedTuple):
    """One masked copy of one text and the eligible tokens that are read from it."""

    text: int  # index of the text
    masked: NDArray[np.int64]  # positions that hold the mask id
    read: NDArray[np.int64]  # indices into the text's eligible positions


def mask_rows(text: EncodedText, index: int, metric: Metric) -> Iterator[CopyRow]:
    """The masked copies that score one text: one per token, or with whole_word one per word."""
    order = np.arange(len(text.positions))
    if not len(order):
        return
    if metric == "original":
        for token in order:
            yield CopyRow(index, text.positions[token : token + 1], order[token : token + 1])
        return
    # words are contiguous runs: cut where the word number changes
    for word in np.split(order, np.flatnonzero(np.diff(text.words)) + 1):
        if metric == "whole_word":
            yield CopyRow(index, text.positions[word], word)
        else:
            for token in word:
                yield CopyRow(index, text.positions[token : word[-1] + 1], order[token : token + 1])


def token_batches(
    rows: Iterable[CopyRow], encoded: Sequence[EncodedText], budget: Callable[[], int]
) -> Iterator[list[CopyRow]]:
    """Cut rows into batches of at most `budget()` tokens (at least one row); the budget is asked for at each row."""
    return cut_within(rows, lambda row: len(encoded[row.text].input_ids), budget)


def cut_within(items: Iterable[T], size: Callable[[T], int], limit: Callable[[], int]) -> Iterator[list[T]]:
    """Groups of items in a row whose sizes add up to at most `limit()`, at least one item each."""
    group: list[T] = []
    total = 0
    for item in items:
        more = size(item)
        if group and total + more > limit():
            yield group
            group, total = [], 0
        group.append(item)
        total += more
    if group:
        yield group


class WordRun(NamedTuple):
    """Copies of one length, R of T tokens each, and n read positions in them."""

    copies: int  # R
    length: int  # T
    read: Tensor  # [n], the copy of each read position, counted inside the run; rising, no copy left out


class Copies(NamedTuple):
    """A batch of masked copies, end to end, in runs of one length."""

    ids: Tensor  # [U], of the distinct pairs
    places: Tensor  # [U], their positions, from 0
    types: Tensor | None  # [U], 1 in the second text of a pair, else 0; None: all 0
    pairs: Tensor  # [S], the pair of each token
    reads: Tensor  # [N], the read positions as indices into S, rising
    truth: Tensor  # [N], the ids that stand there in the text
    runs: Sequence[WordRun]


def pack(
    batch: Sequence[CopyRow],
    encoded: Sequence[EncodedText],
    mask_id: int,
    device: torch.device,
    separator: int | None = None,
) -> Copies:
    """A batch of rows as tensors on `device`; those of one text, and texts of one length, lie side by side.

    A copy's tokens are its text's own or masks, and masks differ by position and type alone: the pairs are a mask for
    each position, where there are pairs of texts one more of type 1, then the ids of each text. separator: as in
    `Encoder.separator`.
    """
    texts = [(encoded[index], list(rows)) for index, rows in groupby(batch, key=lambda row: row.text)]
    longest = max(len(text.input_ids) for text, _ in texts)
    typed = [types_of(text.input_ids, separator) for text, _ in texts]
    sides = 1 + any(types.any() for types in typed)
    ids, places = [np.full(sides * longest, mask_id)], [np.tile(np.arange(longest), sides)]
    types = [np.repeat(np.arange(sides), longest), *typed]
    pairs, reads, truth, runs = [], [], [], []
    pair, start = sides * longest, 0
    for length, same in groupby(zip(texts, typed, strict=True), key=lambda one: len(one[1])):
        count, copies_n = 0, []
        for (text, rows), types_T in same:
            ids.append(text.input_ids)
            places.append(np.arange(length))
            pairs_RT = np.tile(np.arange(pair, pair + length), (len(rows), 1))
            copy, masked = _flat([row.masked for row in rows])
            pairs_RT[copy, masked] = masked + longest * types_T[masked]
            pairs.append(pairs_RT.ravel())
            copy, read = _flat([row.read for row in rows])
            at = text.positions[read]
            copies_n.append(count + copy)
            reads.append(start + (count + copy) * length + at)
            truth.append(text.input_ids[at])
            pair += length
            count += len(rows)
        runs.append(WordRun(count, length, _put(copies_n, device)))
        start += count * length
    return Copies(
        ids=_put(ids, device),
        places=_put(places, device),
        types=_put(types, device) if sides > 1 else None,
        pairs=_put(pairs, device),
        reads=_put(reads, device),
        truth=_put(truth, device),
        runs=runs,
    )


def types_of(input_ids: NDArray[np.int64], separator: int | None) -> NDArray[np.int64]:
    """[T] 0 up to the first separator, 1 behind it; all 0 where there is no separator to look for."""
    found = input_ids == separator if separator is not None else np.zeros(len(input_ids), dtype=bool)
    return (np.cumsum(found) - found > 0).astype(np.int64)


def _flat(parts: Sequence[NDArray[np.int64]]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The number of the part that each value lies in, and the values."""
    return np.repeat(np.arange(len(parts)), [len(part) for part in parts]), np.concatenate(parts)


def _put(arrays: Sequence[NDArray[np.int64]], device: torch.device) -> Tensor:
    """One tensor of all values; to a GPU without waiting for what it still has to do."""
    values = torch.from_numpy(np.concatenate(arrays))
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)
