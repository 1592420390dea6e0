"""How small a true difference some seeds can decide: power of the sign-flip test and of the t test. Numbers only.

Paired differences are taken as normal, and an effect is their true mean over their standard deviation. A test decides
where its two-sided p is below `alpha` and the observed difference has the sign of the true one: a verdict for the wrong
row is no power. `alpha` is the level after adjustment; in the worst case of Holm's method over M tests it is level / M.

The sign-flip test is simulated exactly, without a loop over flips. Of the 2^n ways to flip, those whose sum is at least
the observed one are the subsets A of pairs whose flipped differences sum to at most 0, and p is 2 #A / 2^n (Hartigan
1969 builds intervals from the same subsets). With differences e + Z_i that is sum over A of (W_i - e) >= 0 for W = -Z,
so that p falls as e grows: each drawn Z has one effect above which the test decides. The subsets are counted as pairs
of subsets of two halves, by sorting one of them (about n 2^(n/2) steps in the place of 2^n).
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.results.paired import EXACT_PAIRS, FLIPS, named_generator
from study.results.spread import CONFIDENCE

LEVEL = 0.05  # of all tests of a family together
POWER_DRAWS = 4000  # simulated studies; standard error of a power of .8: 0.006
MOST_SEEDS = 1000  # that are looked at for a wanted difference
EFFECT_WIDTH = 1e-4  # relative width at which a search for an effect ends, far below what POWER_DRAWS can tell apart


class Draws(NamedTuple):
    """Simulated studies of n seeds, without an effect and with standard deviation 1."""

    halves: tuple[NDArray[np.float64], NDArray[np.float64]]  # [D, 2^h] sums over the subsets of each half of the pairs
    counts: tuple[NDArray[np.float64], NDArray[np.float64]]  # [2^h] pairs in each of these subsets
    least: NDArray[np.float64]  # [D] the effect above which the t interval excludes zero


def t_power(effect: float, n: int, *, alpha: float) -> float:
    """Share of studies of `n` seeds that decide a true `effect` (mean over deviation) above 0 with the paired t test.

    Decided means what `compare` calls so: p below `alpha`, and a 95 % t interval of the difference above zero. In
    closed form: P(T' > t(1 - alpha/2; n - 1)), noncentral t. T' has n - 1 degrees of freedom and
    noncentrality effect sqrt(n). n >= 2.
    """
    from scipy.special import nctdtr, stdtrit

    bar = float(stdtrit(n - 1, 1 - min(alpha, 1 - CONFIDENCE) / 2))
    below = float(nctdtr(n - 1, effect * math.sqrt(n), bar))
    return 1.0 if math.isnan(below) else 1 - below  # scipy gives nan for some of the probabilities that underflow


@lru_cache(maxsize=256)
def smallest_effect(n: int, *, alpha: float, power: float = 0.8, draws: int = POWER_DRAWS) -> float | None:
    """The least true effect that `n` seeds decide with probability `power`; None if they can decide nothing.

    Up to EXACT_PAIRS seeds by simulation of the sign-flip test, above by the closed form of the t test, whose power
    that of the sign-flip test then matches (tests show it at EXACT_PAIRS).
    """
    if n < 2 or _floor(n) >= alpha:
        return None
    if n > EXACT_PAIRS:
        return _smallest_t_effect(n, alpha, power)
    drawn, allowed = _drawn(n, draws), _allowed(n, alpha)
    # The answer is the k-th smallest of the studies' own least effects. Bisection, in which a study is looked at only
    # as long as its least effect may lie in the bracket that is left.
    rank = math.ceil(power * draws)
    open_draws, below = np.arange(draws), 0
    low, high = 0.0, 8 / math.sqrt(n)
    while not _enough(drawn, high, allowed, rank):
        low, high = high, 2 * high
    effect = _smallest_t_effect(n, alpha, power)  # a good first guess
    while high - low > EFFECT_WIDTH * high:
        if not low < effect < high:
            effect = (low + high) / 2
        decided = _decides(drawn, effect, allowed, open_draws)
        if below + int(decided.sum()) >= rank:
            high, open_draws = effect, open_draws[decided]
        else:
            low, below, open_draws = effect, below + int(decided.sum()), open_draws[~decided]
        effect = (low + high) / 2
    return high


def seeds_needed(effect: float, *, alpha: float, power: float = 0.8, most: int = MOST_SEEDS) -> int | None:
    """The fewest seeds that decide a true `effect` of either sign with probability `power`; None if above `most`."""
    wanted = abs(effect)
    if not wanted > 0:
        return None
    by_floor, by_t = least_seeds(alpha), _least_t_seeds(wanted, alpha, power, most + 1)
    if by_floor is None:
        return None
    # no unbiased test needs fewer seeds than the t test; one less is looked at because of the draws
    for n in range(max(by_floor, by_t - 1), min(EXACT_PAIRS, most) + 1):
        found = smallest_effect(n, alpha=alpha, power=power)
        if found is not None and found <= wanted:
            return n
    n = max(by_t, by_floor, EXACT_PAIRS + 1)
    return n if n <= most else None


def least_seeds(alpha: float) -> int | None:
    """The fewest seeds whose least p lies below `alpha`; None if no number of them reaches it."""
    return next((n for n in range(2, EXACT_PAIRS + 2) if _floor(n) < alpha), None)


def _floor(n: int) -> float:
    """The least p that the flips of n differences can give, none of which is zero."""
    return 2 / 2**n if n <= EXACT_PAIRS else 1 / (1 + FLIPS)


def _allowed(n: int, alpha: float) -> int:
    """Of the 2^n flips, half of those that may reach the observed mean so that p is still below `alpha`."""
    return math.ceil(alpha * 2 ** (n - 1) * (1 - 1e-12)) - 1


@lru_cache(maxsize=8)
def _drawn(n: int, draws: int) -> Draws:
    from scipy.special import stdtrit

    values = named_generator("power", n, draws).standard_normal((draws, n))
    mean, std = values.mean(axis=1), values.std(axis=1, ddof=1)
    # with W = -Z the mean of the study is effect - mean(W)
    least = mean + float(stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * std / math.sqrt(n)
    cut = n // 2
    (first, one), (second, two) = _subsets(values[:, :cut]), _subsets(values[:, cut:])
    return Draws((first, second), (one, two), least)


def _subsets(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum over each subset of the columns of `values` [D, h] -> [D, 2^h], and how many columns each has [2^h]."""
    sums, counts = np.zeros((len(values), 1)), np.zeros(1)
    for column in values.T:
        sums = np.concatenate([sums, sums + column[:, None]], axis=1)
        counts = np.concatenate([counts, counts + 1])
    return sums, counts


def _decides(drawn: Draws, effect: float, allowed: int, which: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which of the studies `which` decide that effect: at most `allowed` subsets A with sum over A of (W - e) >= 0."""
    decided = effect > drawn.least[which]
    still = np.flatnonzero(decided)
    queries, sorted_sums = (
        half[which[still]] - effect * counts for half, counts in zip(drawn.halves, drawn.counts, strict=True)
    )
    sorted_sums.sort(axis=1)
    queries *= -1
    queries.sort(axis=1)  # sorted queries are found several times faster
    for place, sums, bars in zip(still, sorted_sums, queries, strict=True):
        decided[place] = sums.size * bars.size - int(np.searchsorted(sums, bars).sum()) <= allowed
    return decided


def _enough(drawn: Draws, effect: float, allowed: int, rank: int) -> bool:
    """Whether `rank` studies decide that effect."""
    return int(_decides(drawn, effect, allowed, np.arange(len(drawn.least))).sum()) >= rank


def _smallest_t_effect(n: int, alpha: float, power: float) -> float:
    """Bisection of `t_power`, which grows with the effect."""
    low, high = 0.0, 1.0
    while t_power(high, n, alpha=alpha) < power:
        low, high = high, 2 * high
    while high - low > EFFECT_WIDTH * high / 100:
        middle = (low + high) / 2
        low, high = (middle, high) if t_power(middle, n, alpha=alpha) < power else (low, middle)
    return high


def _least_t_seeds(effect: float, alpha: float, power: float, end: int) -> int:
    """The fewest seeds with which the t test has that power, by bisection; `end` if none below it have."""
    low, high = 2, end
    while low < high:
        middle = (low + high) // 2
        if t_power(effect, middle, alpha=alpha) >= power:
            high = middle
        else:
            low = middle + 1
    return low
