"""What is predicted for each text: classes and probabilities, and those of an evaluation set with fewer classes."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import softmax

from l3masking.training import evaluation
from l3masking.training.evaluation import FurtherSet, judge, measure
from l3masking.training.portions import Portions

LOGITS = np.random.default_rng(14).normal(0, 0.5, (20, 3)).astype(np.float32)
LABELS = torch.arange(20) % 3
TOKENS = Portions(8).tokens


@pytest.fixture(autouse=True)
def _logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model says LOGITS, in batches of texts that are not in order."""
    parts = [[3, 17, 0, 8, 9], [19, 1, 2, 4, 5, 6], [7, 10, 11, 12, 13, 14, 15, 16, 18]]
    said = [(part, torch.from_numpy(LOGITS[part]), LABELS[part]) for part in parts]
    monkeypatch.setattr(evaluation, "_classified", lambda *_: iter(said))


def examples(labels: torch.Tensor) -> Any:
    return SimpleNamespace(labels=labels)


def test_probabilities_are_the_softmax_in_the_order_of_the_texts() -> None:
    found = measure(Any, examples(LABELS), 3, "float32", TOKENS)  # type: ignore[arg-type]
    assert np.array(found.probabilities) == pytest.approx(softmax(LOGITS.astype(np.float64), axis=1), abs=1e-6)
    assert np.array(found.probabilities).sum(axis=1) == pytest.approx(1, abs=1e-6)
    assert found.predictions == np.argmax(found.probabilities, axis=1).tolist() == LOGITS.argmax(axis=1).tolist()
    loss = -np.log(np.array(found.probabilities)[np.arange(20), LABELS.numpy()]).mean()
    assert found.metrics["loss"] == pytest.approx(loss, rel=1e-5)


def test_a_class_of_a_set_has_the_sum_of_those_that_stand_for_it() -> None:
    """Classes 0 and 2 stand for class 1 of the set, class 1 for class 0; class 2 of the set has none."""
    further = FurtherSet(examples(LABELS.clamp(max=1)), 3, torch.tensor([1, 0, 1]))
    found = judge(Any, further, "float32", TOKENS)  # type: ignore[arg-type]
    task = softmax(LOGITS.astype(np.float64), axis=1)
    assert np.array(found.probabilities) == pytest.approx(
        np.stack([task[:, 1], task[:, 0] + task[:, 2], np.zeros(20)], axis=1), abs=1e-6
    )
    assert found.predictions == [[1, 0, 1][best] for best in LOGITS.argmax(axis=1)]
    likeliest = np.argmax(found.probabilities, axis=1).tolist()
    assert found.predictions != likeliest, "two classes together may be likelier than the predicted one"
