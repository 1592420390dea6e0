"""What trainings took, row against row: epochs to best and to stop, updates, wall seconds; lower is better.

Paired by seed as in `compare`, with the exact sign-flip test. These tests are exploratory: Holm's method adjusts the p
values of each quantity over all planned comparisons of a study, finished or not. Wall times never repeat, so exports
leave them out.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from study.results.aggregate import Cell, CellKey, cell_key, first_best
from study.results.compare import all_of, over, questions
from study.results.comparison import Arm, Question
from study.results.epoch_units import in_unit
from study.results.families import DeclaredFamily
from study.results.paired import holm, least_p, sign_flip
from study.results.resampled import resampled_interval
from study.space.report_section import EpochUnit
from study.store.record import Kept

Quantity = Literal["epochs_to_best", "epochs_to_stop", "updates", "seconds"]
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)  # the order in which they are shown
CLOCKED: Quantity = "seconds"


class Effort(NamedTuple):
    """What one training took until its objective stopped it. Epochs are those of the main stage, in `unit`."""

    epochs_to_best: float | None  # to the first of equal best validation values, above 0; None: not known in that unit
    epochs_to_stop: float | None  # at least that
    updates: float | None  # of the main stage, 1 and up; None if the record does not say
    seconds: float  # wall time of the training, which serves all its objectives; above 0
    machine: str  # device and threads
    unit: EpochUnit = "primary"


Efforts = Mapping[CellKey, Mapping[int, Effort]]  # cell -> seed -> effort


@dataclass(frozen=True, kw_only=True)
class EffortComparison:
    """One difference, first minus second: below zero, the first row takes less. What cannot be said is None."""

    question: str
    encoder: str
    dataset: str
    objective: str  # whose stop and best weights these are; of wall time the first of those that a training serves
    quantity: Quantity
    first: Arm
    second: Arm
    n: int  # pairs of seeds
    first_mean: float | None  # over these pairs, in the unit of the quantity
    second_mean: float | None
    difference: float | None  # of the means
    ci_low: float | None  # 95 % t interval of the paired differences, as in `compare`; None below two pairs
    ci_high: float | None
    p: float | None  # two-sided, sign-flip test; None below two pairs
    p_adjusted: float | None  # by Holm's method, over the planned comparisons of this quantity in the study
    family: int  # these comparisons, finished or not
    finished: bool  # every wanted seed of both rows has finished, or has failed for good
    complete: int  # comparisons of the family that are finished
    floor: float | None  # the least p that differences of these sizes can give: all with one sign
    machines: tuple[str, ...]  # on which the trainings ran, sorted; wall times of several are not like for like
    unit: EpochUnit = "primary"  # of epochs; left out of exports where it is passes over train


def efforts_of(records: Iterable[Kept], unit: EpochUnit = "primary") -> dict[CellKey, dict[int, Effort]]:
    """The effort of each record, by its cell and seed. unit: of epochs."""
    found: dict[CellKey, dict[int, Effort]] = {}
    for record in records:
        run = record["run"]
        found.setdefault(cell_key(record), {})[record["seed"]] = Effort(
            epochs_to_best=in_unit(record, first_best(record), unit),
            epochs_to_stop=in_unit(record, float(record["epochs_to_stop"]), unit),
            updates=record.get("updates"),
            seconds=float(run["seconds"]),
            machine=f"{run['device']}, threads: {run['threads']}",
            unit=unit,
        )
    return found


def compare_effort(
    cells: Sequence[Cell],
    efforts: Efforts,
    asked: Iterable[Question] | None = None,
    *,
    family: DeclaredFamily | None = None,
) -> list[EffortComparison]:
    """The comparisons of a study, question by question, then by objective, encoder and dataset, and quantity.

    `asked`: default `questions(cells)`; whatever is asked, the adjustment counts all of these too, as in `compare`.
    Wall time is compared once for the objectives that share a training.
    """
    known = questions(cells, family=family)
    wanted = known if asked is None else list(asked)
    found: list[EffortComparison] = []
    for question in all_of(known, wanted):
        timed: set[tuple[str, str]] = set()
        for first, second in _rows(cells, question):
            place = first.encoder, first.dataset
            for quantity in QUANTITIES:
                if quantity != CLOCKED or place not in timed:
                    found.append(_compared(question, first, second, efforts, quantity))
            timed.add(place)
    named: dict[Question, list[EffortComparison]] = {}
    for entry in _adjusted(found):
        named.setdefault(Question(entry.first, entry.second), []).append(entry)
    return [
        entry
        for question in wanted
        for entry in effort_answers(question, named.get(question) or named.get(question.turned) or [])
    ]


def effort_answers(question: Question, found: Iterable[EffortComparison]) -> list[EffortComparison]:
    """The comparisons of a question among `found`, which may hold it the other way round."""
    entries = list(found)
    ours = [entry for entry in entries if (entry.first, entry.second) == question]
    return ours or [_turned(entry) for entry in entries if (entry.second, entry.first) == question]


def _turned(entry: EffortComparison) -> EffortComparison:
    low, high = entry.ci_low, entry.ci_high
    return dataclasses.replace(
        entry,
        question=str(Question(entry.second, entry.first)),
        first=entry.second,
        second=entry.first,
        first_mean=entry.second_mean,
        second_mean=entry.first_mean,
        difference=None if entry.difference is None else -entry.difference,
        ci_low=None if high is None else -high,
        ci_high=None if low is None else -low,
    )


def _rows(cells: Sequence[Cell], question: Question) -> list[tuple[Cell, Cell]]:
    """The cells that a question compares, objective by objective."""
    known = {(Arm(cell.method, cell.variant), cell.objective, cell.encoder, cell.dataset): cell for cell in cells}
    objectives = list(dict.fromkeys(cell.objective for cell in cells))
    mine = sorted((place for place in known if place[0] == question.first), key=lambda p: objectives.index(p[1]))
    both = ((known[place], known.get((question.second, *place[1:]))) for place in mine)
    return [(first, second) for first, second in both if second is not None]


def without_wall_time(found: Iterable[EffortComparison]) -> list[EffortComparison]:
    """What is equal for equal records, wherever and whenever they were made."""
    return [entry for entry in found if entry.quantity != CLOCKED]


def _compared(question: Question, first: Cell, second: Cell, efforts: Efforts, quantity: Quantity) -> EffortComparison:
    one, other = efforts.get(first.key, {}), efforts.get(second.key, {})
    both = [(one[seed], other[seed]) for seed in sorted(one.keys() & other.keys())]
    pairs = [
        (float(getattr(a, quantity)), float(getattr(b, quantity)))
        for a, b in both
        if getattr(a, quantity) is not None and getattr(b, quantity) is not None
    ]
    differences = [a - b for a, b in pairs]
    n, several = len(pairs), len(pairs) > 1
    low, high = (None, None)
    if several:
        # epochs are counted on training texts that splits of other seeds share, as test values are
        low, high = resampled_interval(differences, first.resampled or 0.0)
    return EffortComparison(
        question=str(question),
        encoder=first.encoder,
        dataset=first.dataset,
        objective=first.objective,
        quantity=quantity,
        first=question.first,
        second=question.second,
        n=n,
        first_mean=statistics.fmean(a for a, _ in pairs) if pairs else None,
        second_mean=statistics.fmean(b for _, b in pairs) if pairs else None,
        difference=statistics.fmean(differences) if pairs else None,
        ci_low=low,
        ci_high=high,
        p=sign_flip(differences).p if several else None,
        p_adjusted=None,
        family=0,
        finished=over(first) and over(second),
        complete=0,
        floor=least_p(differences) if several else None,
        machines=tuple(sorted({effort.machine for pair in both for effort in pair})),
        unit=next((effort.unit for pair in both for effort in pair), "primary"),
    )


def _adjusted(found: Sequence[EffortComparison]) -> list[EffortComparison]:
    """With Holm's adjustment over the comparisons of each quantity; one without a p value counts as p = 1."""
    made = list(found)
    for quantity in QUANTITIES:
        places = [i for i, entry in enumerate(found) if entry.quantity == quantity]
        values = holm([1.0 if (p := found[i].p) is None else p for i in places])
        complete = sum(found[i].finished for i in places)
        for i, value in zip(places, values, strict=True):
            told = None if found[i].p is None else value
            made[i] = dataclasses.replace(found[i], p_adjusted=told, family=len(places), complete=complete)
    return made
