"""Cells of two rows that belong together, of the same encoder, dataset and objective, and their paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from study.results.aggregate import Cell
from study.results.comparison import Arm, Question


class Match(NamedTuple):
    """The two rows of a question on one encoder and dataset, under one objective."""

    question: Question
    first: Cell
    second: Cell

    @property
    def differences(self) -> list[float]:
        """First minus second, over the seeds that both have."""
        return [
            value - self.second.values[seed] for seed, value in self.first.values.items() if seed in self.second.values
        ]

    @property
    def wanted(self) -> int:
        """Seeds that the study asks for on both sides."""
        return min(self.first.wanted, self.second.wanted)


def matched(cells: Sequence[Cell], question: Question) -> dict[str, list[Match]]:
    """Objective -> the matches of a question, in the order of `cells`; those without any finished seed included."""
    second = {
        (cell.objective, cell.encoder, cell.dataset): cell
        for cell in cells
        if Arm(cell.method, cell.variant) == question.second
    }
    found: dict[str, list[Match]] = {}
    for cell in cells:
        other = second.get((cell.objective, cell.encoder, cell.dataset))
        if other is not None and Arm(cell.method, cell.variant) == question.first:
            found.setdefault(cell.objective, []).append(Match(question, cell, other))
    return found
