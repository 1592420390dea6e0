"""Which classes one model gets right, and how well it knows when it does. Numbers only, fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BINS = 15  # of confidence, as Guo et al. 2017


class ClassScores(NamedTuple):
    """Of each class, [C]. A share of nothing counts 0, as in the macro F1 of the tables."""

    precision: NDArray[np.float64]  # share of texts predicted as the class that are of it
    recall: NDArray[np.float64]  # share of texts of the class that are predicted as it
    f1: NDArray[np.float64]
    support: NDArray[np.int64]  # texts of the class


class Calibrated(NamedTuple):
    """How well the probability of the predicted class tells whether it is right."""

    accuracy: float
    confidence: float  # mean probability of the predicted class
    ece: float  # expected calibration error, equal-width bins, in [0, 1]
    adaptive_ece: float  # the same with equally many texts in each bin
    brier: float  # in [0, 2]


def confusion_matrix(
    predictions: NDArray[np.integer], labels: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Texts [C, C]: true class by predicted class."""
    flat = np.asarray(labels, dtype=np.int64) * num_classes + predictions
    return np.bincount(flat, minlength=num_classes**2).reshape(num_classes, num_classes)


def class_scores(confusion: NDArray[np.int64]) -> ClassScores:
    """Precision, recall, F1 and support of each class, from a confusion matrix."""
    hits = np.diagonal(confusion).astype(np.float64)
    predicted, support = confusion.sum(axis=0), confusion.sum(axis=1)
    return ClassScores(
        _ratio(hits, predicted), _ratio(hits, support), _ratio(2 * hits, predicted + support), support.astype(np.int64)
    )


def calibration(
    probabilities: NDArray[np.floating], predictions: NDArray[np.integer], labels: NDArray[np.integer]
) -> Calibrated:
    """Calibrated of one model from its probabilities [E, C], predicted and true classes [E]; E >= 1.

    brier: mean over texts of the sum over classes of (probability - 1[true class])^2 (Brier 1950), 0 is perfect.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    texts = np.arange(len(labels))
    right, confidence = predictions == labels, rows[texts, predictions]
    true = rows[texts, labels]
    brier = np.sum(rows**2, axis=1) - 2 * true + 1
    return Calibrated(
        accuracy=float(right.mean()),
        confidence=float(confidence.mean()),
        ece=calibration_error(confidence, right, equal_width),
        adaptive_ece=calibration_error(confidence, right, equal_mass),
        brier=float(brier.mean()),
    )


def calibration_error(
    confidence: NDArray[np.float64],
    right: NDArray[np.bool_],
    binned: Callable[[NDArray[np.float64]], NDArray[np.integer]],
) -> float:
    """Sum over bins of their share of texts times |accuracy - mean confidence| (Guo et al. 2017, eq. 3)."""
    gaps = np.bincount(binned(confidence), weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def equal_width(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each text: bin k holds confidences above k / BINS, up to and with (k + 1) / BINS; the first 0 too."""
    return np.clip(np.ceil(confidence * BINS).astype(np.int64) - 1, 0, BINS - 1)


def equal_mass(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """The bin of each text by the rank of its confidence: as many texts in each bin, give or take one."""
    bins = np.empty(len(confidence), dtype=np.int64)
    bins[np.argsort(confidence, kind="stable")] = np.arange(len(confidence)) * BINS // len(confidence)
    return bins


def _ratio(part: NDArray[np.float64], whole: NDArray[np.integer]) -> NDArray[np.float64]:
    """0 where that is 0/0."""
    return np.divide(part, whole, out=np.zeros(len(part), dtype=np.float64), where=whole > 0)
