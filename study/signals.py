"""SIGTERM and Ctrl-C as requests to stop. Signals within REQUEST seconds are one request.

This loads nothing heavy: it is in force before anything else of a run.
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType

ASKING = (signal.SIGINT, signal.SIGTERM)
REQUEST = 0.5  # seconds in which signals are one request: `timeout` and some schedulers send two at a time
ASKED = "stopping: running trainings save and end, then tables are written; a second Ctrl-C ends at once"
NO_TRAINING = "stopping: what is finished stays; a second Ctrl-C ends at once"  # where no training runs


class Requests:
    """Tells requests to stop from signals that repeat one."""

    def __init__(self, answer: str = ASKED, clock: Callable[[], float] = time.monotonic) -> None:
        self._answer, self._clock = answer, clock
        self._last = -math.inf
        self.count = 0

    def new(self) -> bool:
        """Count a signal that came now; returns whether it is a request of its own. The first one is answered."""
        before, self._last = self._last, self._clock()
        if self._last - before < REQUEST:
            return False
        self.count += 1
        if self.count == 1:
            with suppress(OSError):  # in a handler: `print` may be under way
                os.write(2, f"{self._answer}\n".encode())
        return True


@contextmanager
def handling(numbers: Sequence[int], hear: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Signals go to `hear`, and afterwards to whom they went before."""
    before = {number: signal.getsignal(number) for number in numbers}
    for number in numbers:
        signal.signal(number, hear)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def interrupting() -> Iterator[None]:
    """Each request to stop raises KeyboardInterrupt."""
    requests = Requests(NO_TRAINING)

    def hear(number: int, frame: FrameType | None) -> None:
        if requests.new():
            raise KeyboardInterrupt

    with handling(ASKING, hear):
        yield
