"""Scores of classes and calibration against scikit-learn, a slow loop, and planted miscalibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss, precision_recall_fscore_support
from sklearn.metrics import confusion_matrix as sklearn_confusion

from study.results.per_class import (
    BINS,
    calibration,
    calibration_error,
    class_scores,
    confusion_matrix,
    equal_mass,
    equal_width,
)


def made(texts: int = 400, classes: int = 5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities, predicted classes and labels; the last class never occurs and is never predicted."""
    random = np.random.default_rng(12)
    rows = random.dirichlet([0.5] * (classes - 1), size=texts)
    rows = np.concatenate([rows, np.zeros((texts, 1))], axis=1)
    labels = np.array([random.choice(classes, p=row) for row in rows])
    return rows, rows.argmax(axis=1), labels


def test_scores_of_classes_are_those_of_scikit_learn() -> None:
    _, predictions, labels = made()
    confusion = confusion_matrix(predictions, labels, 5)
    assert np.array_equal(confusion, sklearn_confusion(labels, predictions, labels=range(5)))
    wanted = precision_recall_fscore_support(labels, predictions, labels=range(5), zero_division=0)
    for found, known in zip(class_scores(confusion), wanted, strict=True):
        assert found == pytest.approx(known)
    assert class_scores(confusion).f1[4] == 0


def test_the_brier_score_is_that_of_scikit_learn() -> None:
    rows, predictions, labels = made()
    known = brier_score_loss(labels, rows, labels=range(5), scale_by_half=False)
    assert calibration(rows, predictions, labels).brier == pytest.approx(known)


def test_the_calibration_error_is_that_of_a_loop_over_bins() -> None:
    rows, predictions, labels = made()
    confidence, right = rows.max(axis=1), predictions == labels
    slow = 0.0
    for number in range(BINS):
        low, high = number / BINS, (number + 1) / BINS
        inside = (confidence > low) & (confidence <= high)
        if inside.any():
            slow += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    found = calibration(rows, predictions, labels)
    assert found.ece == pytest.approx(slow)
    assert (found.accuracy, found.confidence) == (pytest.approx(right.mean()), pytest.approx(confidence.mean()))
    order, adaptive = np.argsort(confidence), 0.0
    for part in np.array_split(order, BINS):
        adaptive += len(part) / len(order) * abs(right[part].mean() - confidence[part].mean())
    assert found.adaptive_ece == pytest.approx(adaptive, abs=2 * BINS / len(order)), "bins may differ by one text"


def test_bins() -> None:
    assert equal_width(np.array([0.0, 1 / 15, 0.0667, 0.5, 1.0])).tolist() == [0, 0, 1, 7, 14]
    assert np.bincount(equal_mass(np.random.default_rng(1).random(31))).tolist() in (
        [3, *[2] * 14],
        sorted([3, *[2] * 14], reverse=True),
    )
    assert equal_mass(np.array([0.9, 0.1])).tolist() == [7, 0], "fewer texts than bins"


def test_planted_overconfidence_is_found_and_a_calibrated_model_is_not_blamed() -> None:
    texts = 20_000
    random = np.random.default_rng(13)
    confidence = random.uniform(0.5, 1, texts)
    calibrated = random.random(texts) < confidence
    too_sure = random.random(texts) < confidence - 0.1
    noise = 0.5 / math.sqrt(texts / BINS)  # of the accuracy in a bin, at most
    for bins in (equal_width, equal_mass):
        assert calibration_error(confidence, calibrated, bins) < 5 * noise
        assert calibration_error(confidence, too_sure, bins) == pytest.approx(0.1, abs=5 * 0.5 / math.sqrt(texts))


def test_a_model_that_knows_everything_has_no_error() -> None:
    labels = np.array([0, 1, 2, 1])
    found = calibration(np.eye(3)[labels], labels, labels)
    assert found == (1.0, 1.0, 0.0, 0.0, 0.0)
    assert calibration(np.eye(3)[(labels + 1) % 3], (labels + 1) % 3, labels) == (0.0, 1.0, 1.0, 1.0, 2.0)
