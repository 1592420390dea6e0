"""A policy applied to texts: what is drawn from when a batch is masked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from l3masking import rng
from l3masking.errors import InputError
from l3masking.masking.corruption import leaders_of
from l3masking.masking.policies.base import (
    CORPUS,
    ENTROPY,
    IMPORTANCE,
    LIKELIHOOD,
    CorpusPolicy,
    Policy,
    PolicyText,
    calibrated,
    check_weights,
)
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.words import EncodedText, sides_of

HISTOGRAM_BINS = 100  # of equal width over [0, 1]
FIT_TEXTS = 100_000  # texts that a policy of the corpus looks at, the first ones: more would not fit into memory


class MaskedText(NamedTuple):
    """One text of T input ids, before its masks are drawn."""

    input_ids: NDArray[np.int64]  # [T]
    probabilities: NDArray[np.float64]  # [T] in [0, 1], 0 where nothing may be masked
    leaders: NDArray[np.int64] | None = None  # [T], the position that draws for each; None: each for itself


def mask_texts(
    policy: Policy,
    texts: Iterable[EncodedText],
    masking: MaskingConfig,
    *,
    seed: int,
    scores: Iterable[TokenScores] | None = None,
    importance: Iterable[NDArray[np.float64]] | None = None,
    name: str = "",
) -> Iterator[MaskedText]:
    """Mask probabilities of each text under a policy, one after the other.

    scores: one per text, for policies that need the likelihood or entropy of tokens. importance: [n] per text in
    [0, 1], for policies that need it. name: what messages call the policy. Raises InputError if something is missing or
    belongs to other texts, and where a policy gives weights that are no weights.
    """
    seen = _seen(policy, texts, scores, importance)
    if CORPUS in policy.needs:
        held = list(islice(seen, FIT_TEXTS))
        try:
            policy = cast(CorpusPolicy, policy).fitted(held)
        except InputError as error:
            raise InputError(f"masking policy {name}: {error}") from error
        seen = chain(held, seen)
    generator = rng.stream(seed, "policy")
    for index, text in enumerate(seen):
        place = f"masking policy {name}, text {index}"
        try:
            weights = policy.weights(text, masking, generator)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        check_weights(weights, len(text.positions), place)
        if weights.groups is not None:
            weights = weights._replace(groups=_within_parts(weights.groups, text.positions))
        yield placed(text.input_ids, text.positions, calibrated(weights, masking), weights.groups)


def _within_parts(groups: NDArray[np.int64], positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n] groups that end where special tokens stand between two eligible ones: between the two texts of a pair."""
    sides = sides_of(positions)
    if not sides.any():
        return groups
    return np.unique(np.stack([sides, groups]), axis=1, return_inverse=True)[1].astype(np.int64)


def placed(
    input_ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    groups: NDArray[np.int64] | None = None,
) -> MaskedText:
    """Probabilities and groups [n] of the eligible tokens at their places among the T input ids."""
    row = np.zeros(len(input_ids))
    row[positions] = probabilities
    leaders = None if groups is None else leaders_of(groups, positions, len(input_ids))
    return MaskedText(input_ids, row, leaders)


def _seen(
    policy: Policy,
    texts: Iterable[EncodedText],
    scores: Iterable[TokenScores] | None,
    importance: Iterable[NDArray[np.float64]] | None,
) -> Iterator[PolicyText]:
    """What the policy sees of each text."""
    if scores is None and policy.needs & {LIKELIHOOD, ENTROPY}:
        raise InputError("this masking policy needs token scores: score the texts first")
    if importance is None and IMPORTANCE in policy.needs:
        raise InputError("this masking policy needs the importance of each token: compute it for these texts first")
    scored = None if scores is None else iter(scores)
    important = None if importance is None else iter(importance)
    for index, text in enumerate(texts):
        found = {}
        if scored is not None:
            score = next(scored, None)
            if score is None or not np.array_equal(score.input_ids, text.input_ids):
                raise InputError(f"the scores of text {index} belong to other token ids: score these texts again")
            found["likelihood"] = np.exp(score.log_likelihood.astype(np.float64))
            if ENTROPY in policy.needs and score.entropy is None:
                raise InputError("this masking policy needs the entropy of tokens: score the texts with entropy=True")
            found |= {} if score.entropy is None else {"entropy": score.entropy.astype(np.float64)}
        if important is not None:
            values = next(important, None)
            if values is None or len(values) != len(text.positions):
                raise InputError(f"the importance of text {index} belongs to another text: compute it again")
            found["importance"] = np.asarray(values, dtype=np.float64)
        yield PolicyText(input_ids=text.input_ids, positions=text.positions, words=text.words, **found)
    if scored is not None and next(scored, None) is not None:
        raise InputError("more scores than masked-LM texts: score these texts again")
    if important is not None and next(important, None) is not None:
        raise InputError("importance of more texts than masked-LM texts: compute it again")


def summarise(texts: Sequence[EncodedText], masked: Sequence[MaskedText], mean: float) -> dict[str, float]:
    """What a record says about its mask probabilities."""
    values = _eligible(texts, masked)
    every = np.concatenate([np.zeros(0), *values])
    if not len(every):
        return {"mean": 0.0, "largest_deviation": 0.0, "max": 0.0, "share_capped": 0.0}
    return {
        "mean": float(every.mean()),
        "largest_deviation": max(abs(float(text.mean()) - mean) for text in values if len(text)),
        "max": float(every.max()),
        "share_capped": float(np.mean(every >= 1)),
    }


def histogram(texts: Sequence[EncodedText], masked: Sequence[MaskedText]) -> list[int]:
    """[HISTOGRAM_BINS] eligible tokens by their mask probability: bin b holds those in [b, b + 1) / HISTOGRAM_BINS.

    The last bin includes 1. A probability that rounding has put just below an edge counts as that edge: under random
    masking all tokens of all texts lie in one bin.
    """
    every = np.concatenate([np.zeros(0), *_eligible(texts, masked)])
    bins = np.minimum((every * HISTOGRAM_BINS + 1e-9).astype(np.int64), HISTOGRAM_BINS - 1)
    return [int(count) for count in np.bincount(bins, minlength=HISTOGRAM_BINS)]


def _eligible(texts: Sequence[EncodedText], masked: Sequence[MaskedText]) -> list[NDArray[np.float64]]:
    """The probabilities of the tokens that may be masked, of each text."""
    return [row.probabilities[text.positions] for text, row in zip(texts, masked, strict=True)]
