"""Importance of tokens for a saved classifier."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_task import TELLING, encoder, one_thread, run, settings

from l3masking.analysis.case_study import ask_classifier
from l3masking.encoders.export import load_tuned, save_tuned
from l3masking.encoders.weights import weights_of
from l3masking.errors import InputError
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as
from l3masking.selective.classifier import Classifier, importance_of
from l3masking.selective.settings import SelectiveConfig

CONFIG, TEXTS = ScoringConfig(max_length=16), ["we use the red of a", "near the cat and far", "a dog"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of three classes after two short epochs."""
    folder = tmp_path_factory.mktemp("case") / "tuned"
    with one_thread():
        outcome = run("stl", settings(max_epochs=2))["accuracy"]
    save_tuned(encoder(), outcome.weights, sorted(TELLING), folder)
    return folder


def test_importance_is_that_of_the_heuristic_for_the_predicted_class(tuned: Path) -> None:
    config = SelectiveConfig(criterion="signed", stop_words=False)
    with one_thread():
        asked = ask_classifier(tuned, encoder(), TEXTS, CONFIG, config)
        model, labels = load_tuned(tuned)
        classifier = Classifier(model.encoder, weights_of(model), len(labels))
        texts = encode_as(CONFIG, encoder().tokenizer, TEXTS)
        predicted = classifier.probabilities([text.input_ids for text in texts]).argmax(axis=1)
        found = importance_of(classifier, texts, predicted.tolist(), config)
    assert labels == ("first", "second", "third")
    for one, number, text, wanted in zip(asked, predicted, texts, found, strict=True):
        assert one.label == one.predicted == labels[number]
        assert one.importance.shape == (len(text.positions),)
        np.testing.assert_array_equal(one.importance > 0, wanted.important)
        close = np.where(wanted.important, np.maximum(wanted.gain, np.finfo(np.float32).tiny), 0)
        np.testing.assert_allclose(one.importance, close, rtol=1e-6)
    assert any(one.importance.any() for one in asked)


def test_a_true_class_is_asked_about_as_it_is_given(tuned: Path) -> None:
    with one_thread():
        asked = ask_classifier(tuned, encoder(), TEXTS, CONFIG, SelectiveConfig(), label="third")
    assert {one.label for one in asked} == {"third"}
    wrong = [one for one in asked if one.predicted != "third"]
    assert not any(one.importance.any() for one in wrong), "units that the classifier gets wrong have none"


def test_what_cannot_be_asked_is_one_line(tuned: Path, encoders: dict, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"label 'thirdd': no class of .*; nearest: third"):
        ask_classifier(tuned, encoder(), TEXTS, CONFIG, SelectiveConfig(), label="thirdd")
    with pytest.raises(InputError, match="its tokenizer is not that of the encoder"):
        ask_classifier(tuned, encoders["roberta"], TEXTS, CONFIG, SelectiveConfig())
    with pytest.raises(InputError, match=r"no saved model here \(labels\.json is missing\)"):
        ask_classifier(tmp_path, encoder(), TEXTS, CONFIG, SelectiveConfig())
