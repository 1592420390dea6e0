"""How much goes through a model at a time, and less of it where memory does not hold that.

What failed is tried again with half as much. Each try halves, so that n items take at most log2 n + 1 tries.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import torch

from l3masking.graphs import forget_recorded

T = TypeVar("T")
SAID = re.compile(r"out of memory|not enough memory|can't allocate memory|bad_alloc|ALLOC_FAILED", re.IGNORECASE)
FIX = "lower scoring.max_length, or give the process more memory"
log = logging.getLogger("l3masking.memory")


class OutOfMemory(RuntimeError):
    """Not even one item fits. The message names it and the fix."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory was short: of the GPU (a RuntimeError of torch), or of the machine (that, or a MemoryError)."""
    if isinstance(error, OutOfMemory):
        return False  # less was tried already
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and SAID.search(str(error)) is not None


def free_memory() -> None:
    """Give back the GPU memory that torch and recorded work keep for later, which other processes may need."""
    forget_recorded()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


class Halving:
    """A number of texts, or of tokens of padded texts, that halves where memory does not hold them."""

    def __init__(self, size: int, *, of_tokens: bool = False) -> None:
        """size: at a time, 1 and up."""
        self.size, self.of_tokens = size, of_tokens
        self.times = 0  # that it was halved
        self._texts, self._length = size, 0

    def taking(self, texts: int, length: int) -> None:
        """What is tried now: texts, the longest of `length` ids."""
        self._texts, self._length = texts, length

    def attempt(self, work: Callable[[], T], undo: Callable[[], object] = lambda: None) -> T:
        """What `work` returns. Where memory is short, `undo`, halve, and call it again.

        work: takes `size` at a time and says so by `taking`. Raises OutOfMemory where one text does not fit.
        """
        while True:
            try:
                return work()
            except (MemoryError, RuntimeError) as error:
                if not is_out_of_memory(error):
                    raise
                if self._most <= 1:
                    raise OutOfMemory(f"out of memory with one text of {self._length} ids: {FIX}") from error
            # behind the `except`, which would hold the memory of what failed
            undo()
            free_memory()
            self._halve()

    def batches(
        self, order: Sequence[int], length: Callable[[int], int], work: Callable[[Sequence[int]], T]
    ) -> Iterator[tuple[Sequence[int], T]]:
        """Texts in batches of `size`: the numbers of the texts in each batch, and what `work` returns for them.

        order: numbers of texts, the longest first. length: ids of one. Raises OutOfMemory where one text does not fit.
        """
        start = 0

        def following() -> tuple[Sequence[int], T]:
            longest = length(order[start])
            part = order[start : start + (max(1, self.size // longest) if self.of_tokens else self.size)]
            self.taking(len(part), longest)
            return part, work(part)

        while start < len(order):
            found = self.attempt(following)
            start += len(found[0])
            yield found

    @property
    def _most(self) -> int:
        """Texts that were tried, at most: of parts of one size, the one that failed may be the rest."""
        return self.size if self.times and not self.of_tokens else self._texts

    def _halve(self) -> None:
        texts = self._most
        self.size = texts // 2 * (self._length if self.of_tokens else 1)
        self.times += 1
        log.warning("out of memory with %d texts at a time: going on with %d", texts, texts // 2)
