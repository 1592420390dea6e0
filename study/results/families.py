"""Holm's adjustment over a planned family, and the family that a study declares as confirmatory.

A family is what is planned, not what has finished: a study that is still running has its p values adjusted for all of
them, and so cannot be stopped where they please.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from l3masking.methods import QUESTIONS
from study.results.comparison import Arm, Comparison, Question
from study.results.paired import holm, least_p
from study.space.compare_section import CompareConfig

Compared = TypeVar("Compared", bound=Comparison)


class DeclaredFamily(NamedTuple):
    """What is confirmatory: these questions on these objectives, over all encoder and dataset pairs of the study."""

    questions: tuple[Question, ...]
    objectives: tuple[str, ...]

    def has(self, question: Question, objective: str) -> bool:
        """Whether a comparison belongs to it, whichever way round its rows are named."""
        return objective in self.objectives and (question in self.questions or question.turned in self.questions)


NOTHING_DECLARED = DeclaredFamily((), ())  # all that is compared is exploratory


def declared(config: CompareConfig) -> DeclaredFamily:
    """The family of the section `compare` of a space, as reading the space has filled it in."""
    questions = (Question(*map(Arm.named, rows)) for rows in config.questions or ())
    return DeclaredFamily(tuple(questions), config.objectives or ())


def default_family(arms: Iterable[Arm], objectives: Iterable[str]) -> DeclaredFamily:
    """The three questions of the paper as far as both rows are there, on the first objective."""
    there = set(arms)
    asked = (Question(Arm(first), Arm(second)) for first, second in QUESTIONS)
    return DeclaredFamily(tuple(question for question in asked if {*question} <= there), tuple(objectives)[:1])


def adjusted(family: Sequence[Compared], *, confirmatory: bool = False) -> list[Compared]:
    """All planned comparisons of one family, with Holm's adjustment. One without a p value counts as p = 1."""
    complete = sum(comparison.finished for comparison in family)
    p_values = holm([1.0 if comparison.p is None else comparison.p for comparison in family])
    floors = holm([_floor(comparison) for comparison in family])
    return [
        dataclasses.replace(
            comparison,
            confirmatory=confirmatory,
            family=len(family),
            complete=complete,
            p_holm=None if comparison.p is None else p,
            floor_holm=None if comparison.floor is None else floor,
        )
        for comparison, p, floor in zip(family, p_values, floors, strict=True)
    ]


def _floor(comparison: Comparison) -> float:
    """The least p that a comparison can give, or could give with all planned seeds; 0 where nothing is known of it."""
    if comparison.floor is not None or comparison.pairing is None:
        return comparison.floor or 0.0
    return least_p([1.0] * comparison.wanted) if comparison.wanted else 1.0
