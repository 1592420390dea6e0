"""Checkpoints of the trainings under way: where they lie, when they are written, and which of them count.

checkpoints/<trajectory>/ lies with the study and is removed when the records of the training are there. A checkpoint of
another device, other threads or other versions is passed over: it would end in other bits than a whole training.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import checkpoints, tidy, write_checkpoint
from study.store.newer import refuse_newer

CHECKPOINTS = "checkpoints"  # folder of a study
CHECKPOINT_SCHEMA = 1
LEAST_REST = 50  # times the duration of a save that pass until the next: all but the first cost at most 2 % of the time
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
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """minutes: least time between two saves, >= 0, 0: every evaluation; None: nothing is saved or continued.

        made_with: what must be equal for a checkpoint to count, as JSON values.
        """
        self.folder, self.minutes, self.clock = folder, minutes, clock
        self.objectives, self.made_with = list(objectives), {"schema": CHECKPOINT_SCHEMA, **made_with}
        self.resumed = 0  # continuations of which the present state is the result
        self.earlier = 0.0  # seconds that processes before this one spent on the present state
        self.began = clock()
        self._due = self.began + 60 * (minutes or 0)

    @property
    def seconds(self) -> float:
        """Seconds spent on the present state, those of earlier processes included."""
        return self.earlier + self.clock() - self.began

    def stage(self, name: str) -> StageCheckpoints:
        """The keeper of one stage."""
        return StageCheckpoints(self, self.folder / name)

    def newest(self, folder: Path) -> Snapshot | None:
        """The newest checkpoint in `folder` that verifies and counts. InputError for one of a newer schema."""
        if self.minutes is None:
            return None
        tidy(folder)
        for found in checkpoints(folder):
            kept = found.facts.get("trial", {})
            made_with = kept.get("made_with", {})
            refuse_newer(folder, made_with.get("schema"), CHECKPOINT_SCHEMA)
            if made_with == self.made_with and {*self.objectives} <= {*kept["objectives"]}:
                self.resumed = max(self.resumed, kept["resumed"] + 1)
                self.earlier = max(self.earlier, kept["seconds"])
                return found
        return None

    def offer(self, folder: Path, make: Callable[[], Snapshot]) -> None:
        """Save, where it is time. A checkpoint that cannot be written costs itself alone."""
        if self.minutes is None or (began := self.clock()) < self._due:
            return
        snapshot = make()
        kept: dict[str, Any] = {"made_with": self.made_with, "objectives": self.objectives}
        kept |= {"resumed": self.resumed, "seconds": self.seconds}
        try:
            write_checkpoint(folder, Snapshot({**snapshot.facts, "trial": kept}, snapshot.tensors))
        except (OSError, SafetensorError) as error:
            log.warning("%s: no checkpoint written (%s); the training goes on", folder, error)
        ended = self.clock()
        self._due = ended + max(60 * self.minutes, LEAST_REST * (ended - began) if self.minutes else 0.0)


class StageCheckpoints:
    """The `Keeper` of one stage of a trial."""

    def __init__(self, trial: TrialCheckpoints, folder: Path) -> None:
        self._trial, self._folder = trial, folder

    def newest(self) -> Snapshot | None:
        return self._trial.newest(self._folder)

    def offer(self, make: Callable[[], Snapshot]) -> None:
        self._trial.offer(self._folder, make)
