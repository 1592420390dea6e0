"""Texts to batches: orders without end, and padding by length.

Shapes: B texts in a chunk, T positions of its longest text.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l3masking.encoders.buckets import Bucket, bucket_of
from l3masking.masking.corruption import IGNORED


class Chunk(NamedTuple):
    """Part of a batch, padded to its own longest text."""

    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T], 1 at real tokens
    labels: Tensor  # [B] classes, or [B, T] token ids and IGNORED
    bucket: Bucket | None = None  # which it goes through the model in; T is then that of the bucket


class Batches(Iterator[list[int]]):
    """Batches of indices without end, from a permutation; its place can be written down and taken up again."""

    def __init__(self, size: int, batch: int, generator: torch.Generator, *, whole_passes: bool) -> None:
        """whole_passes: a permutation gives all the batches that it has; else its first one alone."""
        self._size, self._batch, self._generator = size, min(batch, size), generator
        self._used = self._batch if not whole_passes else size - size % max(1, self._batch)
        self._order, self._at = torch.empty(0, dtype=torch.long), self._used

    def __next__(self) -> list[int]:
        if self._at >= self._used:
            self._order, self._at = torch.randperm(self._size, generator=self._generator)[: self._used], 0
        start, self._at = self._at, self._at + self._batch
        return self._order[start : self._at].tolist()

    def state(self) -> dict[str, Tensor]:
        """What `restore` takes: the generator, and the place in the present permutation."""
        return {"generator": self._generator.get_state(), "order": self._order.clone(), "at": torch.tensor(self._at)}

    def restore(self, state: Mapping[str, Tensor]) -> None:
        self._generator.set_state(state["generator"])
        self._order, self._at = state["order"], int(state["at"])


def epochs(size: int, batch: int, generator: torch.Generator) -> Batches:
    """Batches of indices without end: every pass a new permutation, its last incomplete batch dropped."""
    return Batches(size, batch, generator, whole_passes=True)


def draws(size: int, batch: int, generator: torch.Generator) -> Batches:
    """Batches of indices without end, each drawn without replacement and independently of the others."""
    return Batches(size, batch, generator, whole_passes=False)


Sampler = Callable[[int, int, torch.Generator], Batches]
SAMPLERS: Mapping[str, Sampler] = {"random": draws, "shuffle": epochs}  # by the values of `train.sampling` but auto


def sampler_of(sampling: str, own: str) -> Sampler:
    """The order of the batches of the task under `train.sampling`. own: what auto stands for, of SAMPLERS."""
    return SAMPLERS[own if sampling == "auto" else sampling]


def by_length(indices: Sequence[int], texts: Sequence[NDArray], num_chunks: int) -> list[list[int]]:
    """Split a batch into at most `num_chunks` parts of like lengths: less padding, the same mean over the batch."""
    ordered = sorted(indices, key=lambda index: len(texts[index]))
    return [part.tolist() for part in np.array_split(np.asarray(ordered), min(num_chunks, len(ordered)))]


def pad(rows: Sequence[NDArray], fill: float, dtype: torch.dtype = torch.long) -> Tensor:
    """[B, T] of rows of different lengths, filled at the right."""
    padded = torch.full((len(rows), max(len(row) for row in rows)), fill, dtype=dtype)
    for index, row in enumerate(rows):
        padded[index, : len(row)] = torch.from_numpy(np.asarray(row))
    return padded


def pad_leaders(rows: Sequence[NDArray]) -> Tensor:
    """[B, T] of rows that hold positions; what is filled at the right leads itself."""
    width = max(len(row) for row in rows)
    return pad([np.concatenate([row, np.arange(len(row), width)]) for row in rows], 0)


def chunk_of(texts: Sequence[NDArray], indices: Sequence[int], labels: Tensor, pad_id: int) -> Chunk:
    """Padded ids and attention mask of some texts, with their labels."""
    rows = [texts[index] for index in indices]
    ids = pad(rows, pad_id)
    lengths = torch.tensor([len(row) for row in rows])
    return Chunk(ids, (torch.arange(ids.shape[1])[None, :] < lengths[:, None]).long(), labels)


def to_device(chunks: Sequence[Chunk], device: torch.device) -> list[Chunk]:
    return [Chunk(*(part.to(device, non_blocking=True) for part in chunk[:3])) for chunk in chunks]


def bucketed(chunk: Chunk) -> Chunk:
    """The same texts in the shape of their bucket."""
    ids_BT, mask_BT, labels = chunk[:3]
    of_tokens = labels.dim() == 2
    reads = int((labels != IGNORED).sum()) if of_tokens else len(labels)
    bucket = bucket_of(int(mask_BT.sum()), ids_BT.shape[1], reads)
    if not of_tokens:  # one place of each text
        bucket = bucket._replace(reads=reads)
    more = (0, bucket.length - ids_BT.shape[1])
    return Chunk(
        F.pad(ids_BT, more), F.pad(mask_BT, more), F.pad(labels, more, value=IGNORED) if of_tokens else labels, bucket
    )
