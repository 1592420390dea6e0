"""Comparisons with what else their numbers allow to say: P(A > B), equivalence, seeds to decide, a second look."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from study.results.aggregate import Cell, CellKey
from study.results.comparison import Comparison, Side
from study.results.evidence import ensembles, evidence
from study.results.texts import Predictions, Truth
from study.results.verdicts import LEVEL, verdict

CONCLUDED = ("decisive", "undecided")  # verdicts beside which a conclusion says more; the others give their own reason


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
    known = {cell.key: cell for cell in cells}
    return [_weighed(entry, known, predictions, truths.get(entry.dataset), margin) for entry in comparisons]


def _weighed(
    entry: Comparison,
    cells: Mapping[CellKey, Cell],
    predictions: Predictions,
    truth: Truth | None,
    margin: float | None,
) -> Comparison:
    first, second = (_key(entry, side) for side in (entry.first, entry.second))
    found, told = verdict(entry), dict[str, Any]()
    if not entry.n:
        return entry
    weight = evidence(
        cells[first].values,
        cells[second].values,
        paired=True,
        decisive=found == "decisive",
        tests=max(1, entry.family),
        margin=margin,
        level=LEVEL,
    )
    if weight.superiority is not None:
        share = weight.superiority
        told |= {"superiority": share.probability, "superiority_low": share.low, "superiority_high": share.high}
    told |= {"effect_size_unbiased": weight.effect_size_unbiased, "margin": margin}
    if weight.conclusion is not None:
        told["p_equivalence"] = weight.conclusion.p_equivalence
        if found in CONCLUDED:
            own = weight.conclusion
            told |= {"conclusion": own.verdict, "seeds_needed": own.seeds, "assumed": own.assumed}
    if truth is not None:
        look = ensembles(predictions.get(first, {}), predictions.get(second, {}), truth.labels, truth.num_classes)
        if look is not None:
            told |= {"only_first": look.only_first, "only_second": look.only_second, "p_mcnemar": look.p}
    return dataclasses.replace(entry, **told)


def _key(entry: Comparison, side: Side) -> CellKey:
    return CellKey(entry.encoder, entry.dataset, side.method, side.variant, side.mask_mean, entry.objective)
