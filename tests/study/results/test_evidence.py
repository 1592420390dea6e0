"""What goes beside a comparison, and the sentence of its conclusion."""

from __future__ import annotations

import numpy as np
import pytest

from study.report.conclusion_words import conclusion_words
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


def said(by: float, std: float = 0.01, decisive: bool = False, margin: float | None = None) -> str:
    values = np.array([-1.0, 1.0] * 5)
    values *= std / values.std(ddof=1)
    first = dict(enumerate((0.7 + by + values).tolist()))
    found = evidence(first, dict.fromkeys(first, 0.7), paired=True, decisive=decisive, tests=1, margin=margin)
    assert found.conclusion is not None
    return conclusion_words(found.conclusion, "L3Masking", "RTM")


def test_the_sentence() -> None:
    assert said(0.03, decisive=True) == "L3Masking is better than RTM."
    assert said(-0.03, decisive=True) == "L3Masking is worse than RTM."
    small = said(0.002, std=0.001, decisive=True, margin=0.01)
    assert small == "L3Masking is better than RTM, and by less than 1.00 points."
    assert said(0.001, std=0.005, margin=0.01) == "L3Masking and RTM are equivalent within 1.00 points."
    plain = said(0.005)
    assert plain.startswith("Undecided between L3Masking and RTM. About ")
    assert plain.endswith(" seeds would decide it if the true difference is the observed one.")
    named = said(0.005, margin=0.006)
    assert "equivalence within 0.60 points is not shown either. About " in named
    assert "would decide a difference of 0.60 points, or show that none is." in named
    assert said(0.0) == "Undecided between L3Masking and RTM."
