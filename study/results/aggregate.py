"""Records into cells: what the seeds of one setting say together.

A cell is encoder × dataset × method × variant × average mask probability × objective. Its values are the test metric
named by the objective, from the runs that were selected on validation by that same metric (the convention of Kimura et
al. 2024, Table 3). Values are fractions here; only reports speak of percent.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

from l3masking.errors import InputError
from study.results.epoch_units import EpochsShown, in_unit
from study.results.generalisation import Generalisation, Judged, finite, generalisations
from study.results.spread import mean_of, spread
from study.space.report_section import EpochUnit
from study.store.record import Entry, Evaluated, Identity, Kept


class CellKey(NamedTuple):
    """What the seeds of one cell have in common."""

    encoder: str
    dataset: str
    method: str
    variant: str | None  # None: the plain row
    mask_mean: float | None  # average mask probability, in [0, 1]; None for stl
    objective: str

    @property
    def name(self) -> str:
        """What the command line calls it, objectives together."""
        return cell_name(self.encoder, self.dataset, self.method, self.variant)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entry of the result table. A statistic that its seeds cannot give is None, never a stand-in number."""

    encoder: str
    dataset: str
    method: str
    variant: str | None
    mask_mean: float | None
    objective: str
    n: int
    """Seeds with a record, 0 and up: the only ones that are averaged."""
    failed: int
    """Wanted seeds that ended in a failure and have no record, 0 and up."""
    wanted: int
    """Seeds that the study asks for, at least n + failed; the rest has not run."""
    mean: float | None
    """Arithmetic mean of the test values, fraction; None if n = 0."""
    std: float | None
    """Sample standard deviation (n - 1 in the denominator), fraction; None if n < 2."""
    ci_low: float | None
    """Lower end of the 95 % t interval of the mean, fraction, not clipped to [0, 1]; None if n < 2."""
    ci_high: float | None
    """Upper end of it."""
    validation_mean: float | None
    """Mean of the validation values at the chosen weights, fraction; for display, since they steered the selection."""
    epochs_to_best_mean: float | None
    """Passes over the primary training data until the best validation value (of equal ones the latest, whose weights
    are tested), main stage, mean over seeds."""
    epochs_to_stop_mean: float | None
    """The same until early stopping ended the main stage."""
    epochs_to_first_best_mean: float | None = None
    """The same until the first of equal best values, which tables and figures show; records made before 2026-11-27 hold
    no such number, and then it is that of the latest."""
    converged: int | None = None
    """Seeds whose training had converged (study.results.convergence), 0 to n; None if no record tells."""
    values: Mapping[int, float]
    """Test value by seed, in the order of the seeds, fractions."""
    test_texts: int | None = None
    """Texts in the test set, 1 and up; None if no record says."""
    remarks: tuple[str, ...] = ()
    """What a reader must know of the trainings on its dataset, a sentence each; left out of exports where empty."""
    retried: int = 0
    """Seeds that diverged under bf16 and were trained again in float32, 0 to n; left out of exports where 0."""
    resampled: float | None = None
    """Test texts over training texts where the test split is cut anew with each seed: what `resampled_interval` takes;
    None, and left out of exports, for other datasets."""
    epochs_shown: EpochsShown | None = None
    """Epochs to the first of equal best values and to the stop in the unit of `report.epoch_unit`; None, and left out
    of exports, if that is passes over train."""
    evaluations: Mapping[str, Generalisation] = field(default_factory=dict)
    """Evaluation set -> how the cell does on it; empty, and left out of exports, where the dataset has no such sets."""

    @property
    def key(self) -> CellKey:
        """Its identity."""
        return CellKey(self.encoder, self.dataset, self.method, self.variant, self.mask_mean, self.objective)


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order in which names appear; a name that is not listed follows the listed ones, in alphabetical order."""

    encoder: Sequence[str] = ()
    dataset: Sequence[str] = ()
    method: Sequence[str] = ()
    variant: Sequence[str] = ()  # the plain row is always first
    objective: Sequence[str] = ()


class TimingRow(NamedTuple):
    """Wall time of one record. Records of one trajectory share one training: sum over distinct `trajectory`."""

    encoder: str
    dataset: str
    method: str
    variant: str | None
    mask_mean: float | None
    objective: str
    seed: int
    seconds: float  # wall clock, of the trajectory
    host: str
    device: str
    threads: int
    attempts: int
    trajectory: str
    key: str


def cells(
    records: Iterable[Evaluated],
    failures: Iterable[Identity],
    wanted: int | Mapping[CellKey, int],
    *,
    keys: Collection[str] | None = None,
    order: Order | None = None,
    unit: EpochUnit = "primary",
) -> list[Cell]:
    """Aggregate over the seeds of each cell; the order of `records` and `failures` does not matter.

    `wanted`: seeds per cell, one number for all, or one per cell; a wanted cell without any record appears with n = 0.
    `keys`: the record keys of the plan. A study folder keeps the records of earlier settings, so a caller that has a
    plan passes them, and everything else is left out; None takes all. `unit`: in which epochs are shown. Raises
    InputError if two records claim one seed of a cell, or a value is not finite.
    """
    by_cell: dict[CellKey, dict[int, Evaluated]] = defaultdict(dict)
    failed: dict[CellKey, set[int]] = defaultdict(set)
    for record in _chosen(records, keys):
        cell, seed = cell_key(record), record["seed"]
        if seed in by_cell[cell]:
            raise InputError(
                f"records {by_cell[cell][seed]['key']} and {record['key']} both give seed {seed} of "
                f"{'/'.join(map(str, cell))}: they come from different settings; aggregate with the keys of one plan"
            )
        by_cell[cell][seed] = record
    for failure in _chosen(failures, keys):
        failed[cell_key(failure)].add(failure["seed"])
    counts = wanted if isinstance(wanted, Mapping) else dict.fromkeys([*by_cell, *failed], wanted)
    found = {*by_cell, *failed, *counts}
    return [
        _cell(key, by_cell.get(key, {}), failed.get(key, set()), counts.get(key, 0), unit)
        for key in sorted(found, key=_place(order or Order()))
    ]


def timing_rows(
    records: Iterable[Kept], *, keys: Collection[str] | None = None, order: Order | None = None
) -> list[TimingRow]:
    """Wall times of the records, by cell and then by seed; kept apart from the cells because they never repeat."""
    place = _place(order or Order())
    rows = [
        TimingRow(
            *cell_key(record),
            seed=record["seed"],
            seconds=record["run"]["seconds"],
            host=record["run"]["host"],
            device=record["run"]["device"],
            threads=record["run"]["threads"],
            attempts=record["run"]["attempts"],
            trajectory=record["trajectory"],
            key=record["key"],
        )
        for record in _chosen(records, keys)
    ]
    return sorted(rows, key=lambda row: (place(CellKey(*row[:6])), row.seed, row.key))


def cell_name(encoder: str, dataset: str, method: str, variant: str | None) -> str:
    """encoder/dataset/method, and /variant where there is one."""
    return "/".join(part for part in (encoder, dataset, method, variant) if part is not None)


def cell_key(entry: Identity) -> CellKey:
    """The cell that a record or a failure belongs to."""
    mean = entry["mask_mean"]
    return CellKey(
        entry["encoder"],
        entry["dataset"],
        entry["method"],
        entry["variant"],
        None if mean is None else float(mean),
        entry["objective"],
    )


def _cell(key: CellKey, by_seed: Mapping[int, Evaluated], failed: set[int], wanted: int, unit: EpochUnit) -> Cell:
    rows = [by_seed[seed] for seed in sorted(by_seed)]
    values = {row["seed"]: finite(row, row["test"][key.objective]) for row in rows}
    n, missed = len(rows), len(failed - by_seed.keys())
    mean, std, low, high = spread(values.values())
    return Cell(
        **key._asdict(),
        n=n,
        failed=missed,
        wanted=max(wanted, n + missed),
        mean=mean,
        std=std,
        ci_low=low,
        ci_high=high,
        validation_mean=mean_of(finite(row, row["validation"][key.objective]) for row in rows),
        epochs_to_best_mean=mean_of(finite(row, row["epochs_to_best"]) for row in rows),
        epochs_to_first_best_mean=mean_of(finite(row, first_best(row)) for row in rows),
        epochs_shown=_shown(rows, unit),
        converged=_converged(rows),
        epochs_to_stop_mean=mean_of(finite(row, row["epochs_to_stop"]) for row in rows),
        values=values,
        retried=sum("retried_in_float32" in row for row in rows),
        test_texts=next((len(row["test_predictions"]) for row in rows if "test_predictions" in row), None),
        evaluations=generalisations(cast(Sequence[Judged], rows), values, key.objective),
    )


def _shown(rows: Sequence[Evaluated], unit: EpochUnit) -> EpochsShown | None:
    if unit == "primary":
        return None
    best, stop = (
        [in_unit(row, epochs(row), unit) for row in rows] for epochs in (first_best, lambda row: row["epochs_to_stop"])
    )
    return EpochsShown(unit=unit, to_best=_mean(best), to_stop=_mean(stop))


def _mean(values: Sequence[float | None]) -> float | None:
    """None if a seed has no value."""
    known = [value for value in values if value is not None]
    return mean_of(known) if len(known) == len(values) else None


def _converged(rows: Sequence[Evaluated]) -> int | None:
    """How many trainings had converged; None if one of them does not tell."""
    verdicts = [cast(Judged, row).get("converged") for row in rows]
    return sum(map(bool, verdicts)) if rows and None not in verdicts else None


def first_best(record: Evaluated) -> float:
    """Epochs to the first of equal best values; to the latest where the record is older than that field."""
    return float(record.get("epochs_to_first_best", record["epochs_to_best"]))


def _chosen(entries: Iterable[Entry], keys: Collection[str] | None) -> Iterable[Entry]:
    allowed = None if keys is None else frozenset(keys)
    return (entry for entry in entries if allowed is None or entry["key"] in allowed)


def _place(order: Order) -> Callable[[CellKey], tuple[tuple[float, str], ...]]:
    ranks = {
        field: {name: rank for rank, name in enumerate(getattr(order, field))}
        for field in ("encoder", "dataset", "method", "variant", "objective")
    }

    def rank(field: str, name: str) -> tuple[float, str]:
        return ranks[field].get(name, math.inf), name

    def place(key: CellKey) -> tuple[tuple[float, str], ...]:
        return (
            rank("encoder", key.encoder),
            rank("dataset", key.dataset),
            rank("method", key.method),
            (-1.0, "") if key.variant is None else rank("variant", key.variant),
            (-1.0 if key.mask_mean is None else key.mask_mean, ""),
            rank("objective", key.objective),
        )

    return place
