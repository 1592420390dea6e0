"""From token pseudo-likelihoods to mask probabilities with exactly the wanted mean. Numbers only: no text, no torch."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from l3masking.errors import InputError, check_choice

TokenWeighting = Literal["complement", "surprisal"]  # 1 - PLT, or -ln PLT
Redistribution = Literal["equal", "none"]  # what exceeds 1: shared by the others, or lost
TOKEN_WEIGHTINGS: tuple[TokenWeighting, ...] = get_args(TokenWeighting)
REDISTRIBUTIONS: tuple[Redistribution, ...] = get_args(Redistribution)


def mask_probabilities(
    likelihood: ArrayLike,
    *,
    mean: float,
    weighting: TokenWeighting = "complement",
    redistribute: Redistribution = "equal",
    floor: float = 0.0,
) -> NDArray[np.float64]:
    """Mask probability of each eligible token of ONE text (L3Masking, Kimura et al. 2024, Eq. 3 and 4).

    With weights c_i = 1 - PLT_i ("complement") or -ln PLT_i ("surprisal", what the released code does in effect):
    m_i = min(1, alpha c_i + lam), alpha = n mean / sum(c), and lam >= 0 the one number that brings the sum back to
    n mean after capping ("equal": the part above 1 is shared equally by all other tokens, in closed form).
    "none" cuts at 1 and lets the mean fall. All weights zero: uniform, the only symmetric answer.

    likelihood: [n], in [0, 1]. mean: wanted average, in [0, 1]. floor: least probability of any token, in [0, mean].
    Returns [n] float64 in [floor, 1]; empty for n = 0. Raises InputError on values outside these ranges.
    """
    return calibrate(token_weights(likelihood, weighting), mean=mean, redistribute=redistribute, floor=floor)


def token_weights(likelihood: ArrayLike, weighting: TokenWeighting = "complement") -> NDArray[np.float64]:
    """Weight [n] of each token from its likelihood [n] in [0, 1]: 1 - PLT, or -ln PLT. InputError outside the range."""
    values = np.asarray(likelihood, dtype=np.float64)
    if values.ndim != 1:
        raise InputError(f"likelihood has shape {values.shape}: give one value per eligible token of one text")
    if not np.all((values >= 0) & (values <= 1)):
        raise InputError("likelihood holds values outside [0, 1]: give exp(log-likelihood), not log-likelihood")
    check_choice("masking.weighting", weighting, TokenWeighting)
    # the smallest positive number keeps a likelihood that underflowed to 0 at a finite surprisal of 708 nats
    return 1 - values if weighting == "complement" else -np.log(np.maximum(values, np.finfo(np.float64).tiny))


def calibrate(
    weights: NDArray[np.float64],
    *,
    mean: float,
    redistribute: Redistribution = "equal",
    floor: float = 0.0,
    groups: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Weights [n] of the tokens of one text into mask probabilities [n] with exactly the wanted mean.

    groups: [n], tokens of one number are masked together and get one probability, from the mean of their weights. For
    the equation see `mask_probabilities`. Raises InputError for a mean or floor out of range.
    """
    check_mean(mean, floor)
    check_choice("masking.redistribute", redistribute, Redistribution)
    weights = np.asarray(weights, dtype=np.float64)
    if floor == 1 or not np.any(weights):
        return np.full(len(weights), float(mean))
    if groups is not None:
        _, member = np.unique(groups, return_inverse=True)
        shares = weights / np.max(weights)  # first: no sum can overflow
        weights = (np.bincount(member, shares) / np.bincount(member))[member]
    # what lies above the floor is distributed as if the floor were 0: m = floor + (1 - floor) m'
    above = scale_to_mean(weights, (mean - floor) / (1 - floor), share_excess=redistribute == "equal")
    return floor + (1 - floor) * above


def check_mean(mean: float, floor: float = 0.0) -> None:
    """Raise InputError unless 0 <= floor <= mean <= 1."""
    if not 0 <= mean <= 1:
        raise InputError(f"masking.mean is {mean}: an average mask probability lies in [0, 1]")
    if not 0 <= floor <= mean:
        raise InputError(f"masking.floor is {floor}: it lies in [0, masking.mean = {mean}]")


def scale_to_mean(weights: NDArray[np.float64], mean: float, *, share_excess: bool = True) -> NDArray[np.float64]:
    """min(1, alpha w + lam) with mean `mean`, for non-negative weights [n] ("water filling").

    Sort alpha w downwards. With the k largest at 1, the rest must take lam = (n mean - k - rest sum) / (n - k); the
    smallest k at which the next value + lam stays within 1 is the answer. The loop of the paper ends at the same
    values: it adds equal shares to all uncapped tokens in every round.
    """
    n = len(weights)
    if n == 0:
        return np.zeros(0)
    if not np.any(weights):
        return np.full(n, mean)
    shares = weights / np.max(weights)  # first: neither the sum nor its inverse can overflow
    scaled = shares * (n * mean / np.sum(shares))
    if scaled.max() <= 1:
        return scaled
    if not share_excess:
        return np.minimum(scaled, 1.0)
    order = np.argsort(-scaled, kind="stable")
    falling = scaled[order]
    rest_sum = np.cumsum(falling[::-1])[::-1]  # summed from the small end: no cancellation
    capped = np.arange(n)
    lam = (n * mean - capped - rest_sum) / (n - capped)
    fits = np.flatnonzero(falling + lam <= 1 + 1e-15)
    if not len(fits):
        return np.ones(n)
    return np.minimum(scaled + max(float(lam[fits[0]]), 0.0), 1.0)
