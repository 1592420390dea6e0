"""What the driver of a run says of it while it works: progress.json in the study's folder, and who reads it.

The records decide what is done. This file only tells what no record can: which trials are running, since when, and
whether somebody is at work at all. It is written by the driver alone, whole, every few seconds at most, and by a thread
of its own also while nothing happens, so that its age says something of a driver on another machine.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from study.store.whole_files import canonical, write_atomic

if TYPE_CHECKING:
    from study.plan.trials import Trial

PROGRESS_FILE = "progress.json"
PROGRESS_SCHEMA = 1  # of the file; another one is as good as none
WRITE_EVERY = 5.0  # seconds between two writes, at least
PROGRESS_BEAT = 30.0  # seconds after which the file is written again though nothing has happened
SILENT = 120.0  # seconds without a write after which a driver on another machine counts as gone

log = logging.getLogger(__name__)
CellName = tuple[str, str, str, str | None]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that is being trained."""

    key: str  # of its trajectory
    cell: tuple[str | None, ...]  # encoder, dataset, method, variant
    seed: int
    since: float  # seconds since the epoch


class Counts(NamedTuple):
    """The trials of one cell, by what has become of them in this run; done ones of earlier runs included."""

    done: int
    running: int
    failed: int
    left: int


class Progress:
    """Takes what happens and writes it down. No method raises for the file's sake: a full disk stops no study."""

    def __init__(self, root: Path, *, every: float = WRITE_EVERY, clock: Callable[[], float] = time.time) -> None:
        """`root`: the study's folder, which exists. `clock`: seconds since the epoch."""
        self._path, self._every, self._clock = root / PROGRESS_FILE, every, clock
        self._lock = threading.Lock()
        self._cells: dict[CellName, set[str]] = {}  # trajectory keys that the run is asked for
        self._ended: dict[str, bool] = {}  # trajectory key -> whether it failed
        self._running: dict[str, Running] = {}
        self._stage: dict[str, Any] | None = None
        self._most, self._state, self._started = 0, "running", clock()
        self._changed, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="progress", daemon=True)
        self._thread.start()

    def expect(self, trials: Sequence[Trial], done: Container[str]) -> None:
        """The trials that the run is asked for, and the keys of the records that are there already.

        A second call replaces the first: what a search finds gives trials other keys.
        """
        with self._lock:
            self._cells = {}
            for trial in trials:
                self._cells.setdefault(trial.cell, set()).add(trial.trajectory)
                if all(key in done for key in trial.keys.values()):
                    self._ended[trial.trajectory] = False
        self._changed.set()

    def started(self, trial: Trial) -> None:
        """A trial has begun, perhaps not for the first time."""
        with self._lock:
            self._ended.pop(trial.trajectory, None)
            self._running[trial.trajectory] = Running(
                key=trial.trajectory, cell=trial.cell, seed=trial.seed, since=self._clock()
            )
            self._most = max(self._most, len(self._running))
        self._changed.set()

    def ended(self, trial: Trial, reason: str | None) -> None:
        """A trial has ended, and why it failed (None: it did not)."""
        with self._lock:
            self._running.pop(trial.trajectory, None)
            self._ended[trial.trajectory] = reason is not None
        self._changed.set()

    def stage(self, name: str, done: int, total: int) -> None:
        """`done` of `total` parts of a stage are finished."""
        with self._lock:
            self._stage = {"name": name, "done": done, "total": total}
        self._changed.set()

    def close(self, state: str) -> None:
        """Write the last update ("finished", "stopped", ...) and stop writing. Only the first call does anything."""
        if self._over.is_set():
            return
        with self._lock:
            self._state = state
            self._running.clear()
        self._over.set()
        self._changed.set()
        self._thread.join()
        self._write()

    def counts(self) -> dict[CellName, Counts]:
        """What has become of each cell, in the order of `expect`."""
        with self._lock:
            return {cell: self._count(keys) for cell, keys in self._cells.items()}

    def _count(self, keys: set[str]) -> Counts:
        running = len(keys & self._running.keys())
        ends = [self._ended[key] for key in keys if key in self._ended and key not in self._running]
        return Counts(ends.count(False), running, ends.count(True), len(keys) - running - len(ends))

    def _write_on(self) -> None:
        while not self._over.is_set():
            self._changed.wait(PROGRESS_BEAT)
            self._changed.clear()
            if not self._over.is_set():
                self._write()
                self._over.wait(self._every)

    def _write(self) -> None:
        with self._lock:
            counts = [self._count(keys) for keys in self._cells.values()]
            value = {
                "schema": PROGRESS_SCHEMA,
                "pid": os.getpid(),
                "born": born(os.getpid()),
                "host": socket.gethostname(),
                "state": self._state,
                "stage": self._stage,
                "running": [asdict(running) for running in self._running.values()],
                "most": self._most,
                "done": sum(count.done for count in counts),
                "failed": sum(count.failed for count in counts),
                "left": sum(count.left for count in counts),
                "started": self._started,
                "updated": self._clock(),
            }
        try:
            write_atomic(self._path, canonical(value))
        except OSError as error:
            log.warning("%s cannot be written (%s): `status` shows the last one", self._path, error.strerror)


@dataclass(frozen=True, kw_only=True)
class View:
    """What progress.json says. Times are seconds since the epoch."""

    pid: int
    born: str | None  # tells a later process of the same number apart
    host: str
    state: str
    stage: dict[str, Any] | None  # name, done, total
    running: tuple[Running, ...]
    most: int  # trials that ran at a time
    done: int  # trials that the run was asked for
    failed: int
    left: int
    started: float
    updated: float

    def alive(self, now: float | None = None) -> bool:
        """Whether the driver is at work: its process is there, or, on another machine, has written lately."""
        if self.state != "running":
            return False
        if self.host != socket.gethostname():
            return (time.time() if now is None else now) - self.updated < SILENT
        return exists(self.pid) and self.born in (None, born(self.pid))


def read_view(root: Path) -> View | None:
    """What the driver of a study's last run has said; None if there is nothing that can be read."""
    try:
        value = json.loads((root / PROGRESS_FILE).read_bytes())
        if value.pop("schema") != PROGRESS_SCHEMA:
            return None
        running = [Running(**{**entry, "cell": tuple(entry["cell"])}) for entry in value.pop("running")]
        return View(running=tuple(running), **value)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None  # it is no truth: the records are


def exists(pid: int) -> bool:
    """Whether process `pid` runs on this machine. One that has exited but was not reaped (a zombie) does not."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    told = _told(pid)
    return not told or told[0] not in ("Z", "X")


def born(pid: int) -> str | None:
    """When a process of this machine began, in the kernel's ticks since the start; None if that is not told."""
    told = _told(pid)
    return told[19] if len(told) > 19 else None


def _told(pid: int) -> list[str]:
    """What Linux tells of a process, from its state on (proc(5)); nothing where there is no such file."""
    try:
        # the name of the program stands before it, in brackets, and may hold anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
