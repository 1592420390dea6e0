"""Trainings under Ray Tune that make no progress: a thread of the driver kills their processes, and says so.

Tune then starts them again as it does after any death, and they continue from their checkpoints.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from study.repeating import repeated
from study.work.patience import Patience, Sign
from study.work.processes import kill_process
from study.work.pulse import ANSWER_SECONDS, UnderWay, heard_by

log = logging.getLogger(__name__)


class Hangs:
    """What was killed because it hung."""

    def __init__(self, patience: Patience[str], kill: Callable[[UnderWay], None]) -> None:
        self._patience, self._kill = patience, kill
        self._killed: dict[str, str] = {}  # who -> why

    def look(self, works: Sequence[UnderWay]) -> None:
        """Kill what hangs of all work under way."""
        at_work = {work.who: work for work in works if work.who not in self._killed}
        signs = {who: Sign(work.steps, where(work)) for who, work in at_work.items()}
        for who, why in self._patience.hung(signs).items():
            self._killed[who] = why
            log.warning("%s: %s; its process is ended", at_work[who].name, why)
            self._kill(at_work[who])

    def why(self, who: str) -> str | None:
        """Asked once for each death: why this work was killed from here; None: it was not."""
        return self._killed.pop(who, None)


def where(work: UnderWay) -> str:
    """How far some work has come, in words."""
    return f"step {work.steps} of {work.stage}" if work.stage else "its first step"


@contextmanager
def hangs_ended(overseer: Any, minutes: float | None) -> Iterator[Callable[[str], str | None]]:
    """Watch the work that `overseer` hears of. Gives what is to be called with who has died; returns the hang, or None.

    minutes: of patience; None: endless.
    """
    import ray

    def kill(work: UnderWay) -> None:
        ray.kill(work.actor)
        kill_process(work.process)

    patience: Patience[str] = Patience(minutes)
    hangs = Hangs(patience, kill)

    def watch() -> None:
        works = heard_by(overseer)
        if works is not None:
            with suppress(ray.exceptions.RayError):  # gone with the session
                hangs.look(works)

    def dead(who: str) -> str | None:
        overseer.end.remote(who)  # it cannot say so itself
        return hangs.why(who)

    if minutes is None:
        yield dead
        return
    with repeated(watch, patience.look_every, "ends-hangs", join=2 * ANSWER_SECONDS):
        yield dead
