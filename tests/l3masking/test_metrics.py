"""Accuracy and macro F1 against scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from l3masking.metrics import METRICS, accuracy, macro_f1

RANDOM = np.random.default_rng(4)
CASES = [
    (RANDOM.integers(0, high, size), RANDOM.integers(0, low, size), classes)
    for size in (1, 2, 7, 60)
    for classes in (2, 3, 6)
    for high, low in ((classes, classes), (1, classes), (classes, 1), (2, 2))
]


@pytest.mark.parametrize(("predictions", "labels", "num_classes"), CASES)
def test_both_metrics_agree_with_scikit_learn(predictions: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    expected = f1_score(labels, predictions, labels=range(num_classes), average="macro", zero_division=0)
    assert macro_f1(predictions, labels, num_classes) == pytest.approx(expected, abs=1e-12)
    assert accuracy(predictions, labels, num_classes) == pytest.approx(accuracy_score(labels, predictions), abs=1e-12)


def test_a_class_that_never_occurs_counts_as_zero() -> None:
    assert macro_f1([0, 1], [0, 1], 2) == 1.0
    assert macro_f1([0, 1], [0, 1], 4) == 0.5


def test_a_case_by_hand() -> None:
    """Class 0: TP 1, FP 1, FN 0 gives 2/3. Class 1: TP 1, FP 0, FN 1 gives 2/3. Class 2 is never predicted nor true."""
    assert macro_f1([0, 0, 1], [0, 1, 1], 3) == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert accuracy([0, 0, 1], [0, 1, 1], 3) == pytest.approx(2 / 3)


def test_the_table_names_both() -> None:
    assert list(METRICS.items()) == [("accuracy", accuracy), ("macro_f1", macro_f1)]
