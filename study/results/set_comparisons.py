"""Rows of a study against each other on evaluation sets: by the values on a set, and by the generalisation gaps.

The questions are those of the test split. All comparisons on sets are exploratory and one family of their own over the
whole study: every question, objective and set, values and gaps. So a further set changes no number on the test split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from study.results.aggregate import Cell
from study.results.compare import (
    Budgets,
    all_of,
    answers_to_all,
    over,
    paired,
    pairing,
    questions,
    rivals,
    searched,
)
from study.results.comparison import Comparison, Pairing, Question
from study.results.families import DeclaredFamily, adjusted
from study.results.spread import spread

Measure = Literal["value", "gap"]
MEASURES: tuple[Measure, ...] = ("value", "gap")  # the order in which they are shown


@dataclass(frozen=True, kw_only=True)
class SetComparison(Comparison):
    """A comparison on an evaluation set. `test_texts` and `standard_error` are those of the set; None for a gap."""

    evaluation: str  # name of the evaluation set
    measure: Measure  # what is compared: the value on the set, or the test value minus it


def compare_sets(
    cells: Sequence[Cell],
    asked: Iterable[Question] | None = None,
    *,
    family: DeclaredFamily | None = None,
    reordered: Collection[str] = (),
    budgets: Budgets | None = None,
) -> list[SetComparison]:
    """The comparisons on evaluation sets, with the arguments of `compare`; empty where no dataset has such sets.

    A pair of seeds counts where both records have the set. A cell of the plan without a record counts in the family:
    its dataset has the sets that other cells of it have.
    """
    sets: dict[str, dict[str, None]] = {}
    for cell in cells:
        sets.setdefault(cell.dataset, {}).update(dict.fromkeys(cell.evaluations))
    known, found = questions(cells, family=family), []
    wanted = known if asked is None else list(asked)
    for question in all_of(known, wanted):
        pairs = pairing(question, reordered)
        for rows in rivals(cells, question).values():
            shared = [(*row, name) for row in rows for name in sets[row[0].dataset]]
            for measure in MEASURES:
                found += [_on_set(*entry, measure, str(question), pairs) for entry in shared]
    made = adjusted(searched(found, budgets or {}))
    return answers_to_all(wanted, made)


def measured(cell: Cell, name: str, measure: Measure) -> Cell:
    """The cell with its values on an evaluation set, or its gaps, in the place of its test values; none without it."""
    on_set = cell.evaluations.get(name)
    values = {} if on_set is None else on_set.values if measure == "value" else on_set.gaps
    mean, std, low, high = spread(values.values())
    return dataclasses.replace(
        cell,
        n=len(values),
        mean=mean,
        std=std,
        ci_low=low,
        ci_high=high,
        values=values,
        test_texts=on_set.texts if on_set is not None and measure == "value" else None,
        evaluations={},
    )


def _on_set(first: Cell, second: Cell, name: str, measure: Measure, question: str, pairs: Pairing) -> SetComparison:
    made = paired(measured(first, name, measure), measured(second, name, measure), question, pairs)
    fields: dict[str, Any] = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    fields["finished"] = over(first) and over(second)  # a seed that has run and lacks the set will not get it
    fields |= {"joint_low": None, "joint_high": None}  # the texts of a set are the same where splits are cut anew
    return SetComparison(**fields, evaluation=name, measure=measure)
