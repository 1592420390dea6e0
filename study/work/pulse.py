"""How work under way tells that it moves, and hears that it is to end.

A training beats at each of its steps. On Ray the beats of all trainings go to one small actor, the overseer, at most
one in EVERY seconds each and without waiting: a beat is sent, and the answer to the one before is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple, Protocol

from study.work.processes import NodeProcess, this_process

EVERY = 1.0  # seconds at least between two beats that are sent
ANSWER_SECONDS = 5.0  # within which the overseer must answer a driver; it has little to do


class Pulse(Protocol):
    """Of one training or shard."""

    def beat(self, stage: str) -> bool:
        """A step of this stage is over: an update, or a batch. Returns whether the work is to end here."""
        ...

    def saves(self) -> None:
        """The work was told to end, and writes a checkpoint before it does."""
        ...


class NoPulse:
    """Nobody hears of the work, and nobody ends it."""

    def beat(self, stage: str) -> bool:
        return False

    def saves(self) -> None:
        """Nobody waits."""


NO_PULSE = NoPulse()


class UnderWay(NamedTuple):
    """Some work, as far as the overseer has heard of it."""

    who: str  # does it
    name: str  # in words
    actor: Any  # the handle of its Ray actor
    process: NodeProcess  # of the actor
    stage: str  # "": before the first step
    steps: int  # so far, in this process
    silent: float  # seconds since it was last heard of
    saving: bool  # whether it was told to end and writes its checkpoint


class Overseer:
    """Hears of all work under way. A plain class, of which a driver makes an actor."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._stop = False
        self._works: dict[str, tuple[float, UnderWay]] = {}  # by who does it: when it was last heard of

    def begin(self, who: str, name: str, actor: Any, process: NodeProcess) -> bool:
        """Work begins in an actor. Returns whether it is to end, as `beat` does. who: the same where it is retried."""
        return self._hear(UnderWay(who, name, actor, process, "", 0, 0.0, False))

    def beat(self, who: str, stage: str, steps: int) -> bool:
        """Work has come so far."""
        if who in self._works:
            self._hear(self._works[who][1]._replace(stage=stage, steps=steps))
        return self._stop

    def saves(self, who: str) -> None:
        """Work was told to end, and writes its checkpoint."""
        if who in self._works:
            self._hear(self._works[who][1]._replace(saving=True))

    def end(self, who: str) -> None:
        """Work is over, however it ended."""
        self._works.pop(who, None)

    def ask_to_stop(self) -> None:
        """All work is to end, and none is to begin."""
        self._stop = True

    def under_way(self) -> list[UnderWay]:
        """All work that has begun and not ended. Work whose process died stays until it begins again."""
        now = self._clock()
        return [work._replace(silent=now - heard) for heard, work in self._works.values()]

    def _hear(self, work: UnderWay) -> bool:
        self._works[work.who] = self._clock(), work
        return self._stop


class RemotePulse:
    """The pulse of work in an actor of Ray. It begins and ends as a context, and waits for the overseer only there."""

    def __init__(
        self, overseer: Any, name: str, who: str | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """overseer: the handle of an `Overseer`. name: of the work, in words. who: does it; None: this actor."""
        self._overseer, self._name, self._who, self._clock = overseer, name, who, clock
        self._steps, self._due = 0, 0.0
        self._asked, self._answer = False, None

    def __enter__(self) -> RemotePulse:
        import ray

        context = ray.get_runtime_context()
        self._who = self._who or context.get_actor_id()
        begun = self._overseer.begin.remote(self._who, self._name, context.current_actor, this_process())
        with suppress(ray.exceptions.RayError):  # the overseer is gone, which is no fault of the work
            self._asked = ray.get(begun)
        return self

    def __exit__(self, *_: object) -> None:
        self._overseer.end.remote(self._who)

    def beat(self, stage: str) -> bool:
        """Send a beat, where it is time, and read the answer to the one before."""
        import ray

        self._steps += 1
        if self._asked or self._clock() < self._due:
            return self._asked
        self._due = self._clock() + EVERY
        if self._answer is not None:
            ready, _ = ray.wait([self._answer], timeout=0)
            if not ready:
                return False
            try:
                self._asked = ray.get(self._answer)
            except ray.exceptions.RayError:  # the overseer is gone: nobody is left who would end this
                return False
        self._answer = self._overseer.beat.remote(self._who, stage, self._steps)
        return self._asked

    def saves(self) -> None:
        self._overseer.saves.remote(self._who)


@contextmanager
def remote_overseer() -> Iterator[Any]:
    """An overseer as an actor on the driver's node. Ray must be connected."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    overseer = ray.remote(Overseer).options(num_cpus=0, scheduling_strategy=here).remote()
    try:
        yield overseer
    finally:
        if ray.is_initialized():
            ray.kill(overseer)


def heard_by(overseer: Any) -> list[UnderWay] | None:
    """What the overseer behind a handle has heard of; None if it is busy, or gone with the session."""
    import ray

    try:
        return ray.get(overseer.under_way.remote(), timeout=ANSWER_SECONDS)  # type: ignore[no-any-return]
    except ray.exceptions.RayError:
        return None
