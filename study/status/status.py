"""The state of a study: trials by state, what is running, the time left, and why trials failed."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from study.estimate.sizes import data_sizes
from study.estimate.summary import Summary, describe, summarize
from study.estimate.times import duration, local_slots
from study.estimate.timing_file import read_calibration
from study.plan.grid import left, make_plan
from study.plan.resolved import planned
from study.plan.trials import Trial
from study.report.layout import printable
from study.status.console import cell_table
from study.status.progress import CellName, Counts, View, read_view
from study.store.briefs import briefs
from study.store.record import Failure
from study.store.store import Store

REDRAW = 5.0  # seconds between two looks at a study that is watched
PLAIN_EVERY = 30.0  # the same without a terminal
SHARE = 10  # the pause is at least this many times as long as the last look took


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A study's state at one moment."""

    summary: Summary  # its estimate accounts for the running trials
    view: View | None  # of the last run; None if there was none
    alive: bool  # whether its driver is alive
    now: float  # seconds since the epoch
    counts: Mapping[CellName, Counts]  # trials by state
    running: Sequence[tuple[Trial, float, float | None]]  # with the seconds since its start and its estimated seconds
    failures: Sequence[Failure]  # of planned trials that are neither running nor done

    @property
    def totals(self) -> Counts:
        """The counts of all cells together."""
        return Counts(*(sum(part) for part in zip(*self.counts.values(), strict=True))) if self.counts else NO_COUNTS


NO_COUNTS = Counts(0, 0, 0, 0)


def look(root: Path, now: float | None = None) -> Standing:
    """Read a study's folder; InputError if it holds no study. `now`: seconds since the epoch."""
    now = time.time() if now is None else now
    resolved = planned(root)
    spec = resolved.spec
    store, trials = Store(root), make_plan(*resolved)
    records = briefs(store)
    open_trials = left(trials, {record.key for record in records})
    view = read_view(root)
    alive = view is not None and view.alive(now)
    since = {entry.key: max(0.0, now - entry.since) for entry in view.running} if view and alive else {}
    sizes = data_sizes(spec, resolved.identities, load=False)
    calibration = read_calibration(root, spec.resources_of)
    # a driver on a cluster has more places than this machine
    places = view.most if view and alive and view.most else local_slots(spec.resources)
    summary = summarize(spec, trials, records, slots=places, sizes=sizes, calibration=calibration, running=since)
    seconds = {(cell.encoder, cell.dataset, cell.method, cell.variant): cell.seconds for cell in summary.per_cell}
    keys = {key: trial.trajectory for trial in open_trials for key in trial.keys.values()}
    failures = [f for f in store.failures() if f["key"] in keys and keys[f["key"]] not in since]
    running = [trial for trial in open_trials if trial.trajectory in since]
    return Standing(
        summary=summary,
        view=view,
        alive=alive,
        now=now,
        counts=_counts(trials, open_trials, since, {keys[failure["key"]] for failure in failures}),
        running=[(trial, since[trial.trajectory], seconds[trial.cell]) for trial in running],
        failures=failures,
    )


def _counts(
    trials: Sequence[Trial], open_trials: Iterable[Trial], running: Mapping[str, float], failed: set[str]
) -> dict[CellName, Counts]:
    """Count each trial in one state; a failed one that is being tried again is running."""
    unfinished = {trial.trajectory for trial in open_trials}
    found: dict[CellName, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for trial in trials:
        key = trial.trajectory
        state = 0 if key not in unfinished else 1 if key in running else 2 if key in failed else 3
        found[trial.cell][state] += 1
    return {cell: Counts(*numbers) for cell, numbers in found.items()}


def status_lines(standing: Standing, root: Path) -> list[str]:
    """The whole state as lines, including cells and failures."""
    lines = [describe(standing.summary, root=root), "", *work_lines(standing)]
    for failure in standing.failures:
        cell = (failure["encoder"], failure["dataset"], failure["method"], failure["variant"])
        place = f"{' / '.join(part for part in cell if part)} / seed {failure['seed']} / {failure['objective']}"
        attempts = failure.get("attempts", 1)
        lines.append(f"FAILED {place}: {failure['reason']} ({attempts} attempt{'s' * (attempts != 1)})")
    if standing.failures:
        lines.append("the same `l3study run` tries them again")
    return list(map(printable, lines))


def work_lines(standing: Standing) -> list[str]:
    """The driver, the number of trials in each state, and the running trials with the time left."""
    lines = [driver_line(standing), totals_line(standing)]
    for trial, elapsed, seconds in standing.running:
        of = f" of about {duration(seconds)}" if seconds is not None else ""
        lines.append(f"running {trial.name}: {duration(elapsed)}{of} ({trial.trajectory[:12]})")
    return lines


def driver_line(standing: Standing) -> str:
    """Whether a driver is working on the study, and when it last wrote its state."""
    view = standing.view
    if view is None:
        return "not running: no run found in this folder"
    who = f"process {view.pid} on {view.host}"
    heard = f"last update {duration(max(0.0, standing.now - view.updated))} ago"
    if standing.alive:
        stage = f", {view.stage['name']} {view.stage['done']}/{view.stage['total']}" if view.stage else ""
        return f"running for {duration(max(0.0, standing.now - view.started))} ({who}){stage}, {heard}"
    if view.state == "running":
        return f"not running: {who} ended without a message ({heard}); the same `l3study run` continues"
    return f"not running: the last run ({who}) {view.state}, {heard}"


def totals_line(standing: Standing) -> str:
    """ "trials: 5 done, 1 failed, 2 running, 4 waiting; about 12 min left, until 15:42"."""
    done, running, failed, waiting = standing.totals
    line = f"trials: {done} done, {failed} failed, {running} running, {waiting} waiting"
    seconds = standing.summary.estimate_seconds
    if not standing.alive or not done + running + failed + waiting > done:
        return line
    if seconds is None:
        return f"{line}; time left unknown"
    return f"{line}; about {duration(seconds)} left, until {datetime.fromtimestamp(standing.now + seconds):%H:%M}"


def watch(root: Path, console: Console, *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Show a study until its run ends: redrawn on a terminal, otherwise a line every PLAIN_EVERY seconds."""
    standing = look(root)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                live.update(picture(standing, console), refresh=True)
                if not standing.alive:
                    break
                standing = _again(root, REDRAW, sleep)
        return
    while standing.alive:
        print(f"{datetime.fromtimestamp(standing.now):%H:%M:%S} {totals_line(standing)}", flush=True)
        standing = _again(root, PLAIN_EVERY, sleep)
    print("\n".join(status_lines(standing, root)), flush=True)


def _again(root: Path, pause: float, sleep: Callable[[float], None]) -> Standing:
    """The next look. Reading thousands of records takes long, so it is then done less often."""
    sleep(pause)
    started = time.monotonic()
    standing = look(root)
    sleep(max(0.0, SHARE * (time.monotonic() - started) - pause))
    return standing


def picture(standing: Standing, console: Console) -> RenderableType:
    """As much of a study's state as fits on the terminal."""
    lines = work_lines(standing)
    reasons = dict.fromkeys(str(failure["reason"]) for failure in standing.failures)
    lines += [f"failed: {reason}" for reason in list(reasons)[:3]]
    room = console.height - len(lines) - 3  # two lines of the table itself, and one free line
    text = [Text(printable(line), no_wrap=True, overflow="ellipsis") for line in lines]
    return Group(cell_table(standing.counts, console.width, room), *text)
