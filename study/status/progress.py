"""progress.json in the study's folder: the state of a run, written by its driver, and how others read it.

The records decide what is done. This file holds what no record can: which trials are running, since when, and whether
a driver is alive. Only the driver writes it, as a whole, every few seconds at most. A thread writes it again while
nothing happens, so that its age shows whether a driver on another machine is alive.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from study.store.hints import read_hint
from study.store.whole_files import canonical, write_atomic

if TYPE_CHECKING:
    from study.plan.trials import Trial

PROGRESS_FILE = "progress.json"
PROGRESS_SCHEMA = 1  # version of the file; a file of another version is ignored
WRITE_EVERY = 5.0  # least number of seconds between two writes
PROGRESS_BEAT = 30.0  # seconds after which the file is written again even if nothing has happened
SILENT = 120.0  # seconds without a write after which a driver on another machine counts as gone

log = logging.getLogger(__name__)
CellName = tuple[str, str, str, str | None]


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that is being trained."""

    key: str  # key of its trajectory
    cell: tuple[str | None, ...]  # encoder, dataset, method, variant
    seed: int
    since: float  # seconds since the epoch


class Counts(NamedTuple):
    """The trials of one cell by their state in this run, including those that earlier runs finished."""

    done: int
    running: int
    failed: int
    left: int


class Progress:
    """Records events in the file. No method raises if the file cannot be written: a full disk stops no study."""

    def __init__(self, root: Path, *, every: float = WRITE_EVERY, clock: Callable[[], float] = time.time) -> None:
        """`root`: the study's folder, which exists. `clock`: seconds since the epoch."""
        self._path, self._every, self._clock = root / PROGRESS_FILE, every, clock
        self._lock = threading.Lock()
        self._cells: dict[CellName, set[str]] = {}  # trajectory keys of the trials that the run was asked for
        self._ended: dict[str, bool] = {}  # trajectory key -> whether it failed
        self._running: dict[str, Running] = {}
        self._stage: dict[str, Any] | None = None
        self._most, self._state, self._started = 0, "running", clock()
        self._changed, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._write_on, name="progress", daemon=True)
        self._thread.start()

    def expect(self, trials: Sequence[Trial], done: Container[str]) -> None:
        """Set the trials that the run was asked for, and the keys of the records that exist already.

        A second call replaces the first: the findings of a search change the keys of trials.
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
        """The counts of each cell, in the order of `expect`."""
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
    """The content of progress.json. Times are seconds since the epoch."""

    pid: int
    born: str | None  # start of the process, which tells it from a later one with the same number
    host: str
    state: str
    stage: dict[str, Any] | None  # name, done, total
    running: tuple[Running, ...]
    most: int  # largest number of trials that ran at a time
    done: int  # trials that the run was asked for
    failed: int
    left: int
    started: float
    updated: float

    def alive(self, now: float | None = None) -> bool:
        """Whether the driver is alive: its process exists or, on another machine, has written recently."""
        if self.state != "running":
            return False
        if self.host != socket.gethostname():
            return (time.time() if now is None else now) - self.updated < SILENT
        return exists(self.pid) and self.born in (None, born(self.pid))


def read_view(root: Path) -> View | None:
    """The state that the driver of the last run wrote; None if there is no readable file: the records decide."""
    return read_hint(root / PROGRESS_FILE, _view)


def _view(value: dict[str, Any]) -> View | None:
    """The content of the file. What is of another type than `View` says is a ValueError or TypeError."""
    if value["schema"] != PROGRESS_SCHEMA:
        return None
    stage = value["stage"]
    return View(
        pid=_count(value["pid"]),
        born=None if value["born"] is None else str(value["born"]),
        host=str(value["host"]),
        state=str(value["state"]),
        stage=stage and {"name": str(stage["name"]), "done": _count(stage["done"]), "total": _count(stage["total"])},
        running=tuple(
            Running(
                key=str(entry["key"]),
                cell=tuple(None if name is None else str(name) for name in entry["cell"]),
                seed=_count(entry["seed"]),
                since=_seconds(entry["since"]),
            )
            for entry in value["running"]
        ),
        most=_count(value["most"]),
        done=_count(value["done"]),
        failed=_count(value["failed"]),
        left=_count(value["left"]),
        started=_seconds(value["started"]),
        updated=_seconds(value["updated"]),
    )


def _count(value: object) -> int:
    if isinstance(value, int) and 0 <= value < 2**63:
        return value
    raise ValueError(f"no count: {value!r}")


def _seconds(value: object) -> float:
    if isinstance(value, int | float) and 0 <= value < 2**40:
        return float(value)
    raise ValueError(f"no time: {value!r}")


def exists(pid: int) -> bool:
    """Whether process `pid` runs on this machine. One that has exited but was not reaped (a zombie) does not."""
    if pid < 1:
        return False  # stands for a group of processes
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    told = _told(pid)
    return not told or told[0] not in ("Z", "X")


def born(pid: int) -> str | None:
    """When a process of this machine began, in clock ticks since boot; None if the system does not say."""
    told = _told(pid)
    return told[19] if len(told) > 19 else None


def _told(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the state on (proc(5)); empty if there is no such file."""
    try:
        # the program's name comes first, in brackets, and may contain anything
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []
