"""An exported classifier is the trained model: for plain transformers where its own class fits, else for our class."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from short_memory import ShortMemory
from small_classifiers import ALL_TYPES, NAMES, random_classifier, save_random
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from l3masking.classifier import TextClassifier, register
from l3masking.encoders import export
from l3masking.encoders.export import Tuned, load_tuned, write_classifier
from l3masking.encoders.families import FAMILIES
from l3masking.encoders.heads import OWN_HEADS, OwnHead
from l3masking.errors import InputError
from l3masking.memory import OutOfMemory
from l3masking.predicting import TEXT_CLASSIFIER, predict_texts, read_classifier
from l3masking.reading import Reading
from l3masking.scoring.words import encode_texts
from l3masking.training.batches import chunk_of

OURS = {"distilbert", "electra", "modernbert"}  # types of FAMILIES whose own class computes something else
TEXTS = ["we read the words", "old parsers follow likely tokens often", "the hooligan", "a"]
READING = Reading(max_length=16)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def type_of(folder: Path) -> str:
    return json.loads((folder / "config.json").read_text())["model_type"]


@torch.inference_mode()
def trained_logits(tuned: Tuned, texts: list, reading: Reading = READING) -> torch.Tensor:
    """[n, C], each text by itself."""
    rows = encode_texts(tuned.model.encoder.tokenizer, texts, max_length=reading.max_length)
    pad_id = tuned.model.encoder.tokenizer.pad_token_id
    chunks = [chunk_of([row.input_ids], [0], torch.zeros(1), pad_id) for row in rows]
    return torch.cat([tuned.model.classifier(tuned.model.features([chunk])) for chunk in chunks])


def reading_of(tuned: Tuned, **more: object) -> Reading:
    return Reading(max_length=16, separator=tuned.model.encoder.separator, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ALL_TYPES)
def test_the_folder_gives_the_logits_of_the_trained_model(kind: str, tmp_path: Path) -> None:
    """Read by the documented call, tokenized by the tokenizer beside it, in one padded batch."""
    tuned = random_classifier(kind, tmp_path)
    (tmp_path / "model").mkdir()
    plain = write_classifier(tuned, reading_of(tuned), tmp_path / "model")
    model_type = tuned.model.encoder.model_type
    assert plain == (model_type in OWN_HEADS)
    reader = AutoModelForSequenceClassification if plain else TextClassifier
    model = reader.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    with torch.inference_mode():
        found = model.eval()(**tokenizer(TEXTS, padding=True, truncation=True, return_tensors="pt")).logits
    expected = trained_logits(tuned, TEXTS)
    assert expected.std(dim=0).max() > 1e-4, "a check that could not fail"
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert model.config.id2label == dict(enumerate(NAMES))
    assert model.config.label2id == {name: number for number, name in enumerate(NAMES)}
    assert model.config.problem_type == "single_label_classification"
    found = predict_texts(read_classifier(tmp_path / "model"), TEXTS, batch=3).probabilities
    assert found == pytest.approx(expected.double().softmax(dim=-1).numpy(), abs=1e-5)


def test_every_known_family_is_decided() -> None:
    assert FAMILIES.keys() <= OWN_HEADS.keys() | OURS
    assert not OWN_HEADS.keys() & OURS


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_a_pipeline_gives_the_right_names(kind: str, tmp_path: Path) -> None:
    tuned = random_classifier(kind, tmp_path)
    folder = tmp_path / "model"
    folder.mkdir()
    plain = write_classifier(tuned, reading_of(tuned), folder)
    if not plain:
        register()
    classify = pipeline("text-classification", str(folder), device="cpu")
    expected = [NAMES[number] for number in trained_logits(tuned, TEXTS).argmax(dim=-1).tolist()]
    assert [found["label"] for found in classify(TEXTS, truncation=True)] == expected


def test_special_tokens_in_a_text_and_long_texts_are_read_as_in_training(tmp_path: Path) -> None:
    tuned = random_classifier("bert", tmp_path)
    (tmp_path / "model").mkdir()
    write_classifier(tuned, reading_of(tuned), tmp_path / "model")
    texts = ["we [MASK] the [SEP] words", "the parser reads " * 20]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    expected = encode_texts(tuned.model.encoder.tokenizer, texts, max_length=16)
    assert tokenizer(texts, truncation=True)["input_ids"] == [text.input_ids.tolist() for text in expected]
    assert len(expected[1].input_ids) == 16


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_pairs_have_their_token_types(kind: str, tmp_path: Path) -> None:
    tuned = random_classifier(kind, tmp_path)
    (tmp_path / "model").mkdir()
    reading = reading_of(tuned, pairs=True)
    write_classifier(tuned, reading, tmp_path / "model")
    assert (reading.separator is not None) == (kind == "bert")
    pairs = [("we read", "the words"), ("a token", "an unlikely token is masked")]
    expected = trained_logits(tuned, pairs).double().softmax(dim=-1)
    classifier = read_classifier(tmp_path / "model")
    assert predict_texts(classifier, pairs).probabilities == pytest.approx(expected.numpy(), abs=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    given = tokenizer(*map(list, zip(*pairs, strict=True)), padding=True, return_tensors="pt")
    with torch.inference_mode():
        found = classifier.models[0](**given).logits.double().softmax(dim=-1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match=r"texts\[0\] is 'a': this model was trained on pairs of texts"):
        predict_texts(classifier, ["a"])


@pytest.mark.parametrize("kind", ["bert", "roberta", "distilbert", "bart"])
def test_padding_that_was_attended_to_still_is(kind: str, tmp_path: Path) -> None:
    tuned = random_classifier(kind, tmp_path)
    (tmp_path / "model").mkdir()
    write_classifier(tuned, reading_of(tuned, padded=True), tmp_path / "model")
    plain = trained_logits(tuned, TEXTS)
    tuned.model.encoder = tuned.model.encoder.with_padding(16)
    expected = trained_logits(tuned, TEXTS)
    assert abs(plain - expected).max() > 1e-4
    classifier = read_classifier(tmp_path / "model")
    found = predict_texts(classifier, TEXTS, batch=3).probabilities
    assert found == pytest.approx(expected.double().softmax(dim=-1).numpy(), abs=1e-5)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    with torch.inference_mode():
        given = tokenizer(TEXTS, padding="max_length", truncation=True, return_tensors="pt")
        torch.testing.assert_close(classifier.models[0](**given).logits, expected, atol=1e-5, rtol=1e-5)


def test_the_precision_of_training_is_that_of_predictions(tmp_path: Path) -> None:
    tuned = random_classifier("roberta", tmp_path)
    (tmp_path / "model").mkdir()
    write_classifier(tuned, reading_of(tuned, precision="bf16"), tmp_path / "model")
    found = predict_texts(read_classifier(tmp_path / "model"), TEXTS).probabilities
    expected = trained_logits(tuned, TEXTS).double().softmax(dim=-1).numpy()
    assert 1e-5 < abs(found - expected).max() < 0.05


def test_equal_models_give_equal_bytes(tmp_path: Path) -> None:
    tuned = random_classifier("roberta", tmp_path)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_classifier(load_tuned(tmp_path / "tuned"), reading_of(tuned), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "two").iterdir())
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(files)
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)
    assert str(tmp_path) not in (tmp_path / "one" / "config.json").read_text()


def test_a_head_that_does_not_fit_is_found_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DistilBERT's own class has the two layers, and ReLU between them."""
    tuned = random_classifier("distilbert", tmp_path)
    monkeypatch.setitem(export.OWN_HEADS, "distilbert", OwnHead("pre_classifier", "classifier"))
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match=r"its logits differ by up to .* of the trained distilbert model"):
        write_classifier(tuned, reading_of(tuned), tmp_path / "model")


def test_predictions_where_memory_is_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = random_classifier("distilbert", tmp_path)
    (tmp_path / "model").mkdir()
    write_classifier(tuned, reading_of(tuned), tmp_path / "model")
    classifier, told = read_classifier(tmp_path / "model"), list[int]()
    expected = predict_texts(classifier, TEXTS).probabilities
    memory = ShortMemory(monkeypatch, 20)
    found = predict_texts(classifier, TEXTS, on_batch=told.append).probabilities
    assert found == pytest.approx(expected, abs=1e-5)
    assert 1 <= memory.failed <= 5
    assert sum(told) == len(TEXTS)
    memory.room = 2
    with pytest.raises(OutOfMemory, match="one text of"):
        predict_texts(classifier, TEXTS)


def test_blank_texts_have_no_prediction_and_long_ones_are_counted(tmp_path: Path) -> None:
    tuned = random_classifier("distilbert", tmp_path)
    (tmp_path / "model").mkdir()
    write_classifier(tuned, reading_of(tuned), tmp_path / "model")
    assert type_of(tmp_path / "model") == TEXT_CLASSIFIER
    fits = " ".join(["the"] * 14)
    texts = ["", "the words", f"{fits} the", fits, " \u200b\n", "a"]
    told: list[int] = []
    found = predict_texts(read_classifier(tmp_path / "model"), texts, batch=2, on_batch=told.append)
    assert (found.cut, found.blank, sum(told)) == (1, 2, 6)
    assert [bool(row) for row in torch.from_numpy(found.probabilities).isnan().all(dim=1)] == [
        *(True, False, False, False, True, False)
    ]
    expected = trained_logits(tuned, [texts[1], texts[2], texts[3], texts[5]]).double().softmax(dim=-1)
    assert found.probabilities[[1, 2, 3, 5]] == pytest.approx(expected.numpy(), abs=1e-5)


def test_the_seeds_of_a_folder_are_averaged(tmp_path: Path) -> None:
    tuned = random_classifier("bert", tmp_path)
    other = load_tuned(save_random(tuned.model.encoder, tmp_path / "other", seed=6))
    for name, model in {"seed-10": tuned, "seed-9": other}.items():
        (tmp_path / "all" / name).mkdir(parents=True)
        write_classifier(model, reading_of(tuned), tmp_path / "all" / name)
    found = predict_texts(read_classifier(tmp_path / "all"), TEXTS).probabilities
    both = [trained_logits(model, TEXTS).double().softmax(dim=-1).numpy() for model in (tuned, other)]
    assert abs(both[0] - both[1]).max() > 0.01
    assert found == pytest.approx((both[0] + both[1]) / 2, abs=1e-5)
    config = json.loads((tmp_path / "all" / "seed-9" / "config.json").read_text())
    config["l3masking"]["max_length"] = 20
    (tmp_path / "all" / "seed-9" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"seed-10 and .*seed-9 have different reading"):
        read_classifier(tmp_path / "all")


DAMAGES = {
    "no folder": (lambda folder: folder.rename(folder.with_name("gone")), "there is no such folder"),
    "no configuration": (lambda folder: (folder / "config.json").unlink(), "config.json is missing"),
    "another model": (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "another kind"),
    "half a configuration": (lambda folder: (folder / "config.json").write_text('{"id2label"'), "not JSON"),
    "torn weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-50]),
        "model can't be loaded",
    ),
    "no tokenizer": (lambda folder: [path.unlink() for path in folder.glob("tok*")], "tokenizer|vocab"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_folder_that_is_no_whole_export_gets_one_line(damage: str, tmp_path: Path) -> None:
    happens, words = DAMAGES[damage]
    tuned = random_classifier("roberta", tmp_path)
    (tmp_path / "model").mkdir()
    write_classifier(tuned, reading_of(tuned), tmp_path / "model")
    happens(tmp_path / "model")
    with pytest.raises(InputError, match=words) as caught:
        read_classifier(tmp_path / "model")
    assert "\n" not in str(caught.value)
