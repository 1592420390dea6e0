"""What a run says while it works: a live view on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

EVERY = 30.0  # seconds between two summaries where there is no terminal


class Reporter(Protocol):
    """Takes events; never fails and never prints a carriage return into a log."""

    def say(self, line: str) -> None:
        """One event, one line."""
        ...

    def step(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` parts of a stage are finished."""
        ...


class PlainReporter:
    """Lines. Steps of a stage are summed up at most every EVERY seconds, and when the stage ends."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._last = -EVERY

    def say(self, line: str) -> None:
        print(line, flush=True)

    def step(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        started = self._started.setdefault(stage, now)
        if done == total or now - self._last >= EVERY:
            self._last = now
            spent = now - started
            rest = f", about {spent / done * (total - done):.0f} s left" if 0 < done < total and spent else ""
            print(f"{stage}: {done}/{total}{rest}", flush=True)


class LiveReporter:
    """A bar per stage under the lines of the events."""

    def __init__(self, progress: Progress) -> None:
        self._progress, self._stages = progress, {}  # type: ignore[var-annotated]

    def say(self, line: str) -> None:
        self._progress.console.print(line, highlight=False, markup=False)

    def step(self, stage: str, done: int, total: int) -> None:
        if stage not in self._stages:
            self._stages[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._stages[stage], completed=done, total=total)


@contextmanager
def reporter() -> Iterator[Reporter]:
    """The reporter that suits where the output goes."""
    if not sys.stdout.isatty():
        yield PlainReporter()
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=Console()) as progress:
        yield LiveReporter(progress)
