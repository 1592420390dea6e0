"""What goes beside a comparison."""

from __future__ import annotations

import numpy as np
import pytest

from study.results.evidence import ensembles, evidence
from study.results.mcnemar import mid_p
from study.results.superiority import unbiased_effect_size

THAN = {0: 0.70, 1: 0.71, 2: 0.69, 3: 0.72, 4: 0.70}
BY = (0.01, 0.02, 0.0, -0.005, 0.015)
FIRST = {seed: value + by for (seed, value), by in zip(THAN.items(), BY, strict=True)}


def test_paired_evidence_is_over_the_shared_seeds() -> None:
    found = evidence(FIRST | {9: 0.1}, THAN, paired=True, decisive=False, tests=3, margin=0.01)
    assert found.superiority is not None
    assert found.superiority.probability == (3 + 0.5) / 5
    assert found.effect_size_unbiased == pytest.approx(unbiased_effect_size(BY))
    assert found.conclusion is not None
    assert (found.conclusion.verdict, found.conclusion.margin) == ("undecided", 0.01)


def test_unpaired_evidence_and_none_at_all() -> None:
    found = evidence(FIRST, {seed + 10: value for seed, value in THAN.items()}, paired=False, decisive=False, tests=1)
    assert found.superiority is not None
    assert (found.superiority.method, found.effect_size_unbiased, found.conclusion) == ("brunner_munzel", None, None)
    nothing = evidence({}, THAN, paired=True, decisive=False, tests=1)
    assert (nothing.superiority, nothing.effect_size_unbiased, nothing.conclusion) == (None, None, None)


def test_ensembles_are_of_the_seeds_of_both() -> None:
    labels = np.array([0, 1, 1, 0])
    right = dict.fromkeys(range(3), labels)
    wrong = dict.fromkeys(range(1, 4), 1 - labels)
    found = ensembles(right, wrong, labels, 2)
    assert found is not None
    assert (found.seeds, found.only_first, found.p) == (2, 4, mid_p(4, 0))
    assert ensembles(right, {9: labels}, labels, 2) is None
    assert ensembles(right, wrong, labels[:3], 2) is None
