"""How far a difference could move with other seeds and other test texts: a bootstrap over both at once.

The seeds of a method are tested on one test set, so seeds and texts are crossed: each draw takes seeds with
replacement, pairs kept together, and texts with replacement, the same ones for every seed and both sides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from study.results.spread import CONFIDENCE

DRAWS = 10_000
RESAMPLES_AT_ONCE = 500  # draws at a time: a few MB for a test set of thousands


def resampled_metrics(
    labels: NDArray[np.integer],
    predictions: NDArray[np.integer],
    objectives: Sequence[str],
    num_classes: int,
    generator: np.random.Generator,
    *,
    draws: int = DRAWS,
) -> NDArray[np.float64]:
    """The metric of M models on `draws` resampled test sets, fractions [M, draws].

    labels [E]: the true class of each test text; predictions [M, E]; objectives [M]: accuracy | macro_f1, one metric
    per model. Column d is the same resampled test set for all models. The metrics are those of l3masking.metrics,
    from weighted counts of the classes.
    """
    # texts on which all models do the same are alike: draw how often each kind occurs
    kinds, counts = np.unique(np.vstack([labels, predictions]), axis=1, return_counts=True)
    indicators = _Indicators(kinds[0], kinds[1:], np.asarray(objectives), num_classes)
    out = np.empty((len(predictions), draws))
    for start in range(0, draws, RESAMPLES_AT_ONCE):
        size = min(RESAMPLES_AT_ONCE, draws - start)
        weights = generator.multinomial(len(labels), counts / len(labels), size=size).T.astype(np.float32)
        out[:, start : start + size] = indicators.metrics(np.ascontiguousarray(weights))
    return out


def joint_interval(
    first: NDArray[np.floating], second: NDArray[np.floating], generator: np.random.Generator
) -> tuple[float, float]:
    """95 % percentile interval of the mean of first - second, both [n, draws] from one call of `resampled_metrics`.

    Row i of the two is one seed. The seeds are resampled here, anew for each draw; n = 1 leaves the texts alone.
    """
    pairs, draws = first.shape
    taken = generator.multinomial(pairs, np.full(pairs, 1 / pairs), size=draws).T
    differences = np.sum(taken * (first - second), axis=0) / pairs
    low, high = np.quantile(differences, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


class _Indicators:
    """Sparse 0/1 matrices whose products with weights of texts [U, d] are counts, exact in float32 below 2^24."""

    def __init__(
        self,
        labels: NDArray[np.integer],
        predictions: NDArray[np.integer],
        objectives: NDArray[np.str_],
        num_classes: int,
    ) -> None:
        from scipy.sparse import csr_matrix

        def matrix(rows: NDArray[np.integer], columns: NDArray[np.integer], num_rows: int) -> csr_matrix:
            ones = np.ones(len(rows), dtype=np.float32)
            return csr_matrix((ones, (rows, columns)), shape=(num_rows, len(labels)))

        self.by_accuracy = objectives == "accuracy"
        self.num_classes = num_classes
        texts = np.arange(len(labels))
        model, text = np.nonzero(predictions[self.by_accuracy] == labels)
        self.correct = matrix(model, text, int(self.by_accuracy.sum()))
        rest = predictions[~self.by_accuracy]
        model, text = np.nonzero(rest == labels)
        num_rows = len(rest) * num_classes
        self.hits = matrix(model * num_classes + labels[text], text, num_rows)
        rows = np.arange(len(rest))[:, None] * num_classes + rest
        self.predicted = matrix(rows.ravel(), np.tile(texts, len(rest)), num_rows)
        self.true = matrix(labels, texts, num_classes)

    def metrics(self, weights: NDArray[np.float32]) -> NDArray[np.float64]:
        """[M, d] from weights [U, d] whose columns all have the sum E."""
        texts, draws = float(weights[:, 0].sum()), weights.shape[1]
        out = np.empty((len(self.by_accuracy), draws))
        out[self.by_accuracy] = (self.correct @ weights).astype(np.float64) / texts
        shape = (-1, self.num_classes, draws)
        hits = (self.hits @ weights).reshape(shape).astype(np.float64)
        support = (self.predicted @ weights).reshape(shape) + self.true @ weights  # 2 TP + FP + FN
        f1 = np.divide(2 * hits, support, out=np.zeros_like(hits), where=support > 0)
        out[~self.by_accuracy] = f1.mean(axis=1)
        return out
