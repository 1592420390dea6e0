"""Batches in portions that memory holds: the same batch, mean and gradients up to rounding, in several passes.

Texts, masks, weights and steps stay those of the whole batch. Dropout does not: torch draws it for a whole pass, so
each portion has draws of its own. Without dropout the gradients are those of one pass, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from l3masking import rng
from l3masking.memory import Halving
from l3masking.training.batches import Chunk

EVALUATION_TOKENS = 16384  # padded tokens in an evaluation batch; no gradient is held


class Portions:
    """How much of a batch goes through the model at a time: all of it, until memory is short."""

    def __init__(self, texts: int) -> None:
        """texts: of the largest batch in training."""
        self.texts = Halving(texts)
        self.tokens = Halving(EVALUATION_TOKENS, of_tokens=True)

    @property
    def micro_batch(self) -> int | None:
        """Most texts of a training batch at a time; None: all of them, as memory was never short."""
        return self.texts.size if self.texts.times else None

    def state(self) -> dict[str, list[int]]:
        """What `restore` takes, as JSON values."""
        return {name: [one.size, one.times] for name, one in (("texts", self.texts), ("tokens", self.tokens))}

    def restore(self, state: Mapping[str, Sequence[int]]) -> None:
        """Go on with the sizes of `state`."""
        for name, one in (("texts", self.texts), ("tokens", self.tokens)):
            one.size, one.times = state[name]

    def cut(self, chunks: Sequence[Chunk]) -> list[Chunk]:
        """Chunks of at most the texts that fit; the same ones where memory was never short."""
        if not self.texts.times:
            return list(chunks)
        size = self.texts.size
        return [
            chunk.part(slice(start, start + size)) for chunk in chunks for start in range(0, len(chunk.lengths), size)
        ]

    def shares(self, chunks: Sequence[Chunk]) -> Iterator[tuple[list[Chunk], float]]:
        """The portions of a batch, and the share of each in the mean over all that has a label.

        One portion with the share 1 where memory was never short. A portion without labels is left out elsewhere.
        """
        groups = [[part] for part in self.cut(chunks)] if self.texts.times else [list(chunks)]
        counts = [1]
        if len(groups) > 1:
            counts = [len(part.lengths) if part.places is None else part.predicted for (part,) in groups]
        for group, count in zip(groups, counts, strict=True):
            if count:
                self.taking(group)
                yield group, count / sum(counts)

    def taking(self, chunks: Sequence[Chunk]) -> None:
        """What goes through the model next, for the message where it does not fit."""
        self.texts.taking(sum(len(chunk.input_ids) for chunk in chunks), chunks[-1].input_ids.shape[1])


def stream_of(number: int) -> tuple[rng.Name, ...]:
    """What the name of a pass over a portion of a batch has behind that of the pass over the whole one."""
    return ("portion", number) if number else ()
