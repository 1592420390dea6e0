"""A saved model is the one that was tested, and the folder is whole or absent."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from small_task import data, encoder, one_thread, run, settings
from transformers import AutoModelForMaskedLM, AutoTokenizer

import l3masking.encoders.export
from l3masking.encoders.export import CLASSIFIER, LABELS, load_tuned, save_tuned
from l3masking.errors import InputError
from l3masking.regimes import encode_task
from l3masking.scoring.settings import ScoringConfig
from l3masking.training.evaluation import measure
from l3masking.training.portions import Portions


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
        found = measure(model, task.test, task.num_classes, "float32", Portions(8).tokens)
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


@pytest.fixture(scope="module")
def saved(tmp_path_factory, outcome):
    folder = tmp_path_factory.mktemp("saved") / "tuned"
    save_tuned(encoder(), outcome.weights, data().labels, folder)
    return folder


def change_head(folder: Path, change: Callable[[dict], dict]) -> None:
    save_file(change(load_file(folder / CLASSIFIER)), folder / CLASSIFIER)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-50])


DAMAGES: dict[str, tuple[str, Callable[[Path], object], str]] = {  # file, what happens in the folder, words said
    "no labels": (LABELS, lambda f: (f / LABELS).unlink(), r"no saved model here \(labels.json is missing\)"),
    "labels are a folder": (LABELS, lambda f: ((f / LABELS).unlink(), (f / LABELS).mkdir()), "Is a directory"),
    "half of the labels": (LABELS, lambda f: (f / LABELS).write_text('["a", "'), "not JSON"),
    "labels in UTF-16": (LABELS, lambda f: (f / LABELS).write_text('["a", "b"]', "utf-16"), "not JSON"),
    "deep labels": (LABELS, lambda f: (f / LABELS).write_text("[" * 100_000), "not JSON"),
    "labels by number": (LABELS, lambda f: (f / LABELS).write_text("[0, 1]"), "not a list of class names"),
    "an object of labels": (LABELS, lambda f: (f / LABELS).write_text("{}"), "not a list of class names"),
    "empty labels": (LABELS, lambda f: (f / LABELS).write_text("[]"), "not a list of class names"),
    "a label too many": (
        CLASSIFIER,
        lambda f: (f / LABELS).write_text('["a", "b", "c", "d", "e", "f", "g"]'),
        r"out.bias: shape .*, but shape \(7,\)",
    ),
    "no head": (CLASSIFIER, lambda f: (f / CLASSIFIER).unlink(), "No such file"),
    "torn head": (CLASSIFIER, lambda f: cut(f / CLASSIFIER), "deserializing"),
    "empty head": (CLASSIFIER, lambda f: (f / CLASSIFIER).write_bytes(b""), "deserializing"),
    "head without bias": (
        CLASSIFIER,
        lambda f: change_head(f, lambda head: {name: value for name, value in head.items() if name != "out.bias"}),
        "out.bias: absent, but shape",
    ),
    "head with more": (
        CLASSIFIER,
        lambda f: change_head(f, lambda head: {**head, "more": torch.ones(1)}),
        "more: shape .*, but absent",
    ),
    "torn encoder": ("", lambda f: cut(f / "model.safetensors"), "deserializing"),
    "no configuration": ("", lambda f: (f / "config.json").unlink(), "config.json|model_type"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_gets_one_line_that_names_the_file(tmp_path, saved, damage):
    file, happens, words = DAMAGES[damage]
    folder = Path(shutil.copytree(saved, tmp_path / "tuned"))
    happens(folder)
    with pytest.raises(InputError, match=words) as caught:
        load_tuned(folder)
    assert str(folder) in str(caught.value)
    assert file in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_folder_is_not_looked_for_on_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"bert-base: no saved model here \(labels.json is missing\)"):
        load_tuned(Path("bert-base"))


def test_a_folder_that_is_called_like_a_known_encoder_is_read(tmp_path, saved, monkeypatch):
    shutil.copytree(saved, tmp_path / "bert-base")
    monkeypatch.chdir(tmp_path)
    assert load_tuned(Path("bert-base")).labels == data().labels
