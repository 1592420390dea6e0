"""Which trainings of a cell are put to use, and what to do where their models are not kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from l3masking.errors import InputError, check_choice, nearest
from study.estimate.times import duration
from study.plan.grid import make_plan
from study.plan.resolved import Resolved
from study.plan.trials import Trial
from study.results.aggregate import Cell, cell_name
from study.results.gather import gather
from study.status.repeat import seeds_command
from study.store.places import Place, open_store
from study.store.record import Record
from study.store.store import Store

Seeds = Literal["best", "all"]


class ChosenSeeds(NamedTuple):
    """The trainings of one cell that are exported, and the others that they are compared with."""

    cell: Cell  # statistics of all finished seeds
    records: Mapping[int, Record]  # by seed, of all finished seeds
    trials: Mapping[int, Trial]  # by seed, of all finished seeds
    seeds: tuple[int, ...]  # that are exported
    best: int  # seed with the highest value on the validation split; of equal ones the lowest

    @property
    def keys(self) -> dict[int, str]:
        """Keys of the exported records, by seed."""
        return {seed: self.records[seed]["key"] for seed in self.seeds}


def choose(root: Path, resolved: Resolved, name: str, objective: str | None, seeds: str) -> ChosenSeeds:
    """The best seed of a cell by validation, or all its finished seeds. Test values are not looked at.

    name: as `cell` in tables/results.json. objective: whose selected weights; None: the first of the study. Raises
    InputError for a cell or objective that the study does not have, and for a cell without a finished training.
    """
    check_choice("--seeds", seeds, Seeds)
    objective = resolved.spec.objectives[0] if objective is None else objective
    check_choice("--objective", objective, resolved.spec.objectives)
    plan, store = make_plan(*resolved), Store(root)
    trials = [trial for trial in plan if cell_name(*trial.cell) == name]
    if not trials:
        names = dict.fromkeys(cell_name(*trial.cell) for trial in plan)
        raise InputError(f"{name}: the study has no such cell; {nearest(name, names)}")
    if len({trial.cell for trial in trials}) > 1:
        raise InputError(
            f"{name}: several cells of the study have this name, as names hold a slash; rename one of them"
        )
    found = {
        trial.seed: (trial, record)
        for trial in trials
        if not trial.pending and (record := store.read(trial.keys[objective])) is not None
    }
    if not found:
        failed = sum(store.failure(trial.keys[objective]) is not None for trial in trials)
        raise InputError(
            f"{name}: no training of this cell has finished ({failed} of {len(trials)} failed): "
            f"`l3study status` says why, `l3study run` goes on"
        )
    records = {seed: record for seed, (_, record) in sorted(found.items())}
    best = max(records, key=lambda seed: (records[seed]["validation"][objective], -seed))
    cells = gather(store, resolved.spec, trials).cells
    return ChosenSeeds(
        cell=next(cell for cell in cells if cell.objective == objective and cell.key.name == name),
        records=records,
        trials={seed: trial for seed, (trial, _) in found.items()},
        seeds=tuple(records) if seeds == "all" else (best,),
        best=best,
    )


def check_kept(place: Place, root: Path, resolved: Resolved, choice: ChosenSeeds) -> None:
    """Raise InputError, with the command that makes them, where models of the chosen trainings are not kept."""
    kept = open_store(place).models()
    missing = [seed for seed, key in choice.keys.items() if key not in kept]
    if not missing:
        return
    spec = resolved.spec
    keeps = dataclasses.replace(spec, resources=dataclasses.replace(spec.resources, save_models=True))
    objective = choice.cell.objective
    trials = [choice.trials[seed] for seed in missing]
    command = seeds_command(root, resolved._replace(spec=keeps), trials, place)
    advice = f"`{command}`" if command else "the study's own `l3study run` with --set resources.save_models=true"
    took = sum(choice.records[seed]["run"]["seconds"] for seed in missing)
    trainings = "training" if len(missing) == 1 else f"{len(missing)} trainings"
    raise InputError(
        f"{choice.cell.key.name}: no trained model is kept for {_listed(missing)} ({objective}): run {advice}, which "
        f"repeats the {trainings} (it took {duration(took)}), keeps the models and changes no record; then export again"
        f"{_conflicts(root, choice, missing)}"
    )


def _listed(seeds: Sequence[int]) -> str:
    shown = ", ".join(map(str, seeds[:10])) + (f" and {len(seeds) - 10} more" if len(seeds) > 10 else "")
    return f"seed{'s' * (len(seeds) > 1)} {shown}"


def _conflicts(root: Path, choice: ChosenSeeds, missing: Sequence[int]) -> str:
    """What to add where a repetition gave other results than the record."""
    other = [seed for seed in missing if any(root.glob(f"conflicts/{choice.records[seed]['key']}.*.json"))]
    if not other:
        return ""
    run = choice.records[other[0]]["run"]
    return (
        f". {_listed(other).capitalize()} gave other results when repeated (conflicts/): repeat on a machine like that "
        f"of the record ({run['device']}, {run['threads']} threads)"
    )
