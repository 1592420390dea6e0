"""How often one row beats another: scipy's test, exact coverage, and the bias of an effect size."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from study.results.superiority import paired_superiority, unbiased_effect_size, unpaired_superiority


@pytest.mark.parametrize("n", [3, 5, 10])
def test_the_paired_interval_is_the_exact_one_and_covers_every_true_value(n: int) -> None:
    intervals = []
    for won in range(n + 1):
        found = paired_superiority([1.0] * won + [0.0] * (n - won), [0.5] * n)
        assert found is not None
        exact = stats.binomtest(won, n).proportion_ci(method="exact")
        assert (found.probability, found.low, found.high) == pytest.approx((won / n, exact.low, exact.high))
        intervals.append(found)
    for true in np.linspace(0.01, 0.99, 99):
        weights = stats.binom.pmf(np.arange(n + 1), n, true)
        assert sum(w for w, i in zip(weights, intervals, strict=True) if i.low <= true <= i.high) >= 0.95


def test_ties_count_half_and_the_interval_still_covers() -> None:
    found = paired_superiority([0.7, 0.8, 0.9, 0.6], [0.7, 0.7, 0.7, 0.7])
    assert found is not None
    assert found.probability == 2.5 / 4
    draws, n = 2000, 10
    kinds = np.random.default_rng(3).choice([1, 0, -1], p=[0.4, 0.3, 0.3], size=(draws, n)).astype(float)
    made = [paired_superiority(row.tolist(), [0.0] * n) for row in kinds]
    covered = np.mean([one is not None and one.low <= 0.55 <= one.high for one in made])  # type: ignore[operator]
    assert covered >= 0.95 - 5 * math.sqrt(0.05 * 0.95 / draws)


def test_nothing_says_nothing() -> None:
    assert paired_superiority([], []) is unpaired_superiority([], [1.0]) is None
    one = unpaired_superiority([1.0], [0.0, 2.0])
    assert one is not None
    assert (one.probability, one.low, one.high) == (0.5, None, None)
    apart = unpaired_superiority([3.0, 4.0], [1.0, 2.0])
    assert apart is not None
    assert (apart.probability, apart.low) == (1.0, None), "no placement varies"


def test_the_unpaired_interval_is_that_of_brunner_and_munzel() -> None:
    draws = np.random.default_rng(4)
    for _ in range(20):
        first, second = draws.normal(0.3, 1, 8).round(1), draws.normal(0, 2, 6).round(1)  # with ties
        found = unpaired_superiority(first.tolist(), second.tolist())
        assert found is not None
        ranks = stats.mannwhitneyu(first, second).statistic / 48
        assert found.probability == pytest.approx(ranks)
        p = stats.brunnermunzel(first, second).pvalue
        inside = found.low < 0.5 < found.high  # type: ignore[operator]
        assert inside == (p > 0.05)


def test_the_unpaired_interval_covers() -> None:
    """P(A > B) = Phi(1 / sqrt(5)) for N(1, 1) against N(0, 4)."""
    true, draws = float(stats.norm.cdf(1 / math.sqrt(5))), 1000
    random = np.random.default_rng(5)
    made = [
        unpaired_superiority(random.normal(1, 1, 15).tolist(), random.normal(0, 2, 15).tolist()) for _ in range(draws)
    ]
    covered = np.mean([one is not None and one.low <= true <= one.high for one in made])  # type: ignore[operator]
    assert covered == pytest.approx(0.94, abs=0.01 + 5 * math.sqrt(0.05 * 0.95 / draws))


@pytest.mark.parametrize("n", [4, 10])
def test_the_corrected_effect_size_has_no_bias(n: int) -> None:
    draws, true = 40_000, 0.8
    rows = np.random.default_rng(6).normal(true, 1, (draws, n))
    plain = rows.mean(axis=1) / rows.std(axis=1, ddof=1)
    factor = unbiased_effect_size(rows[0].tolist()) / plain[0]  # type: ignore[operator]
    assert abs(np.mean(factor * plain) - true) < 5 * factor * plain.std() / math.sqrt(draws)
    assert np.mean(plain) - true > 5 * plain.std() / math.sqrt(draws), "which the plain one has"


def test_the_correction_is_the_known_one() -> None:
    """1 - 3 / (4 m - 1) is Hedges' approximation with m degrees of freedom."""
    rows = [0.1, 0.3, -0.2, 0.5, 0.2, 0.4]
    plain = np.mean(rows) / np.std(rows, ddof=1)
    assert unbiased_effect_size(rows) == pytest.approx(plain * (1 - 3 / (4 * 5 - 1)), rel=0.005)
    assert unbiased_effect_size(rows[:2]) is unbiased_effect_size([0.1, 0.1, 0.1]) is None
