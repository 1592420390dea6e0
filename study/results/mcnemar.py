"""A second look at one test set: the ensembles of two rows against each other, text by text. Numbers only.

The verdict of a comparison is about seeds. This is about texts: each row is one classifier, the vote of all its seeds,
and McNemar's test asks whether the texts that only one of the two gets right could lie on either side by chance.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class SecondLook(NamedTuple):
    """Two ensembles on the texts of one test set."""

    texts: int
    seeds: int  # models of each ensemble
    first: float  # accuracy of the first ensemble, fraction
    second: float
    only_first: int  # texts that the first ensemble alone gets right
    only_second: int
    p: float  # two-sided mid-p, in (0, 1]


def voted(predictions: NDArray[np.integer], num_classes: int) -> NDArray[np.int64]:
    """Classes [E] with most votes of the models, from `predictions` [S, E].

    Of classes with equally many votes the one counts that the earliest model voted for; so no class is preferred.
    """
    texts = predictions.shape[1]
    votes = np.zeros((texts, num_classes))
    for place, row in enumerate(np.asarray(predictions, dtype=np.int64)):
        # all extra parts sum to less than one vote, and each is more than all that follow
        votes[np.arange(texts), row] += 1 + 2.0 ** -(place + 1) / 2
    return votes.argmax(axis=1)


def averaged(probabilities: NDArray[np.floating]) -> NDArray[np.int64]:
    """The likeliest classes [E] by the mean over models of `probabilities` [S, E, C]; of equal ones the first."""
    return np.asarray(probabilities, dtype=np.float64).mean(axis=0).argmax(axis=1)


def mid_p(only_first: int, only_second: int) -> float:
    """McNemar's exact test with the mid-p value, two-sided (Fagerland, Lydersen and Laake 2013); 1 without any text.

    With k the smaller count and X binomial over both counts with 1/2: P(X <= k - 1) + P(X <= k). The exact test counts
    all of P(X = k) on both sides and is too careful; the mid-p counts half of it.
    """
    from scipy.special import bdtr

    total, least = only_first + only_second, min(only_first, only_second)
    if not total:
        return 1.0
    below = float(bdtr(least - 1, total, 0.5)) if least else 0.0
    return min(1.0, below + float(bdtr(least, total, 0.5)))


def second_look(
    first: NDArray[np.integer], second: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int
) -> SecondLook:
    """The votes of two rows of models, predictions [S, E] of the same seeds, against the labels [E]."""
    right, other = (voted(side, num_classes) == labels for side in (first, second))
    only_first, only_second = int(np.sum(right & ~other)), int(np.sum(other & ~right))
    return SecondLook(
        texts=len(labels),
        seeds=len(first),
        first=float(right.mean()),
        second=float(other.mean()),
        only_first=only_first,
        only_second=only_second,
        p=mid_p(only_first, only_second),
    )
