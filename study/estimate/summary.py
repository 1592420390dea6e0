"""What a plan amounts to: how much is done and left, what it takes, how long it may take and how much room."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l3masking.whole import free_space
from study.estimate.disk import PARTS, disk_space, shown, space_warning
from study.estimate.shared import described_texts, shared_work
from study.estimate.sizes import DataSize, data_sizes, training_size
from study.estimate.times import Times, duration, estimate
from study.estimate.timing_file import Calibration
from study.plan.grid import left
from study.plan.needs import artefacts_of
from study.plan.searches import read_by
from study.plan.trials import Trial
from study.space.search_section import BEST
from study.space.spec import GpuShare, StudySpec
from study.store.briefs import Brief, all_brief
from study.store.record import Record

FIRST = 5  # trainings that are named


@dataclass(frozen=True, kw_only=True)
class CellPlan:
    """One row of a plan: the seeds of an encoder, dataset, method and variant."""

    encoder: str
    dataset: str
    method: str
    variant: str | None
    mask_mean: float | None
    pending: bool  # its setting is still to be found by a search
    seeds: int
    records: int  # wanted: seeds × objectives
    done: int  # records
    left: int  # trainings
    gpu: GpuShare  # of each training
    cpu: float
    threads: int
    texts: dict[str, int | None]  # train, validation, test, mlm; None if nobody knows yet
    updates_per_epoch: int | None
    updates_at_most: int | None  # main stage of one training
    updates_before_at_most: int | None  # masked-LM training before it; 0 without any
    tokens_per_epoch_at_most: int | None
    seconds: float | None  # of one training; None if nothing is known
    basis: str  # of `seconds`, in words


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The numbers of `plan --json`."""

    name: str  # of the study
    cells: int  # encoder × dataset × method × variant
    trajectories: int  # trainings: cells × seeds
    records: int  # wanted: trajectories × objectives
    done: int  # records
    left: int  # records
    search_trials: int  # settings that the searches try, all of them together
    estimate_seconds: float | None  # wall time of what is left; None if some of it has nothing to go by
    gpu_hours: float | None  # of what is left; None likewise
    scoring_seconds: float | None  # by one worker, of all texts; None without a calibration
    basis: str  # of the estimate, in words
    disk_bytes: int  # of the whole study at its end, at most, as far as it can be told
    disk: dict[str, Any]  # parts of it, and their basis
    corpora: dict[str, str]  # units of each corpus that the study reads, and who says so, in words
    artefacts: dict[str, int]  # what trainings share, by kind: scores, importance, adapted encoders
    slots: int  # trainings at a time that the estimate counts with
    resources: dict[str, Any]  # of each trial, where its pair says nothing else
    per_cell: tuple[CellPlan, ...]
    first: tuple[str, ...]  # trajectory keys of a few trainings that are left and available
    unknown: tuple[str, ...]  # encoders and datasets that are not available; their trials count as left

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def summarize(
    spec: StudySpec,
    trials: Sequence[Trial],
    records: Iterable[Record | Brief],
    *,
    slots: int = 1,
    sizes: Mapping[str, DataSize] | None = None,
    calibration: Calibration | None = None,
    search_trials: int | None = None,
    running: Mapping[str, float] | None = None,
) -> Summary:
    """Count a plan against the verified records of its folder.

    `slots`: trials that run at a time, 1 or more. `sizes`: of the datasets (default: as expected). `calibration`:
    times for what has no finished training. `search_trials`: default: of the searches whose findings are in the plan.
    `running`: trajectory key -> seconds since its start, for what is being trained now.
    """
    finished, sizes = all_brief(records), sizes or data_sizes(spec)
    done = {record.key for record in finished}
    open_trials = left(trials, done)
    wanted = sum(len(trial.keys) for trial in trials)
    remaining = sum(len(trial.keys) for trial in open_trials)
    unknown = [f"encoder {t.encoder}" for t in trials if t.revision is None]
    unknown += [f"dataset {t.dataset}" for t in trials if t.data_hash is None]
    times = Times(trials, finished, calibration=calibration, sizes=sizes)
    asked = {(pair.encoder, pair.dataset): spec.resources_of(pair.encoder, pair.dataset).gpu for pair in spec.pairs}
    gpus = {pair: 1.0 if gpu == "auto" else gpu for pair, gpu in asked.items()}  # `slots` counts auto like this too
    found = estimate(open_trials, times, slots=slots, gpus=lambda t: gpus[t.encoder, t.dataset], running=running)
    disk = disk_space(spec, trials, finished, sizes)
    return Summary(
        name=spec.name,
        cells=len({trial.cell for trial in trials}),
        trajectories=len(trials),
        records=wanted,
        done=wanted - remaining,
        left=remaining,
        search_trials=_search_trials(spec, trials) if search_trials is None else search_trials,
        estimate_seconds=found.seconds,
        gpu_hours=found.gpu_hours,
        scoring_seconds=_scoring(spec, open_trials, calibration, sizes),
        basis=found.basis,
        disk_bytes=disk.total,
        disk=dataclasses.asdict(disk),
        corpora={name: str(size) for name, size in next(iter(sizes.values())).corpora.items()},
        artefacts=shared_work(spec, trials),
        slots=slots,
        resources=dataclasses.asdict(spec.resources),
        per_cell=tuple(_cells(spec, trials, open_trials, done, sizes, times)),
        first=tuple([trial.trajectory for trial in open_trials if _named(trial)][:FIRST]),
        unknown=tuple(dict.fromkeys(unknown)),
    )


def _search_trials(spec: StudySpec, trials: Iterable[Trial]) -> int:
    """Of the searches whose findings are among the trials, finished ones included."""
    searched = {(trial.encoder, trial.dataset, trial.method): trial.arm for trial in trials if trial.variant == BEST}
    settings = spec.settings()
    return sum(read_by(arm, spec.search, settings).settings for arm in searched.values()) if spec.search else 0


def _named(trial: Trial) -> bool:
    """Whether its key stays as it is: what is not available, or not found yet, will be part of it."""
    return trial.revision is not None and trial.data_hash is not None and not trial.pending


def _cells(
    spec: StudySpec,
    trials: Sequence[Trial],
    open_trials: Sequence[Trial],
    done: set[str],
    sizes: Mapping[str, DataSize],
    times: Times,
) -> list[CellPlan]:
    cells: dict[tuple[str, str, str, str | None], list[Trial]] = defaultdict(list)
    remaining: dict[tuple[str, str, str, str | None], int] = defaultdict(int)
    for trial in trials:
        cells[trial.cell].append(trial)
    for trial in open_trials:
        remaining[trial.cell] += 1
    made = []
    for cell, members in cells.items():
        one, data = members[0], sizes[members[0].dataset]
        size, time = training_size(one, data), times.of(one)
        resources = spec.resources_of(one.encoder, one.dataset)
        keys = [key for trial in members for key in trial.keys.values()]
        made.append(
            CellPlan(
                encoder=one.encoder,
                dataset=one.dataset,
                method=one.method,
                variant=one.variant,
                mask_mean=one.mask_mean,
                pending=one.pending,
                seeds=len(members),
                records=len(keys),
                done=sum(key in done for key in keys),
                left=remaining[cell],
                gpu=resources.gpu,
                cpu=resources.cpu,
                threads=resources.threads,
                texts={"train": data.train, "validation": data.validation, "test": data.test, "mlm": data.mlm},
                updates_per_epoch=size.updates_per_epoch,
                updates_at_most=size.updates_at_most,
                updates_before_at_most=size.adapt_updates,
                tokens_per_epoch_at_most=size.tokens_per_epoch_at_most,
                seconds=time.seconds,
                basis=time.whole,
            )
        )
    return made


def _scoring(
    spec: StudySpec, open_trials: Iterable[Trial], calibration: Calibration | None, sizes: Mapping[str, DataSize]
) -> float | None:
    """Scoring all texts that need it once; None if none was measured."""
    found: dict[str, float] = {}
    for trial in {trial.cell: trial for trial in open_trials}.values() if calibration else ():
        for need in artefacts_of(trial, spec.datasets[trial.dataset]):
            if calibration and need.kind == "scores" and need.key not in found:
                seconds = calibration.scoring_seconds(trial, described_texts(need, sizes))
                if seconds is not None:
                    found[need.key] = seconds
    return sum(found.values()) if found else None


def describe(summary: Summary, *, root: Path | None = None) -> str:
    """A plan as plain lines: the numbers, then a line per cell. `root`: the study's folder, whose disk has room."""
    head = ("encoder", "dataset", "method", "mask mean", "seeds", "records done", "gpu/cpu/threads")
    rows = [(*head, "train texts", "updates/epoch", "time of one")]
    for cell in summary.per_cell:
        rows.append(
            (
                cell.encoder,
                cell.dataset,
                f"{cell.method} @ {cell.variant}" if cell.variant else cell.method,
                "searched" if cell.pending else _number(cell.mask_mean),
                str(cell.seeds),
                f"{cell.done}/{cell.records}",
                f"{cell.gpu if cell.gpu == 'auto' else f'{cell.gpu:g}'}/{cell.cpu:g}/{cell.threads}",
                _number(cell.texts["train"]),
                _number(cell.updates_per_epoch),
                "-" if cell.seconds is None else duration(cell.seconds),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([*_numbers(summary, root), "", *table])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _numbers(summary: Summary, root: Path | None) -> list[str]:
    time = "unknown" if summary.estimate_seconds is None else duration(summary.estimate_seconds)
    hours = "" if not summary.gpu_hours else f", {summary.gpu_hours:.1f} GPU-hours"
    given = summary.resources
    if any(cell.gpu == "auto" for cell in summary.per_cell):
        given = {"gpu": "auto (measured at the start of a run)", **{n: v for n, v in given.items() if n != "gpu"}}
    resources = ", ".join(f"{name} {value}" for name, value in given.items() if value is not None)
    kinds = {"cell": summary.cells, "training": summary.trajectories, "record": summary.records}
    counts = [f"{number} {kind}{'s' * (number != 1)}" for kind, number in kinds.items()]
    search = f", {summary.search_trials} settings to search" if summary.search_trials else ""
    lines = [
        f"study {summary.name}: {', '.join(counts)}{search}",
        f"done {summary.done}, left {summary.left}, estimated time {time}{hours}",
        f"  from: {summary.basis}",
        f"resources of a trial: {resources}",
        _disk_line(summary, root),
    ]
    if summary.corpora:
        lines.append(f"corpora: {'; '.join(f'{name} {size}' for name, size in summary.corpora.items())}")
    if summary.artefacts:
        lines.append(
            f"made once and shared: {', '.join(f'{kind} {count}' for kind, count in summary.artefacts.items())}"
        )
    if summary.scoring_seconds is not None:
        lines.append(f"scoring before it: at most {duration(summary.scoring_seconds)} by one worker")
    if summary.first:
        lines.append(f"next: {', '.join(key[:12] for key in summary.first)}")
    if summary.unknown:
        lines.append(f"not available, counted as left: {', '.join(summary.unknown)}")
    return lines


def _disk_line(summary: Summary, root: Path | None) -> str:
    parts = [f"{name} {shown(summary.disk[name])}" for name in PARTS if summary.disk[name]]
    line = f"disk at the end: {shown(summary.disk_bytes)} ({', '.join(parts)}; {summary.disk['basis']})"
    if root is None:
        return line
    line += f"; free: {shown(free_space(root))}"
    there = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    warning = space_warning(root, summary.disk_bytes - there)
    return f"{line}\n{warning}" if warning else line
