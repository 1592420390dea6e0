"""What a plan amounts to: how much is done, how much is left, how long it may take."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from study.plan import left
from study.spec import StudySpec
from study.trials import Trial


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of `plan --json`."""

    name: str  # of the study
    cells: int  # encoder × dataset × method × variant
    trajectories: int  # trainings: cells × seeds
    records: int  # wanted: trajectories × objectives
    done: int  # records
    left: int  # records
    search_trials: int  # of searches; there are none yet
    estimate_seconds: float | None  # wall time of what is left; None where some of it has no finished trial to go by
    resources: dict[str, Any]  # of each trial
    unknown: tuple[str, ...]  # encoders and datasets that are not at hand; their trials count as left

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def summarize(
    spec: StudySpec, trials: Sequence[Trial], records: Iterable[Mapping[str, Any]], *, slots: int = 1
) -> Summary:
    """Count a plan against the verified records of its folder. `slots`: trials that run at a time, 1 or more."""
    records = list(records)
    done = {record["key"] for record in records}
    open_trials = left(trials, done)
    wanted = sum(len(trial.keys) for trial in trials)
    remaining = sum(len(trial.keys) for trial in open_trials)
    unknown = [f"encoder {t.encoder}" for t in trials if t.revision is None]
    unknown += [f"dataset {t.dataset}" for t in trials if t.data_hash is None]
    return Summary(
        name=spec.name,
        cells=len({trial.cell for trial in trials}),
        trajectories=len(trials),
        records=wanted,
        done=wanted - remaining,
        left=remaining,
        search_trials=0,
        estimate_seconds=estimate_seconds(open_trials, records, slots=slots),
        resources=dataclasses.asdict(spec.resources),
        unknown=tuple(dict.fromkeys(unknown)),
    )


def estimate_seconds(
    open_trials: Sequence[Trial], records: Iterable[Mapping[str, Any]], *, slots: int = 1
) -> float | None:
    """Wall time of the trials that are left: the mean of the finished trainings of the same encoder, dataset, method.

    None where there is none for some of them; 0 where nothing is left.
    """
    trainings: dict[tuple[str, str, str], dict[str, float]] = defaultdict(dict)
    for record in records:
        seconds = record.get("run", {}).get("seconds")
        if isinstance(seconds, int | float):
            seen = trainings[record["encoder"], record["dataset"], record["method"]]
            # the objectives of a training share its time
            seen[record["trajectory"]] = max(seconds, seen.get(record["trajectory"], 0.0))
    total = 0.0
    for trial in open_trials:
        seen = trainings.get((trial.encoder, trial.dataset, trial.method), {})
        if not seen:
            return None
        total += fmean(seen.values())
    return total / max(1, slots)


def describe(summary: Summary, trials: Sequence[Trial], done: Iterable[str]) -> str:
    """A plan as plain lines: the numbers, then a line per cell."""
    finished = set(done)
    cells: dict[tuple[str, str, str, str | None], list[Trial]] = defaultdict(list)
    for trial in trials:
        cells[trial.cell].append(trial)
    rows = [("encoder", "dataset", "method", "mask mean", "seeds", "records done")]
    for (encoder, dataset, method, variant), members in cells.items():
        keys = [key for trial in members for key in trial.keys.values()]
        mean = members[0].mask_mean
        rows.append(
            (
                encoder,
                dataset,
                f"{method} @ {variant}" if variant else method,
                "-" if mean is None else f"{mean:g}",
                str(len(members)),
                f"{sum(key in finished for key in keys)}/{len(keys)}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*_numbers(summary), "", *table])


def _numbers(summary: Summary) -> list[str]:
    time = "unknown" if summary.estimate_seconds is None else duration(summary.estimate_seconds)
    resources = ", ".join(f"{name} {value}" for name, value in summary.resources.items() if value is not None)
    lines = [
        f"study {summary.name}: {summary.cells} cells, {summary.trajectories} trainings, {summary.records} records",
        f"done {summary.done}, left {summary.left}, estimated time {time}",
        f"resources of a trial: {resources}",
    ]
    if summary.unknown:
        lines.append(f"not at hand, counted as left: {', '.join(summary.unknown)}")
    return lines


def duration(seconds: float) -> str:
    """41 s, 12 min, 3 h 05 min."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min"
