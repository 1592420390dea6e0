"""No difference larger than a margin: two one-sided t tests on paired differences, and what a comparison allows to say.

Numbers only: means, deviations and margins are fractions, and nothing here knows what they measure.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

from study.results.paired import TIE
from study.results.power import MOST_SEEDS, seeds_needed
from study.results.spread import CONFIDENCE

NODES = 2000  # of the integral over the sample deviation: the error of a power is below 0.001
Concluded = Literal["better", "worse", "equivalent", "undecided"]


class Equivalence(NamedTuple):
    """Two one-sided tests of a difference lying within -margin and margin."""

    p: float  # the larger of the two one-sided p values
    low: float  # ends of the interval that lies within the margin exactly where p is below the level
    high: float


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """What a difference allows to say."""

    verdict: Concluded  # of the first row; equivalent: decisively no difference as large as the margin
    margin: float | None  # fraction, above 0; None if nobody named one
    p_equivalence: float | None  # of the two one-sided tests; None without a margin or a deviation
    within: bool  # equivalence was shown, whether or not there is a difference
    seeds: int | None  # that would decide; None if it is decided, if nobody can tell, or if MOST_SEEDS would not
    assumed: float | None  # true difference for which `seeds` are enough: the margin, else the observed one; fraction


class Limits(NamedTuple):
    """What more seeds do not lower, parts of the squared half width of the interval that must leave zero out."""

    texts: float = 0.0  # that of the test texts, fraction squared
    ratio: float = 0.0  # test texts over training texts where each seed has its own splits, as in `tost`


NO_LIMITS = Limits()


def tost(
    mean: float, std: float, n: int, margin: float, *, level: float = 0.05, ratio: float = 0.0
) -> Equivalence | None:
    """Two one-sided t tests (Schuirmann 1987) of |true difference| < margin, on n paired differences.

    `mean` and `std`: of the differences, std with n - 1; `margin` above 0. p below `level` shows equivalence. The
    interval has the confidence 1 - 2 level. None for fewer than two differences, and for differences that do not vary,
    which tell nothing of how far others would lie apart. `ratio`: test texts over training texts where each seed has
    its own splits, whose differences are not independent (study.results.resampled).
    """
    from scipy.special import stdtr, stdtrit

    if n < 2 or std <= TIE:
        return None
    error = std * math.sqrt(1 / n + ratio)
    p = max(float(stdtr(n - 1, (mean - margin) / error)), float(stdtr(n - 1, -(mean + margin) / error)))
    half = float(stdtrit(n - 1, 1 - level)) * error
    return Equivalence(p, mean - half, mean + half)


def tost_power(margin: float, n: int, *, effect: float = 0.0, level: float = 0.05) -> float:
    """Probability that `tost` shows equivalence; `margin` and the true `effect` in units of the deviation, n >= 2.

    With the sample deviation s, whose square times n - 1 is chi-square, both tests reject where the mean lies within
    margin - t s / sqrt(n) of zero: the probability of that, averaged over equally likely values of s.
    """
    import numpy as np
    from scipy.special import chdtri, ndtr, stdtrit

    upper = (np.arange(NODES) + 0.5) / NODES
    deviation = np.sqrt(chdtri(n - 1, upper) / (n - 1))
    kept = float(stdtrit(n - 1, 1 - level)) * deviation
    high, low = math.sqrt(n) * (margin - effect) - kept, -math.sqrt(n) * (margin + effect) + kept
    return float(np.mean(np.maximum(0.0, ndtr(high) - ndtr(low))))


def seeds_for_equivalence(
    margin: float, *, level: float = 0.05, power: float = 0.8, most: int = MOST_SEEDS
) -> int | None:
    """The fewest seeds that show equivalence with probability `power` if there is no difference; None above `most`.

    `margin`: in units of the deviation, above 0.
    """
    low, high = 2, most + 1
    while low < high:
        middle = (low + high) // 2
        if tost_power(margin, middle, level=level) >= power:
            high = middle
        else:
            low = middle + 1
    return low if low <= most else None


def seeds_within(
    assumed: float,
    std: float,
    limits: Limits,
    *,
    least: int = 2,
    power: float = 0.8,
    most: int = MOST_SEEDS,
) -> int | None:
    """The fewest seeds, `least` and up, whose interval over seeds and texts leaves zero out; None above `most`.

    With probability `power` over the seeds, on these test texts, where the mean over all seeds is `assumed` there: the
    half width, sqrt(t(n-1)² std² (1/n + ratio) + texts), and the normal quantile of `power` times the standard error
    of the mean must not exceed it together.
    """
    from scipy.special import ndtri, stdtrit

    def enough(n: int) -> bool:
        variance = std**2 * (1 / n + limits.ratio)
        half = math.sqrt(float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) ** 2 * variance + limits.texts)
        return half + float(ndtri(power)) * math.sqrt(variance) <= assumed

    low, high = least, most + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle + 1, high)
    return low if low <= most else None


def conclusion(
    *,
    difference: float,
    std: float | None,
    n: int,
    decisive: bool,
    alpha: float,
    margin: float | None = None,
    level: float = 0.05,
    power: float = 0.8,
    limits: Limits = NO_LIMITS,
) -> Conclusion:
    """What `n` paired differences with this mean and deviation allow to say of the first row.

    `decisive`: what the comparison says of the difference. `alpha`: level of the difference test after adjustment,
    level / planned tests in the worst case. An undecided comparison with a margin needs as many seeds as find a true
    difference of the margin, and as many as show equivalence if there is none; without a margin, as many as find a true
    difference of the observed size, which is itself uncertain. Where `limits` keep any number of seeds from it,
    `seeds` is None.
    """
    shown = None
    if margin is not None and std is not None:
        shown = tost(difference, std, n, margin, level=level, ratio=limits.ratio)
    within = shown is not None and shown.p < level
    p = None if shown is None else shown.p
    if decisive or within:
        verdict: Concluded = ("better" if difference > 0 else "worse") if decisive else "equivalent"
        return Conclusion(verdict=verdict, margin=margin, p_equivalence=p, within=within, seeds=None, assumed=None)
    seeds, assumed = None, margin if margin is not None else abs(difference)
    if std is not None and std > TIE and assumed > TIE:
        seeds = seeds_needed(assumed / std, alpha=alpha, power=power)
        if seeds is not None and any(limits):
            seeds = seeds_within(assumed, std, limits, least=seeds, power=power)
        if margin is not None and seeds is not None:
            other = seeds_for_equivalence(margin / std, level=level, power=power)
            seeds = None if other is None else max(seeds, other)
    return Conclusion(
        verdict="undecided",
        margin=margin,
        p_equivalence=p,
        within=False,
        seeds=seeds,
        assumed=assumed if seeds is not None else None,
    )
