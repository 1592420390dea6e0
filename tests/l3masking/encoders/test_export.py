"""A saved model is the one that was tested, and the folder is whole or absent."""

from __future__ import annotations

import pytest
import torch
from small_task import data, encoder, one_thread, run, settings
from transformers import AutoModelForMaskedLM, AutoTokenizer

import l3masking.encoders.export
from l3masking.encoders.export import load_tuned, save_tuned
from l3masking.regimes import encode_task
from l3masking.scoring.settings import ScoringConfig
from l3masking.training.evaluation import measure


@pytest.fixture(scope="module")
def outcome():
    with one_thread():
        return run("l3masking", settings(max_epochs=2))["accuracy"]


def test_a_saved_model_predicts_what_was_recorded(tmp_path, outcome):
    save_tuned(encoder(), outcome.weights, data().labels, tmp_path / "tuned")
    model, labels = load_tuned(tmp_path / "tuned")
    assert labels == data().labels
    with one_thread():
        task = encode_task(model.encoder, data(), ScoringConfig(max_length=model.encoder.max_positions))
        found = measure(model, task.test, task.num_classes, "float32")
    assert found.predictions == outcome.test_predictions


def test_transformers_reads_the_folder_and_the_encoder_stays_vanilla(tmp_path, outcome):
    before = {name: value.clone() for name, value in encoder().model.state_dict().items()}
    save_tuned(encoder(), outcome.weights, data().labels, tmp_path / "tuned")
    read = AutoModelForMaskedLM.from_pretrained(tmp_path / "tuned", dtype=torch.float32)
    name = "bert.embeddings.word_embeddings.weight"
    assert torch.equal(read.state_dict()[name], outcome.weights[f"language_model.{name}"])
    assert not torch.equal(read.state_dict()[name], before[name])
    assert all(torch.equal(value, before[name]) for name, value in encoder().model.state_dict().items())
    assert AutoTokenizer.from_pretrained(tmp_path / "tuned").get_vocab() == encoder().tokenizer.get_vocab()


def test_a_save_that_breaks_off_leaves_nothing(tmp_path, outcome, monkeypatch):
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(l3masking.encoders.export, "save_file", full)
    with pytest.raises(OSError, match="no space left"):
        save_tuned(encoder(), outcome.weights, data().labels, tmp_path / "tuned")
    assert list(tmp_path.iterdir()) == []
