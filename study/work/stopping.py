"""How a run is asked to stop, and how its work ends: trainings at their next step, and what does not end is killed.

A run is asked by SIGTERM or Ctrl-C; a second request ends it at once.
"""

from __future__ import annotations

import _thread
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Any

from l3masking.errors import Interrupted
from study.signals import ASKING, Requests, handling
from study.work.pulse import UnderWay

UNTIL_STEP = 5.0  # seconds in which a training that is to end has to come to its next step
SAVING = 10.0  # seconds in all for one that then writes its checkpoint
TIDYING = 2.0  # seconds that Ray Tune has to tidy up when no work is left: it would wait longer for actors that start
POLL_SECONDS = 0.1
log = logging.getLogger(__name__)


class Stopped(Exception):
    """The run was asked to stop; what is left is left for the next run."""


class AtOnce(KeyboardInterrupt):
    """The run was asked to stop twice: nothing more is waited for or written."""


class Untidied(KeyboardInterrupt):
    """Ray Tune still tidies up after a stop, which is not waited for: what is left ends with the session of Ray."""


@contextmanager
def uninterrupted() -> Iterator[None]:
    """A request to stop raises KeyboardInterrupt at the end of this, a second one AtOnce at once.

    For the start of Ray: it loses what is raised there, or leaves processes behind.
    """
    requests = Requests()

    def hear(number: int, frame: FrameType | None) -> None:
        if requests.new() and requests.count > 1:
            raise AtOnce

    with handling(ASKING, hear):
        yield
    if requests.count:
        raise KeyboardInterrupt


@contextmanager
def heeded(act: Callable[[], None]) -> Iterator[None]:
    """The first request to stop calls `act`, the second raises AtOnce.

    SIGUSR1 raises KeyboardInterrupt and SIGUSR2 Untidied: threads send them, and `act`.
    By default SIGUSR1 would kill, also where Ray Tune has not put its own handler there yet. Tune leaves that behind.
    """
    requests = Requests()

    def hear(number: int, frame: FrameType | None) -> None:
        if requests.new():
            if requests.count > 1:
                raise AtOnce
            act()

    def leave(number: int, frame: FrameType | None) -> None:
        raise Untidied

    with (
        handling([signal.SIGUSR1], signal.default_int_handler),
        handling([signal.SIGUSR2], leave),
        handling(ASKING, hear),
    ):
        yield


class Flag:
    """The `Pulse` of trainings in this process: they end at the next step after a stop was asked for.

    One that comes to no step in UNTIL_STEP seconds, or has not written its checkpoint after SAVING, is interrupted.
    """

    def __init__(self) -> None:
        self.asked = False
        self._timer: threading.Timer | None = None

    def ask(self) -> None:
        """Ask for a stop."""
        self.asked = True
        self._interrupt_in(UNTIL_STEP)

    def beat(self, stage: str) -> bool:
        return self.asked

    def saves(self) -> None:
        self._interrupt_in(SAVING - UNTIL_STEP)

    def check(self) -> None:
        """Raise Interrupted where a stop was asked for."""
        if self.asked:
            raise Interrupted

    def close(self) -> None:
        """Interrupt nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()

    def _interrupt_in(self, seconds: float) -> None:
        self.close()
        self._timer = threading.Timer(seconds, _thread.interrupt_main, [signal.SIGUSR1])
        self._timer.daemon = True
        self._timer.start()


@contextmanager
def in_this_process() -> Iterator[Flag]:
    """Work in this process, which heeds a stop between its steps; raises Stopped then."""
    flag = Flag()
    with heeded(flag.ask):
        try:
            yield flag
        except Interrupted:
            raise Stopped("stopped") from None
        finally:
            flag.close()


@contextmanager
def under_tune(overseer: Any, actors: Mapping[str, Any]) -> Iterator[None]:
    """Ray Tune, which heeds a stop: it begins no further trial, and those under way are told by `overseer`.

    actors: the handles of all actors by their ids, as far as they are known at a time. Tune waits until they are free:
    meanwhile a thread kills those that are at nothing yet, and those that do not end.
    """
    import ray

    asked, over = threading.Event(), threading.Event()

    def end() -> None:
        asked.wait()
        if not over.is_set():
            try:
                ray.get(overseer.ask_to_stop.remote())
                busy = {work.who for work in ray.get(overseer.under_way.remote())}
                for who in actors.keys() - busy:
                    ray.kill(actors[who])
                end_work(lambda: ray.get(overseer.under_way.remote()), lambda work: ray.kill(work.actor), over.is_set)
            except ray.exceptions.RayError as error:  # Tune's own patience is 10 seconds
                log.warning("trainings cannot be told to end: %s", error)
            if not over.wait(TIDYING):
                _thread.interrupt_main(signal.SIGUSR2)

    def act() -> None:
        asked.set()
        os.kill(os.getpid(), signal.SIGUSR1)  # Tune takes this as "save and return"

    thread = threading.Thread(target=end, name="ends-trainings", daemon=True)
    thread.start()
    try:
        with heeded(act):
            yield
    except Untidied:
        log.info("Ray Tune was left before it had tidied up")
    finally:
        over.set()
        asked.set()
        thread.join(UNTIL_STEP)


def end_work(
    under_way: Callable[[], list[UnderWay]],
    kill: Callable[[UnderWay], None],
    over: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait for work that was told to end, and kill what takes longer than it may. over: whether to wait no longer."""
    began, killed = clock(), set[str]()
    while not over():
        left = [work for work in under_way() if work.who not in killed]
        if not left:
            return
        for work in left:
            if clock() - began > (SAVING if work.saving else UNTIL_STEP):
                log.warning("%s: did not end in time, and was killed", work.name)
                killed.add(work.who)
                kill(work)
        sleep(POLL_SECONDS)
