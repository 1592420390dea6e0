"""Time estimates for a run, and their error once it is over."""

from __future__ import annotations

import time
from collections.abc import Sequence

from study.estimate.sizes import data_sizes
from study.estimate.times import Times, compared, duration, estimate
from study.estimate.timing_file import read_calibration
from study.plan.trials import Identities, Trial
from study.space.spec import StudySpec
from study.store.briefs import briefs
from study.store.store import Store


class Forecast:
    """The time that some trainings may take, estimated when they begin as `plan` estimates it."""

    def __init__(
        self, store: Store, spec: StudySpec, identities: Identities, trials: Sequence[Trial], *, slots: int
    ) -> None:
        """`trials`: those that are about to begin, `slots` of them at a time."""
        times = Times(
            trials,
            briefs(store),
            calibration=read_calibration(store.root, spec.resources_of),
            sizes=data_sizes(spec, identities),
        )
        self.estimate = estimate(trials, times, slots=slots)
        self._began = time.monotonic()

    def before(self) -> list[str]:
        """The estimate, in a line; none if nobody knows or nothing is to be done."""
        seconds = self.estimate.seconds
        return [f"estimated time {duration(seconds)} ({self.estimate.basis})"] if seconds else []

    def after(self) -> list[str]:
        """How far off it was, now that all is done, in a line; none if there was no estimate."""
        line = compared(self.estimate.seconds, time.monotonic() - self._began)
        return [line] if line else []
