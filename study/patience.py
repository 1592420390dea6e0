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
REST = 2.0  # seconds between two signs of a worker, at least, where it does not begin something new

Who = TypeVar("Who", bound=Hashable)


class Sign(NamedTuple):
    """What was last heard of a worker."""

    steps: int  # since its process began
    where: str  # such as "update 120 of the main stage"


NO_SIGN = Sign(0, "its start")


@dataclass
class _Silence:
    sign: Sign
    first: Sign
    heard: float = 0.0  # seconds until `sign`, since the first one
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
            one = self._known[who] = known.get(who) or _Silence(sign, sign)
            one.silent += passed if who in known else 0.0
            if sign.steps != one.sign.steps:
                one.sign, one.heard, one.silent = sign, one.heard + one.silent, 0.0
            if one.silent > max(self._seconds, USUAL * _usual(one)):
                found[who] = f"no progress for {_in_words(one.silent)} at {one.sign.where}"
        return found


def _usual(one: _Silence) -> float:
    """Mean seconds of its steps so far; 0 where none is known."""
    return one.heard / max(1, one.sign.steps - one.first.steps)


def _in_words(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


class Board:
    """Where workers put their signs. A plain class: Ray makes an actor of it."""

    def __init__(self) -> None:
        self._signs: dict[int, Sign] = {}

    def put(self, who: int, sign: Sign) -> None:
        """The newest sign of a worker."""
        self._signs[who] = sign

    def signs(self) -> dict[int, Sign]:
        """Of all workers that have ever put one."""
        return self._signs


class Steps:
    """Counts the steps of a process, and tells of them at most every REST seconds."""

    def __init__(self, tell: Callable[[Sign], object], clock: Callable[[], float] = time.monotonic) -> None:
        self.where = NO_SIGN.where
        self._tell, self._clock = tell, clock
        self._count, self._told = 0, -math.inf

    def __call__(self, where: str | None = None) -> None:
        """One more; `where`: if that is another place than before."""
        self._count += 1
        self.where = where or self.where
        now = self._clock()
        if where is not None or now - self._told >= REST:
            self._told = now
            self._tell(Sign(self._count, self.where))
