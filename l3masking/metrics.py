"""Accuracy and macro F1. Fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

Labels = Sequence[int] | np.ndarray


def accuracy(predictions: Labels, labels: Labels, num_classes: int) -> float:
    """Share of equal entries. `num_classes` is taken for one signature with `macro_f1`."""
    return float(np.mean(np.asarray(predictions) == np.asarray(labels)))


def macro_f1(predictions: Labels, labels: Labels, num_classes: int) -> float:
    """Unweighted mean of the F1 of ALL classes known from the training data.

    F1_c = 2 TP_c / (2 TP_c + FP_c + FN_c), and 0 where that is 0/0: a class that neither occurs nor is predicted
    counts 0, so that every split is averaged over the same classes.
    """
    confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
    np.add.at(confusion, (np.asarray(labels, dtype=np.int64), np.asarray(predictions, dtype=np.int64)), 1)
    hits = np.diagonal(confusion).astype(np.float64)
    support = confusion.sum(axis=0) + confusion.sum(axis=1)  # predicted + true = 2 TP + FP + FN
    return float(np.mean(np.divide(2 * hits, support, out=np.zeros_like(hits), where=support > 0)))


METRICS: dict[str, Callable[[Labels, Labels, int], float]] = {"accuracy": accuracy, "macro_f1": macro_f1}
