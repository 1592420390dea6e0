"""Checkpoints of the trainings under way: where they lie, when they are written, and which of them count.

checkpoints/<trajectory>/ lies with the study and is removed when the records of the training are there. A training that
is to end saves at its next step. A checkpoint of another device, other threads or other versions is passed over: it
would end in other bits than a whole training.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from l3masking.errors import EnvironmentFault, Interrupted
from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import checkpoints, expected_seconds, tidy, write_checkpoint
from study.store.free_disk import check_free
from study.store.newer import refuse_newer
from study.work.pulse import NO_PULSE, Pulse

CHECKPOINT_SCHEMA = 2
LEAST_REST = 50  # times the duration of a save that pass before it: saves cost at most 2 % of the time
log = logging.getLogger("study.checkpoints")


class TrialCheckpoints:
    """What one trial has kept and how often it went on, over all of its stages."""

    def __init__(
        self,
        folder: Path,
        *,
        minutes: float | None,
        objectives: Iterable[str],
        made_with: Mapping[str, Any],
        send: Callable[[], None] = lambda: None,
        pulse: Pulse = NO_PULSE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """minutes: least time between two saves, >= 0, 0: every evaluation; None: nothing is saved or continued.

        made_with: what must be equal for a checkpoint to count, as JSON values. pulse: hears of every step. send:
        called after each save, and lets other machines have what is in `folder`.
        """
        self.folder, self.minutes, self.pulse, self.send, self.clock = folder, minutes, pulse, send, clock
        self.objectives, self.made_with = list(objectives), {"schema": CHECKPOINT_SCHEMA, **made_with}
        self.micro_batch: int | None = None  # of the stages before the last one, where memory was short
        self.resumed = 0  # continuations of which the present state is the result
        self.earlier = 0.0  # seconds that processes before this one spent on the present state
        self.began = clock()
        self._saved = self.began  # when the last save ended
        self._took: float | None = None  # seconds of the last save, or that the first one is expected to take

    @property
    def seconds(self) -> float:
        """Seconds spent on the present state, those of earlier processes included."""
        return self.earlier + self.clock() - self.began

    def stage(self, name: str) -> StageCheckpoints:
        """The keeper of one stage."""
        return StageCheckpoints(self, self.folder / name)

    def forget(self) -> None:
        """Remove what is kept so far, because its result is kept in another place."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def newest(self, folder: Path) -> Snapshot | None:
        """The newest checkpoint in `folder` that verifies and counts. InputError for one of a newer schema."""
        if self.minutes is None:
            return None
        tidy(folder)
        for found in checkpoints(folder):
            kept = found.facts.get("trial", {})
            refuse_newer(folder, kept.get("made_with", {}).get("schema"), CHECKPOINT_SCHEMA)
            if self.goes_on(kept):
                return found
        return None

    def facts(self) -> dict[str, Any]:
        """What is written down of this trial with its state, as JSON values."""
        kept: dict[str, Any] = {"made_with": self.made_with, "objectives": self.objectives}
        return kept | {"resumed": self.resumed, "seconds": self.seconds}

    def goes_on(self, facts: Mapping[str, Any]) -> bool:
        """Whether a state with these `facts` is of this trial; it then goes on from there."""
        if facts.get("made_with") != self.made_with or not {*self.objectives} <= {*facts["objectives"]}:
            return False
        self.resumed = max(self.resumed, facts["resumed"] + 1)
        self.earlier = max(self.earlier, facts["seconds"])
        return True

    def offer(self, folder: Path, make: Callable[[], Snapshot]) -> None:
        """Save, where it is time."""
        if self.minutes is None or self.clock() < self._saved + 60 * self.minutes:
            return
        snapshot = make()
        if self.minutes and self._took is None:
            with suppress(OSError):  # the save will say so
                self._took = expected_seconds(folder, snapshot, self.clock)
        if not self.minutes or self.clock() >= self._saved + LEAST_REST * (self._took or 0.0):
            self._save(folder, snapshot)

    def beat(self, folder: Path, make: Callable[[], Snapshot]) -> None:
        """Tell of a step. Raises Interrupted, after a save, where the training is to end."""
        if not self.pulse.beat(folder.name):
            return
        if self.minutes is not None:
            self.pulse.saves()
            self._save(folder, make())
        raise Interrupted("asked to end")

    def _save(self, folder: Path, snapshot: Snapshot) -> None:
        """Write a checkpoint whole. One that cannot be written costs itself alone."""
        began = self.clock()
        try:
            check_free(folder, sum(tensor.nbytes for tensor in snapshot.tensors.values()))
            write_checkpoint(folder, Snapshot({**snapshot.facts, "trial": self.facts()}, snapshot.tensors))
            self.send()
        except (OSError, EnvironmentFault) as error:
            log.warning("%s: no checkpoint written (%s); the training goes on", folder, error)
        self._saved = self.clock()
        self._took = self._saved - began


class StageCheckpoints:
    """The `Keeper` of one stage of a trial."""

    def __init__(self, trial: TrialCheckpoints, folder: Path) -> None:
        self._trial, self._folder = trial, folder

    def newest(self) -> Snapshot | None:
        return self._trial.newest(self._folder)

    def offer(self, make: Callable[[], Snapshot]) -> None:
        self._trial.offer(self._folder, make)

    def beat(self, make: Callable[[], Snapshot]) -> None:
        self._trial.beat(self._folder, make)
