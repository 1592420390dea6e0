"""Small work that is done again and again in the background while something else goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def repeated(work: Callable[[], object], seconds: float, name: str, *, join: float | None = None) -> Iterator[None]:
    """Call `work` in a thread of this name, with a pause of `seconds` before each call, until the body is over.

    The last call is waited for, at most `join` seconds; None: however long it takes.
    """
    over = threading.Event()

    def run() -> None:
        while not over.wait(seconds):
            work()

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(join)
