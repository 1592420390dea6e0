"""All that two rows of one encoder, dataset and objective allow to say beside their test: plain data for `compare`."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from study.results.equivalence import NO_LIMITS, Conclusion, Limits, conclusion
from study.results.mcnemar import SecondLook, second_look
from study.results.power import LEVEL
from study.results.superiority import (
    Superiority,
    paired_superiority,
    unbiased_effect_size,
    unpaired_superiority,
)

Predicted = Mapping[int, NDArray[np.integer]]  # seed -> predicted class of each test text


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """What goes beside a comparison. What cannot be said is None."""

    superiority: Superiority | None  # P(first > second)
    effect_size_unbiased: float | None  # d_z with Hedges' correction; None if unpaired
    conclusion: Conclusion | None  # better, worse, equivalent or undecided; None if unpaired, or without a pair


def evidence(
    first: Mapping[int, float],
    second: Mapping[int, float],
    *,
    paired: bool,
    decisive: bool,
    tests: int,
    margin: float | None = None,
    level: float = LEVEL,
    power: float = 0.8,
    limits: Limits = NO_LIMITS,
) -> Evidence:
    """From the test values of both rows by seed, fractions.

    `paired`: whether a seed ties them. `decisive`: the verdict of the comparison. `tests`: planned tests of its family.
    `margin`: largest difference that does not matter, fraction; None: nobody named one. `limits`: what no number of
    seeds lowers.
    """
    if not paired:
        one = unpaired_superiority(list(first.values()), list(second.values()))
        return Evidence(superiority=one, effect_size_unbiased=None, conclusion=None)
    seeds = [seed for seed in first if seed in second]
    differences = [first[seed] - second[seed] for seed in seeds]
    concluded = None
    if seeds:
        concluded = conclusion(
            difference=statistics.mean(differences),
            std=statistics.stdev(differences) if len(seeds) > 1 else None,
            n=len(seeds),
            decisive=decisive,
            alpha=level / tests,
            margin=margin,
            level=level,
            power=power,
            limits=limits,
        )
    return Evidence(
        superiority=paired_superiority([first[seed] for seed in seeds], [second[seed] for seed in seeds]),
        effect_size_unbiased=unbiased_effect_size(differences) if seeds else None,
        conclusion=concluded,
    )


def ensembles(first: Predicted, second: Predicted, labels: NDArray[np.integer], num_classes: int) -> SecondLook | None:
    """The votes of both rows over the seeds that both have, on the test set with these labels; None without any.

    None as well where a prediction is of another number of texts than there are labels.
    """
    seeds = sorted(first.keys() & second.keys())
    if not seeds or any(len(side[seed]) != len(labels) for side in (first, second) for seed in seeds):
        return None
    one, other = (np.array([side[seed] for seed in seeds]) for side in (first, second))
    return second_look(one, other, labels, num_classes)
