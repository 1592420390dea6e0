"""The interval over resampled splits: its formula, and that it covers where differences are correlated."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
import scipy.stats

from study.results.paired import named_generator
from study.results.resampled import resampled_interval
from study.results.spread import t_interval


@pytest.mark.parametrize("ratio", [0.0, 1 / 9, 0.5])
@pytest.mark.parametrize("differences", [[0.01, -0.02], [0.03, 0.01, 0.02, 0.05, -0.01]])
def test_it_follows_the_formula(differences: list[float], ratio: float) -> None:
    n, error = len(differences), np.std(differences, ddof=1) * math.sqrt(1 / len(differences) + ratio)
    expected = scipy.stats.t.interval(0.95, n - 1, loc=np.mean(differences), scale=error)
    assert resampled_interval(differences, ratio) == pytest.approx(expected, rel=1e-12)


def test_without_overlap_it_is_the_t_interval() -> None:
    values = [0.01, 0.04, 0.02]
    plain = t_interval(statistics.mean(values), statistics.stdev(values), 3)
    assert resampled_interval(values, 0.0) == pytest.approx(plain)


def test_it_covers_where_splits_share_texts_and_the_t_interval_does_not() -> None:
    """Differences of any two splits have the correlation r = ratio / (1 + ratio), as Nadeau and Bengio take it.

    2000 draws: a standard deviation of .0049, five of which are .025.
    """
    ratio, n, generator = 1 / 9, 10, named_generator("overlapping splits")
    shared = ratio / (1 + ratio)
    covered = {"resampled": 0, "t": 0}
    for _ in range(2000):
        common, own = generator.normal(), generator.normal(size=n)
        values = (math.sqrt(shared) * common + math.sqrt(1 - shared) * own).tolist()
        low, high = resampled_interval(values, ratio)
        covered["resampled"] += low <= 0 <= high
        low, high = t_interval(statistics.mean(values), statistics.stdev(values), n)
        covered["t"] += low <= 0 <= high
    assert covered["resampled"] / 2000 == pytest.approx(0.95, abs=0.025)
    assert covered["t"] / 2000 < 0.9
