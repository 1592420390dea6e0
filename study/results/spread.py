"""A few numbers, one for each seed, into mean, deviation and interval. Fractions in, fractions out."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

CONFIDENCE = 0.95  # of every interval, two-sided


class Spread(NamedTuple):
    """What the values of some seeds say together. A statistic that they cannot give is None."""

    mean: float | None  # None without a value
    std: float | None  # sample standard deviation (n - 1 in the denominator); None below two values
    low: float | None  # ends of the 95 % t interval of the mean; None below two values
    high: float | None


def spread(values: Iterable[float]) -> Spread:
    """Mean, sample standard deviation and t interval of any number of finite values."""
    taken = list(values)
    mean = mean_of(taken)
    if mean is None or len(taken) < 2:
        return Spread(mean, None, None, None)
    std = statistics.stdev(taken)
    return Spread(mean, std, *t_interval(mean, std, len(taken)))


def mean_of(values: Iterable[float]) -> float | None:
    """The arithmetic mean; None without a value."""
    taken = list(values)
    return statistics.mean(taken) if taken else None  # exact rationals inside: equal values have exactly that mean


def t_interval(mean: float, std: float, n: int) -> tuple[float, float]:
    """mean ± t(0.975; n - 1) · std / √n, the two-sided 95 % interval of a normal mean (Student 1908); n >= 2."""
    half = _t_quantile(n - 1) * std / math.sqrt(n)
    return mean - half, mean + half


@lru_cache
def _t_quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # a third of a second that only an aggregation pays

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
