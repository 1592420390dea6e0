"""A mirror that is told what a run tells it, beside what MLflow holds where nothing disturbs."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from mlflow_store import clean_environment, contents, empty_database
from tracked_study import SEARCH, write_study

from study.plan.grid import make_plan
from study.plan.resolved import Resolved
from study.results.gather import gather
from study.space.search_section import SEARCH_FOLDER
from study.store.store import Store
from study.tracking.mirror import Mirror, sync

LONGEST_WAIT = 5.0  # seconds that a trial may wait for the mirror at most (R15)


class Made(NamedTuple):
    """A finished study, and what MLflow holds of it where nothing disturbs."""

    root: Path
    resolved: Resolved
    held: dict[tuple[str, str], Any]


def sync_of(root: Path, resolved: Resolved, uri: str | None = None, name: str = "tracked") -> Mirror:
    """As `l3study sync`."""
    store, trials = Store(root), make_plan(*resolved)
    found = gather(store, resolved.spec, trials).cells
    findings = resolved.findings.values()
    return sync(store, uri, cells=found, name=name, trials=trials, findings=findings, **described(resolved))


def described(resolved: Resolved) -> dict[str, Any]:
    return {"description": resolved.spec.description, "datasets": resolved.spec.datasets}


class Driver:
    """Tells a mirror of a study what a run tells it, trial by trial, and keeps the longest wait."""

    def __init__(self, made: Made, root: Path, uri: str | None = None) -> None:
        self.root = shutil.copytree(made.root, root, dirs_exist_ok=True)
        self.resolved, self.uri, self.longest = made.resolved, uri, 0.0
        self.store, self.trials = Store(root), make_plan(*made.resolved)
        self.left = self.store.records()
        self.mirror = Mirror(root, "tracked", uri=uri, **described(self.resolved))
        self._timed(self.mirror.plan, self.trials)
        for record in Store(root / SEARCH_FOLDER).records():
            self._timed(self.mirror.add_search, record)
        self._timed(self.mirror.findings, self.resolved.findings.values())

    def trials_end(self, count: int) -> None:
        """So many trials have ended, with a record each."""
        for _ in range(count):
            self._timed(self.mirror.add, self.left.pop())

    def trials_end_over(self, seconds: float) -> None:
        """All other trials end, one every 5 s, until so much time has passed."""
        over = time.monotonic() + seconds
        while self.left:
            self.trials_end(1)
            time.sleep(5)
        time.sleep(max(0.0, over - time.monotonic()))

    def finish(self, timeout: float = 60.0) -> str | None:
        """The run ends. Why the mirror is behind, or None."""
        self.trials_end(len(self.left))
        for failure in self.store.failures():
            self._timed(self.mirror.add_failure, failure)
        self._timed(self.mirror.cells, gather(self.store, self.resolved.spec, self.trials).cells)
        return self.mirror.close(timeout)

    def _timed(self, tell: Any, what: Any) -> None:
        begin = time.monotonic()
        tell(what)
        self.longest = max(self.longest, time.monotonic() - begin)


def seeds_in(database: Path) -> int:
    """Seed runs in a database, as somebody else sees it."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as reader:
            return reader.execute("select count(*) from tags where key = 'role' and value = 'seed'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0


def awaited(condition: Any) -> None:
    """Wait until it is true."""
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def made_study(folder: Path) -> Made:
    """In `folder`/study, nothing of MLflow in it."""
    small = {"pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}], "methods": ["stl", "l3masking"]}
    small |= {"objectives": ["accuracy"], "search": {**SEARCH, "seeds": 1}}
    resolved = write_study(folder / "study", searched=True, failing=[1], **small)
    calm = shutil.copytree(folder / "study", folder / "calm")
    empty_database(calm)
    with pytest.MonkeyPatch.context() as patch:
        clean_environment(patch)
        assert sync_of(calm, resolved).reason is None
        return Made(folder / "study", resolved, contents(calm, "tracked"))
