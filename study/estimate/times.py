"""How long the trainings of a plan take: from finished ones, else scaled from related ones, else as calibrated."""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, Literal, NamedTuple

from l3masking.methods import METHODS, Method
from study.estimate.sizes import DataSize, basis_before, passes, share_before
from study.estimate.timing_file import Calibration
from study.plan.trials import Trial
from study.space.spec import Resources
from study.store.briefs import Brief, all_brief
from study.store.record import Record
from study.store.store import content_key

Basis = Literal["finished", "scaled", "calibrated", "unknown"]
CellPlace = tuple[str, str, str]  # encoder, dataset, method
Kind = tuple[str, str, str, str]  # the same, and a hash of the settings: trainings that cost alike


class TrialTime(NamedTuple):
    """Seconds of one training, and what they are taken from; None if nothing is known."""

    seconds: float | None
    basis: Basis
    why: str  # in words
    more: str = ""  # what that leaves open or adds, such as what precedes the main stage, in words

    @property
    def whole(self) -> str:
        """All that is said of it."""
        return "; ".join(part for part in (self.why, self.more) if part)


class Times:
    """Seconds per training: what finished trainings and a calibration say of a plan."""

    def __init__(
        self,
        trials: Iterable[Trial],
        records: Iterable[Record | Brief],
        *,
        calibration: Calibration | None = None,
        sizes: Mapping[str, DataSize] | None = None,
    ) -> None:
        """`trials`: a plan; `records`: those of its folder, also of earlier settings; `sizes`: of its datasets."""
        self._calibration, self._sizes = calibration, sizes or {}
        self._hashes: dict[int, tuple[Any, str]] = {}  # a plan's trials share their settings objects: hashed once each
        self._known: dict[Kind, TrialTime] = {}
        trials = list(trials)
        self._arms = {trial.method: trial.arm for trial in trials}
        self._examples = {(trial.encoder, trial.dataset, trial.method): trial for trial in reversed(trials)}
        kinds = {trial.trajectory: self.kind(trial) for trial in trials}
        self._finished: dict[Kind, dict[str, float]] = defaultdict(dict)
        self._epochs: dict[Kind, int] = {}
        for record in all_brief(records):
            if record.seconds is None:
                continue
            kind = kinds.get(record.trajectory) or (record.encoder, record.dataset, record.method, record.settings)
            seen = self._finished[kind]
            # the objectives of a training share its time
            seen[record.trajectory] = max(record.seconds, seen.get(record.trajectory, 0.0))
            self._epochs.setdefault(kind, record.max_epochs)

    def kind(self, trial: Trial) -> Kind:
        """What trainings that differ in their seed alone have in common."""
        held = self._hashes.get(id(trial.settings))
        if held is None:  # the settings are kept with their hash, so that no other object takes their id
            held = self._hashes[id(trial.settings)] = (trial.settings, content_key(trial.settings))
        return trial.encoder, trial.dataset, trial.method, held[1]

    def of(self, trial: Trial) -> TrialTime:
        """Seconds of one training of the plan, whichever its seed."""
        kind = self.kind(trial)
        if kind not in self._known:
            self._known[kind] = self._own(kind) or self._scaled(kind, trial) or self._calibrated(trial) or UNKNOWN_TIME
        return self._known[kind]

    def _own(self, kind: Kind) -> TrialTime | None:
        seen = self._finished.get(kind)
        if not seen:
            return None
        return TrialTime(fmean(seen.values()), "finished", f"mean of {counted(len(seen))} of the same cell")

    def _scaled(self, kind: Kind, trial: Trial) -> TrialTime | None:
        """From the same method under other settings, or else from the method whose passes are nearest."""
        here = [other for other, seen in self._finished.items() if other[:2] == kind[:2] and seen]
        known = METHODS | self._arms
        cost = {other[2]: self._passes(other[:3], known[other[2]]) for other in here if other[2] in known}
        related = [other for other in here if other[2] in cost]
        if not related:
            return None
        mine, epochs = passes(trial.arm, self._before(trial)), trial.settings["train"]["max_epochs"]
        cost[trial.method] = mine  # under other settings, of which no more is known
        near = min(related, key=lambda other: (other[2] != trial.method, abs(cost[other[2]] - mine), other[2:]))
        scale = mine / cost[near[2]] * epochs / self._epochs[near]
        seen = self._finished[near]
        source = "the same method under other settings" if near[2] == trial.method else near[2]
        why = f"{counted(len(seen))} of {source}, × {scale:.2g} for passes and epochs: a rough scale"
        size = self._sizes.get(trial.dataset)
        return TrialTime(fmean(seen.values()) * scale, "scaled", why, basis_before(trial, size) if size else "")

    def _passes(self, place: CellPlace, arm: Method) -> float:
        """Of another method, as the plan has it."""
        example = self._examples.get(place)
        return passes(arm, self._before(example) if example else None)

    def _before(self, trial: Trial) -> float | None:
        size = self._sizes.get(trial.dataset)
        return share_before(trial, size) if size else None

    def _calibrated(self, trial: Trial) -> TrialTime | None:
        size = self._sizes.get(trial.dataset)
        seconds = self._calibration.seconds(trial, size) if self._calibration and size else None
        if seconds is None or size is None:
            return None
        sets = f"without evaluation sets of unknown length: {', '.join(size.unknown_sets)}" if size.unknown_sets else ""
        more = "; ".join(part for part in (basis_before(trial, size), sets) if part)
        why = "at most, by a short measurement: early stopping usually ends sooner"
        return TrialTime(seconds, "calibrated", why, more)


UNKNOWN_TIME = TrialTime(None, "unknown", "no finished training of this encoder and dataset, and no calibration")


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is left of a plan, in time."""

    seconds: float | None  # wall time until all is done, slots considered; None if some training is unknown
    gpu_hours: float | None  # sum over the trainings that are left of hours × GPUs; None likewise
    basis: str  # in words: what the numbers are taken from


def estimate(
    open_trials: Sequence[Trial],
    times: Times,
    *,
    slots: int = 1,
    gpus: Callable[[Trial], float] | None = None,
    running: Mapping[str, float] | None = None,
) -> Estimate:
    """Wall time and GPU-hours of the trials that are left.

    `slots`: trials at a time, 1 or more. `gpus`: GPUs that a trial takes (default 0). `running`: trajectory key ->
    seconds since it was started, for those of `open_trials` that are being trained now.
    """
    running = running or {}
    found = [(trial, times.of(trial)) for trial in open_trials]
    wall = time_left(
        [time.seconds for trial, time in found if trial.trajectory not in running],
        slots=slots,
        running=[(time.seconds, running[t.trajectory]) for t, time in found if t.trajectory in running],
    )
    hours = None
    if wall is not None:
        hours = sum((time.seconds or 0.0) * (gpus(trial) if gpus else 0.0) for trial, time in found) / 3600
    return Estimate(seconds=wall, gpu_hours=hours, basis=_basis(found, slots))


def time_left(
    waiting: Iterable[float | None], *, slots: int = 1, running: Iterable[tuple[float | None, float]] = ()
) -> float | None:
    """Seconds until all is done. Everything that tells a user how long something still takes asks this function.

    `waiting`: seconds of each job that has not begun. `running`: (seconds in all, seconds so far) of each job that
    has; one that is over its time is taken to end now. None if the seconds of a job are not known.
    """
    jobs, under_way = list(waiting), list(running)
    known = [seconds for seconds in jobs if seconds is not None]
    rests = [max(0.0, seconds - elapsed) for seconds, elapsed in under_way if seconds is not None]
    if len(known) < len(jobs) or len(rests) < len(under_way):
        return None
    return makespan(known, slots, rests)


def time_left_at_pace(spent: float, done: int, total: int) -> float | None:
    """The same for a stage of like steps, of which `done` took `spent` seconds; None if none is done yet."""
    return time_left([spent / done if done and spent else None] * (total - done))


def makespan(seconds: Iterable[float], slots: int, running: Iterable[float] = ()) -> float:
    """Time until all is done where `slots` jobs run at a time, the longest first, and `running` are under way."""
    ends = sorted(running)
    slots = max(1, slots, len(ends))
    free = [0.0] * (slots - len(ends)) + ends
    heapq.heapify(free)
    for job in sorted(seconds, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + job)
    return max(free)


def local_slots(resources: Resources) -> int:
    """Trials that run at a time, as far as this machine tells; one GPU is assumed where it has none.

    `executor: serial` runs one at a time. With `gpu: auto`, which only a run measures, each GPU counts for one, and a
    machine without one for its CPUs.
    """
    if resources.executor == "serial":
        return 1
    fits = max(1, int((os.cpu_count() or 1) // resources.cpu))
    if resources.gpu:
        import torch  # which nobody else here needs

        here = torch.cuda.device_count()
        if resources.gpu != "auto":
            fits = min(fits, max(1, int(max(1, here) // resources.gpu)))
        elif here:
            fits = min(fits, here)
    return min(fits, resources.workers or fits)


def _basis(found: Sequence[tuple[Trial, TrialTime]], slots: int) -> str:
    """ "3 cells: mean of 4 finished trainings of the same cell; 2 cells: unknown (...)"."""
    if not found:
        return "nothing is left"
    cells = {trial.cell: time for trial, time in found}
    counts: dict[tuple[Basis, str, str], int] = {}
    for time in cells.values():
        # reasons that differ from cell to cell in a number are told together
        why = time.why if time.basis in ("calibrated", "unknown") or len(cells) == 1 else GROUPED[time.basis]
        counts[time.basis, why, time.more] = counts.get((time.basis, why, time.more), 0) + 1
    order: list[Basis] = ["finished", "scaled", "calibrated", "unknown"]
    parts = [
        f"{number} cell{'s' * (number != 1)}{' unknown' if basis == 'unknown' else ''}: {why}{more and f' ({more})'}"
        for (basis, why, more), number in sorted(counts.items(), key=lambda item: order.index(item[0][0]))
    ]
    searches = " and searches" if any(trial.pending for trial, _ in found) else ""
    return "; ".join([*parts, f"{slots} at a time; trainings alone, without scoring{searches}"])


GROUPED: dict[Basis, str] = {
    "finished": "by the mean of their own finished trainings",
    "scaled": "scaled from another method or other settings (passes × epochs): rough",
}


def counted(number: int) -> str:
    return f"{number} finished training{'s' * (number != 1)}"


def compared(estimated: float | None, took: float) -> str | None:
    """ "estimated 12 min, took 15 min (25 % more)"; None if there was no estimate, or next to nothing to do."""
    if estimated is None or estimated < 1:
        return None
    difference = (took - estimated) / estimated
    word = "more" if difference > 0 else "less"
    exact = "as estimated" if abs(difference) < 0.005 else f"{abs(100 * difference):.0f} % {word}"
    return f"estimated {duration(estimated)}, took {duration(took)} ({exact})"


def duration(seconds: float) -> str:
    """41 s, 12 min, 3 h 05 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
