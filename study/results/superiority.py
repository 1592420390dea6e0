"""How often one row beats another: P(A > B) over seeds with its interval, and d_z without its bias. Numbers only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from study.results.paired import TIE, effect_size
from study.results.spread import CONFIDENCE


class Superiority(NamedTuple):
    """P(A > B) + P(A = B) / 2: .5 if no side is better."""

    probability: float  # in [0, 1]
    low: float | None  # ends of the 95 % interval; None if these seeds cannot give one
    high: float | None
    method: Literal["clopper_pearson", "brunner_munzel"]


def paired_superiority(first: Sequence[float], second: Sequence[float]) -> Superiority | None:
    """Of a pair with the same seed: the share of pairs that the first side wins, a tie counting half; None for none.

    The interval is the exact one of a binomial share (Clopper and Pearson 1934), with half a success for a tie. It
    covers the true value at least 95 % of the time; a tie varies less than a win, so ties make it wider than needed.
    """
    from scipy.special import betaincinv

    differences = [a - b for a, b in zip(first, second, strict=True)]
    n = len(differences)
    if not n:
        return None
    won = sum((d > TIE) + 0.5 * (abs(d) <= TIE) for d in differences)
    tail = (1 - CONFIDENCE) / 2
    low = float(betaincinv(won, n - won + 1, tail)) if won > 0 else 0.0
    high = float(betaincinv(won + 1, n - won, 1 - tail)) if won < n else 1.0
    return Superiority(won / n, low, high, "clopper_pearson")


def unpaired_superiority(first: Sequence[float], second: Sequence[float]) -> Superiority | None:
    """Of any two seeds: the Mann-Whitney share of pairs that the first side wins, a tie counting half; None for none.

    The interval is that of Brunner and Munzel (2000): standard errors of the two sides' mean placements, a t quantile
    with their degrees of freedom, cut to [0, 1]. None with fewer than two values on a side, or if no placement varies.
    """
    import numpy as np
    from scipy.special import stdtrit

    if not first or not second:
        return None
    apart = np.subtract.outer(np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64))
    won = (apart > TIE) + 0.5 * (np.abs(apart) <= TIE)
    share = float(won.mean())
    nothing = Superiority(share, None, None, "brunner_munzel")
    if min(won.shape) < 2:
        return nothing
    parts = [float(np.var(won.mean(axis=1 - side), ddof=1)) / won.shape[side] for side in (0, 1)]
    if sum(parts) <= TIE**2:
        return nothing
    degrees = sum(parts) ** 2 / sum(part**2 / (count - 1) for part, count in zip(parts, won.shape, strict=True))
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * math.sqrt(sum(parts))
    return Superiority(share, max(0.0, share - half), min(1.0, share + half), "brunner_munzel")


def unbiased_effect_size(differences: Sequence[float]) -> float | None:
    """d_z times Hedges' exact correction; None for fewer than three differences, and if they do not vary.

    J = Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)) with m = n - 1 (Hedges 1981, eq. 6e): E[J d_z] is the true
    effect under normal differences. J is 0.72 for n = 4 and 0.91 for n = 10.
    """
    from scipy.special import gammaln

    found, degrees = effect_size(differences), len(differences) - 1
    if found is None or degrees < 2:
        return None
    return found * math.exp(float(gammaln(degrees / 2) - gammaln((degrees - 1) / 2))) / math.sqrt(degrees / 2)
