"""A study's cells against other numbers for the same cells: the paper's printed table, or another study's folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from study.results.aggregate import Cell
from study.results.compare import one_test_set, over, paired, side
from study.results.comparison import Arm, Comparison, Side
from study.results.families import adjusted
from study.results.paired import welch
from study.results.published import PAPER, TRIALS, oddities, table3


class Origin(NamedTuple):
    """What a cell's trainings started from. Seeds pair two studies only where both parts are known and equal."""

    revision: str | None  # of the encoder
    data_hash: str | None


Origins = Mapping[tuple[str, str], Origin]  # (encoder, dataset) -> where from


def against_paper(cells: Sequence[Cell]) -> list[Comparison]:
    """Each cell that Table 3 of Kimura et al. 2024 prints, minus the printed mean; unpaired (Welch), with its oddities.

    Encoders and datasets are matched by name, so a study that gives other things these names compares other things.
    A variant is held against the cell of its method. All of them are exploratory, and one family.
    """
    printed, found = table3(), []
    for cell in cells:
        entry = printed.get((cell.encoder, cell.dataset, cell.method, cell.objective))
        if entry is not None:
            other = Side(
                study=PAPER,
                method=cell.method,
                variant=None,
                mask_mean=None,
                n=TRIALS,
                mean=entry.mean,
                std=entry.std,
            )
            question = f"{Arm(cell.method, cell.variant)} vs {PAPER}"
            found.append(unpaired(cell, other, question, notes=oddities(entry)))
    return _by_question(adjusted(found))


def against_study(
    cells: Sequence[Cell], others: Sequence[Cell], name: str, origins: Origins, other_origins: Origins
) -> list[Comparison]:
    """Each cell minus the cell of the same encoder, dataset, method, variant and objective of the study `name`.

    Paired by seed where encoder revision and data are the same and two seeds or more are shared, else by Welch. All of
    them are exploratory, and one family.
    """
    known, found = {_place(cell): cell for cell in others}, []
    for cell in cells:
        other = known.get(_place(cell))
        if other is None:
            continue
        where, question = (cell.encoder, cell.dataset), f"{Arm(cell.method, cell.variant)} vs {name}"
        here, there = origins.get(where), other_origins.get(where)
        alike = here is not None and here == there and None not in here
        if alike and len(cell.values.keys() & other.values.keys()) > 1:
            # the order of batches may differ: the two studies may train with other settings
            found.append(paired(cell, other, question, "head", other=name))
        else:
            found.append(unpaired(cell, side(other, list(other.values), study=name), question))
    return _by_question(adjusted(found))


def unpaired(cell: Cell, other: Side, question: str, *, notes: tuple[str, ...] = ()) -> Comparison:
    """A cell minus other numbers that no seed ties to it. Holm's part is left to `adjusted`."""
    mine = side(cell, list(cell.values))
    difference = None if mine.mean is None or other.mean is None else mine.mean - other.mean
    test = None
    if mine.mean is not None and mine.std is not None and other.mean is not None and other.std is not None:
        test = welch(mine.mean, mine.std, mine.n, other.mean, other.std, other.n)
    return Comparison(
        question=question,
        encoder=cell.encoder,
        dataset=cell.dataset,
        objective=cell.objective,
        first=mine,
        second=other,
        n=0,
        wanted=cell.wanted,
        finished=over(cell),
        pairing=None,
        test=None if test is None else "welch",
        difference=difference,
        ci_low=None if test is None else test.low,
        ci_high=None if test is None else test.high,
        effect_size=None,
        p=None if test is None else test.p,
        floor=None,
        test_texts=cell.test_texts,
        standard_error=one_test_set(cell),
        notes=notes,
    )


def _by_question(comparisons: Iterable[Comparison]) -> list[Comparison]:
    """Those of one row and objective together, in the order in which these come first."""
    found: dict[tuple[str, str], list[Comparison]] = {}
    for entry in comparisons:
        found.setdefault((entry.question, entry.objective), []).append(entry)
    return [entry for group in found.values() for entry in group]


def _place(cell: Cell) -> tuple[str, str, str, str | None, str]:
    return cell.encoder, cell.dataset, cell.method, cell.variant, cell.objective
