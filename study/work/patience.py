"""Who has made no progress for too long. Nothing of Ray, processes or threads here: it is told what was heard.

A worker gives a sign now and then: how many steps it has made, and where it is. It hangs where it has said nothing new
for its patience, and for USUAL times the time that its steps usually take.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

USUAL = 20  # usual times of a step that a worker may be silent, where that is longer than its patience
LOOK = 10.0  # seconds between two looks, at most

Who = TypeVar("Who", bound=Hashable)


class Sign(NamedTuple):
    """What was last heard of a worker."""

    steps: int  # since it began what it is at
    where: str  # such as "shard 3"


NO_SIGN = Sign(0, "its start")


@dataclass
class _Silence:
    sign: Sign
    steps: int = 0  # since the first sign
    heard: float = 0.0  # seconds from the first sign to `sign`
    silent: float = 0.0  # seconds since `sign`


class Patience(Generic[Who]):
    """Watches any number of workers."""

    def __init__(self, minutes: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        """minutes: > 0; None: endless."""
        self._seconds, self._clock = math.inf if minutes is None else 60 * minutes, clock
        self._looked = clock()
        self._known: dict[Who, _Silence] = {}

    @property
    def look_every(self) -> float:
        """Seconds until the next look, so that a hang is noticed soon after the patience is at its end."""
        return min(LOOK, self._seconds / 4)

    def due(self) -> bool:
        """Whether it is time for another look."""
        return self._seconds < math.inf and self._clock() - self._looked >= self.look_every

    def hung(self, signs: Mapping[Who, Sign]) -> dict[Who, str]:
        """Those of the workers at work that hang, and since when, in words. Workers not in `signs` are forgotten.

        Between two looks counts little more than `look_every`: a machine that slept has not been waiting.
        """
        now = self._clock()
        passed, self._looked = min(now - self._looked, 2 * self.look_every), now
        known, self._known = self._known, {}
        found: dict[Who, str] = {}
        for who, sign in signs.items():
            one = self._known[who] = known.get(who) or _Silence(sign)
            one.silent += passed if who in known else 0.0
            if sign != one.sign:
                one.steps += max(1, sign.steps - one.sign.steps)
                one.sign, one.heard, one.silent = sign, one.heard + one.silent, 0.0
            if one.silent > max(self._seconds, USUAL * _usual(one)):
                found[who] = f"no progress for {_in_words(one.silent)} at {one.sign.where}"
        return found


def _usual(one: _Silence) -> float:
    """Mean seconds of its steps so far; 0 where none is known."""
    return one.heard / max(1, one.steps)


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"
