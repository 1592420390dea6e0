"""Comparisons with what else their numbers allow to say: P(A > B), equivalence, seeds to decide, a second look."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.results.aggregate import Cell, CellKey
from study.results.comparison import Comparison, compared_cell
from study.results.equivalence import Limits
from study.results.evidence import ensembles, evidence
from study.results.texts import Predictions, Truth
from study.results.verdicts import LEVEL, equally_searched, verdict

CONCLUDED = ("decisive", "undecided")  # verdicts beside which a conclusion says more; the others give their own reason
POWER = 0.8  # of the seeds that are named


def weighed(
    comparisons: Iterable[Comparison],
    cells: Sequence[Cell],
    predictions: Predictions,
    truths: Mapping[str, Truth],
    margin: float | None = None,
) -> list[Comparison]:
    """Comparisons within a study, as they stand after their adjustment and their intervals.

    `predictions` and `truths` of the test split, by cell and by dataset: where both are known, the ensembles of the
    seeds are held against each other. `margin`: largest difference that does not matter, fraction; None: nobody named
    one.
    """
    known, found = {cell.key: cell for cell in cells}, list(comparisons)
    asked = Counter((entry.question, entry.objective) for entry in found)
    return [
        _weighed(
            entry,
            known,
            predictions,
            truths.get(entry.dataset),
            margin,
            # what is exploratory is decided by another study, which declares this question alone
            entry.family if entry.confirmatory else asked[entry.question, entry.objective],
        )
        for entry in found
    ]


def _weighed(
    entry: Comparison,
    cells: Mapping[CellKey, Cell],
    predictions: Predictions,
    truth: Truth | None,
    margin: float | None,
    tests: int,
) -> Comparison:
    first, second = (compared_cell(entry, side) for side in (entry.first, entry.second))
    found, told = verdict(entry), dict[str, Any]()
    if not entry.n:
        return entry
    weight = evidence(
        cells[first].values,
        cells[second].values,
        paired=True,
        decisive=found == "decisive",
        tests=max(1, tests),
        margin=margin,
        level=LEVEL,
        power=POWER,
        limits=Limits(texts_part(entry), cells[first].resampled or 0.0),
    )
    if weight.superiority is not None:
        share = weight.superiority
        told |= {"superiority": share.probability, "superiority_low": share.low, "superiority_high": share.high}
    told |= {"effect_size_unbiased": weight.effect_size_unbiased, "margin": margin}
    if weight.conclusion is not None:
        told["p_equivalence"] = weight.conclusion.p_equivalence
        if found in CONCLUDED and equally_searched(entry):
            own = weight.conclusion
            told |= {"conclusion": own.verdict, "seeds_needed": own.seeds, "assumed": own.assumed}
            if margin is None and entry.confirmatory and own.seeds is not None and own.seeds <= entry.n:
                # as many as there are: the differences are not as the estimate takes them, normal and without ties
                told |= {"seeds_needed": None, "assumed": None}
    if truth is not None:
        look = ensembles(predictions.get(first, {}), predictions.get(second, {}), truth.labels, truth.num_classes)
        if look is not None:
            told |= {"only_first": look.only_first, "only_second": look.only_second, "p_mcnemar": look.p}
    return dataclasses.replace(entry, **told)


def texts_part(entry: Comparison) -> float:
    """What the test texts add to the squared half width of the interval over seeds, fraction squared; 0 if not known.

    No number of seeds lowers it.
    """
    if entry.joint_low is None or entry.joint_high is None or entry.ci_low is None or entry.ci_high is None:
        return 0.0
    return max(0.0, (entry.joint_high - entry.joint_low) ** 2 - (entry.ci_high - entry.ci_low) ** 2) / 4
