"""From a study's folder to its tables: the plan says which records count, the records say the rest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from l3masking.errors import InputError
from study.aggregate import Cell, CellKey, Order, TimingRow, cells, timing_rows
from study.plan import make_plan, of_plan
from study.report import FORMATS, export
from study.resolved import Resolved, read_resolved
from study.spec import StudySpec
from study.store import Store
from study.trials import Trial


class Results(NamedTuple):
    """The cells of a study, and the wall times of its records."""

    cells: list[Cell]
    timing: list[TimingRow]


def planned(root: Path) -> Resolved:
    """The study as it was last resolved in `root`; InputError where there is none."""
    resolved = read_resolved(root)
    if resolved is None:
        raise InputError(f"{root}: no study here (resolved.yaml is missing); give the folder that `l3study run` made")
    return resolved


def gather(store: Store, spec: StudySpec, trials: Sequence[Trial]) -> Results:
    """Aggregate the records of `trials`, in the order of the space."""
    keys = {key for trial in trials for key in trial.keys.values()}
    records = of_plan(store.records(), trials)
    failures = of_plan(store.failures(), trials)
    wanted = Counter(
        CellKey(trial.encoder, trial.dataset, trial.method, trial.variant, trial.mask_mean, objective)
        for trial in trials
        for objective in trial.keys
    )
    order = Order(
        encoder=list(dict.fromkeys(pair.encoder for pair in spec.pairs)),
        dataset=list(dict.fromkeys(pair.dataset for pair in spec.pairs)),
        method=spec.methods,
        variant=list(spec.variants),
        objective=spec.objectives,
    )
    return Results(
        cells(records, failures, wanted, keys=keys, order=order), timing_rows(records, keys=keys, order=order)
    )


def write_tables(root: Path, formats: Sequence[str] = FORMATS) -> tuple[Results, list[Path]]:
    """Tables and figures of a study folder, from its records alone."""
    spec, identities = planned(root)
    results = gather(Store(root), spec, make_plan(spec, identities))
    return results, export(root, results.cells, results.timing, formats)
