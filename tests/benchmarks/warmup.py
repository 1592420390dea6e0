"""Repeat work until it is as fast as it will be. No benchmark of its own: end_to_end.py and training.py use it.

The first updates on a GPU load kernels, choose algorithms and grow the allocator's pool, and cost many times what later
ones do. How many they are depends on the device and the shapes, so that no fixed number is right everywhere.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

AGREE = 1.25  # two repetitions agree when the slower one takes at most so many times as long as the faster one
MOST = 40  # repetitions of warm-up, whether or not any two agreed
LEAST = {"cpu": 2, "cuda": 10}  # before that, two may agree because both are slow: on a GPU six in a row were


@dataclass
class Settling:
    """Seconds of the repetitions so far, and whether they have settled."""

    least: int
    most: int = MOST
    agree: float = AGREE
    seconds: list[float] = field(default_factory=list)

    @property
    def settled(self) -> bool:
        """Whether the last two agree with each other and with the fastest so far."""
        last = self.seconds[-2:]
        return len(last) == 2 and len(self.seconds) >= self.least and max(last) <= self.agree * min(self.seconds)

    def rounds(self, runs: int) -> Iterator[bool]:
        """Yield False for each repetition of warm-up, whose seconds the caller adds, and True for `runs` timed ones."""
        while not self.settled and len(self.seconds) < self.most:
            before = len(self.seconds)
            yield False
            assert len(self.seconds) == before + 1, "add the seconds of each repetition"
        for _ in range(runs):
            yield True

    def warm_up(self, timed: Callable[[], float]) -> None:
        """Repeat some work, which returns its seconds, until it has settled."""
        for _ in self.rounds(0):
            self.seconds.append(timed())


def main() -> None:
    """Say that this file is part of others."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()


if __name__ == "__main__":
    main()
