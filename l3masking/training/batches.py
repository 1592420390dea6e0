"""Texts to batches: orders without end, and padding by length.

Shapes: B texts in a chunk, T positions of its longest text, N tokens that are predicted.
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
from l3masking.transfer import moved


class PredictedPlaces(NamedTuple):
    """Tokens of a chunk that are predicted, text after text."""

    rows: Tensor  # [N]
    positions: Tensor  # [N]
    counts: tuple[int, ...]  # [B] in each text, known without looking at the tensors

    @classmethod
    def of(cls, selected_BT: Tensor) -> PredictedPlaces:
        """Those that are selected, on the CPU."""
        rows, positions = torch.nonzero(selected_BT, as_tuple=True)
        return cls(rows, positions, tuple(selected_BT.sum(dim=1).tolist()))


class Chunk(NamedTuple):
    """Part of a batch, padded to its own longest text. A GPU is not asked for what the host knows of it."""

    input_ids: Tensor  # [B, T]
    attention_mask: Tensor  # [B, T], 1 at real tokens
    labels: Tensor  # [B] classes, or [B, T] token ids and IGNORED
    lengths: tuple[int, ...]  # [B] real tokens of each text
    places: PredictedPlaces | None = None  # of the tokens that are predicted; None: none is meant to be
    bucket: Bucket | None = None  # the shape in which it goes through the model, where that is one of few

    @classmethod
    def of(cls, input_ids_BT: Tensor, attention_mask_BT: Tensor, labels: Tensor) -> Chunk:
        """From tensors on the CPU."""
        places = PredictedPlaces.of(labels != IGNORED) if labels.dim() == 2 else None
        return cls(input_ids_BT, attention_mask_BT, labels, tuple(attention_mask_BT.sum(dim=1).tolist()), places)

    @property
    def predicted(self) -> int:
        """N tokens that are predicted."""
        return 0 if self.places is None else len(self.places.rows)

    def part(self, rows: slice) -> Chunk:
        """Some of its texts, padded to the longest of them."""
        lengths, places = self.lengths[rows], self.places
        if places is not None:
            start, counts = rows.indices(len(self.lengths))[0], places.counts[rows]
            inside = slice(before := sum(places.counts[:start]), before + sum(counts))
            places = PredictedPlaces(places.rows[inside] - start, places.positions[inside], counts)
        ids, mask, labels = (
            tensor[rows, : max(lengths)] if tensor.dim() == 2 else tensor[rows]
            for tensor in (self.input_ids, self.attention_mask, self.labels)
        )
        return Chunk(ids, mask, labels, lengths, places)


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
    ids, lengths = pad(rows, pad_id), tuple(len(row) for row in rows)
    return Chunk(ids, (torch.arange(ids.shape[1])[None, :] < torch.tensor(lengths)[:, None]).long(), labels, lengths)


def to_device(chunks: Sequence[Chunk], device: torch.device) -> list[Chunk]:
    """Chunks of the CPU on a device, without waiting for the copies (see `moved`)."""
    held = [t for chunk in chunks for t in (*chunk[:3], *(chunk.places[:2] if chunk.places else ()))]
    left, found = iter(moved(held, device)), list[Chunk]()
    for chunk in chunks:
        ids, mask, labels = next(left), next(left), next(left)
        places = None if chunk.places is None else PredictedPlaces(next(left), next(left), chunk.places.counts)
        found.append(Chunk(ids, mask, labels, chunk.lengths, places))
    return found


def bucketed(chunk: Chunk) -> Chunk:
    """The same texts in the shape of their bucket."""
    ids_BT, mask_BT, labels = chunk[:3]
    bucket = bucket_of(sum(chunk.lengths), ids_BT.shape[1], max(1, chunk.predicted))
    if labels.dim() == 1:  # one place of each text is read
        bucket = bucket._replace(reads=len(labels))
    more = (0, bucket.length - ids_BT.shape[1])
    labels = F.pad(labels, more, value=IGNORED) if labels.dim() == 2 else labels
    return Chunk(F.pad(ids_BT, more), F.pad(mask_BT, more), labels, chunk.lengths, bucket=bucket)
