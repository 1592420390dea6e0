"""Processes that cost tenths of a second: forked from one that has imported torch and loaded what all of them need."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Callable
from typing import Any

WAIT = 500  # seconds for what takes a few, on a busy machine


class Forks:
    """One process at a time, forked from a child of this one.

    The child has one thread alone, since a process with more of them may not be forked. Functions are those of
    importable modules, and arguments are pickled.
    """

    def __init__(self, warm: Callable[..., object], *given: object) -> None:
        """warm: called in the child before the first fork."""
        self.cpu = 0.0  # seconds of CPU time that the last process took which has ended
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._child = context.Process(target=_serve, args=(there, warm, given), daemon=True)
        self._child.start()
        there.close()

    def start(self, call: Callable[..., object], *given: object) -> int:
        """Fork, and call a function there; the number of the process."""
        self._here.send((call, given))
        return int(self._told(WAIT))

    def ended(self, seconds: float = WAIT) -> int | None:
        """How the process has ended, as `os.waitstatus_to_exitcode` says it; None: it has not within these seconds."""
        if not self._here.poll(seconds):
            return None
        code, self.cpu = self._here.recv()
        return int(code)

    def end(self) -> None:
        """Nothing is asked for any more."""
        self._here.close()
        self._child.join()

    def _told(self, seconds: float) -> Any:
        assert self._here.poll(seconds), "it takes too long"
        return self._here.recv()


def _serve(asked: Any, warm: Callable[..., object], given: tuple[object, ...]) -> None:
    import torch

    torch.set_num_threads(1)
    warm(*given)
    with contextlib.suppress(EOFError):
        while True:
            call, arguments = asked.recv()
            process = os.fork()
            if process == 0:
                try:
                    call(*arguments)
                    os._exit(0)
                except BaseException:
                    traceback.print_exc()
                finally:
                    os._exit(1)
            asked.send(process)
            _, status, used = os.wait4(process, 0)
            asked.send((os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime))
