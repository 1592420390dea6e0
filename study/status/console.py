"""What a run says while it works: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.progress import Progress as Bars
from rich.table import Column, Table
from rich.text import Text

from study.estimate.times import duration, time_left_at_pace
from study.report.layout import plain
from study.status.progress import CellName, Counts, Progress

SAY_EVERY = 30.0  # seconds between two summaries without a terminal
PER_SECOND = 2  # redraws of a terminal
NUMBER = 4  # columns of a number of trials
NARROW = 60  # columns; a narrower terminal shows no bars and no times


class Reporter(Protocol):
    """Takes events; never fails and never prints a carriage return into a log."""

    def say(self, line: str) -> None:
        """Print one event as one line, in which no label or text of a dataset can steer the terminal."""
        ...

    def step(self, stage: str, done: int, total: int) -> None:
        """`done` of `total` parts of a stage are finished."""
        ...

    def follow(self, progress: Progress) -> None:
        """Report the stages to `progress` from now on, and show its cells if there is room for them."""
        ...


class PlainReporter:
    """Plain lines. The steps of a stage are summarised every SAY_EVERY seconds at most, and when the stage ends."""

    def __init__(self) -> None:
        self._started: dict[str, float] = {}
        self._last = -SAY_EVERY
        self._progress: Progress | None = None

    def say(self, line: str) -> None:
        print(plain(line), flush=True)

    def step(self, stage: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress.stage(stage, done, total)
        now = time.monotonic()
        started = self._started.setdefault(stage, now)
        if done == total or now - self._last >= SAY_EVERY:
            self._last = now
            rest = time_left_at_pace(now - started, done, total) if done < total else None
            left = "" if rest is None else f", about {duration(rest)} left"
            print(f"{stage}: {done}/{total}{left}", flush=True)

    def follow(self, progress: Progress) -> None:
        self._progress = progress


class LiveReporter:
    """A bar per stage and a row per cell, under the lines of the events."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Bars(*_columns(console.width), console=console)
        self._stages: dict[str, TaskID] = {}
        self._progress: Progress | None = None

    def say(self, line: str) -> None:
        self._console.print(plain(line), highlight=False, markup=False)

    def step(self, stage: str, done: int, total: int) -> None:
        if self._progress is not None:
            self._progress.stage(stage, done, total)
        if stage not in self._stages:
            self._stages[stage] = self._bars.add_task(stage, total=total)
        self._bars.update(self._stages[stage], completed=done, total=total)

    def follow(self, progress: Progress) -> None:
        self._progress = progress

    def picture(self) -> RenderableType:
        """The bars and cells below the lines."""
        counts = self._progress.counts() if self._progress is not None else {}
        room = self._console.height - len(self._stages) - 4  # two lines of the table's own, one of text, one free
        return Group(self._bars, cell_table(counts, self._console.width, room)) if counts else self._bars


class TimeLeftColumn(ProgressColumn):
    """The time left for a stage, at its pace so far."""

    max_refresh = 0.5  # seconds between two looks

    def render(self, task: Task) -> Text:
        """The time left for one stage; empty if the stage has ended or no step is done."""
        total = int(task.total or 0)
        rest = time_left_at_pace(task.elapsed or 0.0, int(task.completed), total) if not task.finished else None
        return Text("" if rest is None else f"{duration(rest)} left", style="progress.remaining")


def _columns(width: int) -> list[ProgressColumn]:
    """The columns of a stage's bar; a narrow terminal shows the numbers only."""
    name = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
    if width < NARROW:
        return [name, MofNCompleteColumn(), TimeElapsedColumn()]
    return [SpinnerColumn(), name, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeLeftColumn()]


def cell_table(counts: Mapping[CellName, Counts], width: int, room: int) -> Table:
    """A row per cell. If not all fit, cells with running trials come first, then unfinished ones.

    `width`, `room`: columns and rows available, without the header. Long names lose their beginning, because the
    method is at the end.
    """
    rank = {
        cell: (not count.running, not count.left, not count.failed, place)
        for place, (cell, count) in enumerate(counts.items())
    }
    shown = set(sorted(counts, key=rank.__getitem__)[: max(1, room)])
    table = Table(box=None, padding=(0, 1), pad_edge=False)
    hidden = len(counts) - len(shown)
    head = f"cell ({hidden} more)" if hidden else "cell"
    states = ("done", "now", "fail", "left")
    rest = max(8, width - len(states) * (NUMBER + 2) - 1)  # two blanks before each number
    table.add_column(head, no_wrap=True, overflow="ellipsis", max_width=rest)
    for name in states:
        table.add_column(name, justify="right", no_wrap=True, min_width=NUMBER)
    for cell, count in counts.items():
        if cell in shown:
            style = "bold" if count.running else "dim" if not count.left else ""
            table.add_row(
                _shortened(cell, rest), *map(str, (count.done, count.running, count.failed, count.left)), style=style
            )
    return table


def _shortened(cell: CellName, width: int) -> str:
    """The name of a cell, cut to a number of columns."""
    parts = [part for part in cell if part]
    whole, close = " / ".join(parts), "/".join(parts)
    return whole if len(whole) <= width else close if len(close) <= width else "…" + close[1 - width :]


@contextmanager
def reporter() -> Iterator[Reporter]:
    """A live reporter for a terminal, plain lines for anything else."""
    if not sys.stdout.isatty():
        yield PlainReporter()
        return
    console = Console()
    live = LiveReporter(console)
    with Live(get_renderable=live.picture, console=console, refresh_per_second=PER_SECOND):
        yield live


@contextmanager
def followed(root: Path, reporter: Reporter) -> Iterator[Progress]:
    """The progress of one run, shown by its reporter. Unless `close` set a final state: "stopped", or an error."""
    progress = Progress(root)
    try:
        reporter.follow(progress)
        yield progress
    except KeyboardInterrupt:
        progress.close("stopped")
        raise
    finally:
        progress.close("ended by an error")
