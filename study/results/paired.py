"""Two rows of numbers against each other: exact sign-flip test, Holm's adjustment, effect size, Welch. Numbers only.

Values are fractions, so differences lie in [-1, 1]. Nothing here knows what the numbers mean, and nothing is drawn from
a global generator: random streams are named, as in l3masking.rng, but numpy's, so that a laptop without torch repeats
them.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.results.spread import CONFIDENCE

EXACT_PAIRS = 20  # up to here every one of the 2^n flips is looked at: about a million
FLIPS = 100_000  # drawn above that
TABLE_PAIRS = 16  # pairs whose flips are drawn as one number, from a table of their 2^16 sums
TIE = 1e-12  # sums of fractions that are equal on paper differ by less, whatever their order; one text differs by more


class SignFlip(NamedTuple):
    """What a sign-flip test says."""

    p: float  # two-sided, in (0, 1]
    exact: bool  # False: a sample of the flips, drawn from a named stream
    flips: int  # looked at


class Welch(NamedTuple):
    """An unpaired difference of two means."""

    low: float  # ends of the 95 % interval
    high: float
    p: float | None  # two-sided; None if neither side varies


def named_generator(*names: str | int) -> np.random.Generator:
    """A fresh numpy generator that is a function of its names alone (SHA-256), in any process and on any machine."""
    text = "\x1f".join(f"{type(name).__name__}:{name}" for name in names)
    return np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "big"))


def sign_flip(differences: Sequence[float], *, flips: int = FLIPS) -> SignFlip:
    """Two-sided test of paired differences being symmetric about zero: the permutation test of pairs (Fisher 1935).

    Of all 2^n ways to swap the sides of pairs, p is the share whose absolute mean difference is at least the observed
    one. `differences`: n >= 1 numbers. Above EXACT_PAIRS, `flips` of them are drawn, and the observed one counts as
    one more, so that p is never 0 (Phipson and Smyth 2010).
    """
    values = np.asarray(differences, dtype=np.float64)
    least = abs(float(values.sum())) - TIE
    if len(values) <= EXACT_PAIRS:
        sums = values[0] + _flipped(values[1:])  # the other half mirrors these
        return SignFlip(float(np.mean(np.abs(sums) >= least)), True, 2 * len(sums))
    generator = named_generator("sign flips", len(values), flips)
    total = np.zeros(flips)
    for start in range(0, len(values), TABLE_PAIRS):
        table = _flipped(values[start : start + TABLE_PAIRS])
        total += table[generator.integers(0, len(table), size=flips)]
    return SignFlip(float((1 + np.count_nonzero(np.abs(total) >= least)) / (1 + flips)), False, flips)


def least_p(differences: Sequence[float], *, flips: int = FLIPS) -> float:
    """The smallest p that `sign_flip` can give for differences of these sizes, whatever their signs; n >= 1.

    All signs agree in two of the 2^k flips of the k that are not zero; flipping a zero changes nothing.
    """
    moving = sum(abs(difference) > TIE for difference in differences)
    return max(2 / 2**moving if moving else 1.0, 0.0 if len(differences) <= EXACT_PAIRS else 1 / (1 + flips))


def holm(p_values: Sequence[float]) -> list[float]:
    """p adjusted for the family that is given, in its order (Holm 1979): step-down, in [p, 1]."""
    adjusted, running = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return adjusted


def effect_size(differences: Sequence[float]) -> float | None:
    """Cohen's d_z: mean over sample standard deviation of the paired differences; None if they do not vary."""
    spread = statistics.stdev(differences) if len(differences) > 1 else 0.0
    return statistics.mean(differences) / spread if spread > TIE else None


def welch(mean: float, std: float, n: int, other_mean: float, other_std: float, other_n: int) -> Welch:
    """Interval and test of mean - other_mean from what tables print (Welch 1947); both n >= 2, std with n - 1."""
    from scipy.special import stdtr, stdtrit

    difference, parts = mean - other_mean, (std**2 / n, other_std**2 / other_n)
    error = math.sqrt(sum(parts))
    if error == 0:
        return Welch(difference, difference, None)
    degrees = sum(parts) ** 2 / (parts[0] ** 2 / (n - 1) + parts[1] ** 2 / (other_n - 1))
    half = float(stdtrit(degrees, (1 + CONFIDENCE) / 2)) * error
    return Welch(difference - half, difference + half, float(2 * stdtr(degrees, -abs(difference) / error)))


def standard_error(accuracy: float, texts: int) -> float:
    """Of an accuracy because its test set holds so many texts and no more: sqrt(a (1 - a) / texts)."""
    return math.sqrt(accuracy * (1 - accuracy) / texts)


def _flipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sums of `values` under each of the 2^n choices of signs; [0] for none."""
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums + value, sums - value])
    return sums
