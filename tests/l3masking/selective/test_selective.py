"""Importance from a classifier, sentences, the scoring network, and masks, on the small task."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from short_memory import ShortMemory
from small_task import SCORING, TELLING, data, encoder, one_thread, run, settings, tokenizer

from l3masking.errors import InputError
from l3masking.memory import OutOfMemory
from l3masking.rng import stream
from l3masking.scoring.words import encode_as
from l3masking.selective import network
from l3masking.selective.classifier import Classifier, importance_of
from l3masking.selective.heuristic import important_tokens
from l3masking.selective.masks import checked_importance, chosen_tokens
from l3masking.selective.network import predict, train_network
from l3masking.selective.settings import SelectiveConfig

TELLING_WORDS = {word for words in TELLING.values() for word in words}
CONFIG = SelectiveConfig(unit="document", delta=0.2)


@pytest.fixture(autouse=True)
def _quickly() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    """Fine-tuned until it knows the telling words."""
    with one_thread():
        config = settings(max_epochs=30, lr=3e-3)
        outcome = run("stl", config, source=data(240), objectives=("accuracy",), dropout=0.0)["accuracy"]
        assert outcome.test["accuracy"] > 0.9
        return Classifier(encoder(0.0), outcome.weights, 3)


def test_probabilities_are_those_of_each_sequence_alone(classifier: Classifier) -> None:
    texts = [text.input_ids for text in encode_as(SCORING, tokenizer(), data().test.texts[:12])]
    found = Classifier.probabilities(classifier, texts)
    model = classifier.model.encoder.model
    for ids, row in zip(texts, found, strict=True):
        with torch.no_grad():
            state = model.bert(input_ids=torch.tensor(ids)[None])[0][:, 0]
            expected = torch.softmax(classifier.model.classifier(state), dim=-1)[0]
        np.testing.assert_allclose(row, expected.numpy(), atol=1e-5)
    classifier.tokens.size, held = 20, classifier.tokens.size
    np.testing.assert_allclose(classifier.probabilities(texts), found, atol=1e-5)
    classifier.tokens.size = held


def test_importance_where_memory_is_short(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller batches, the same probabilities; and the text that never fits is named."""
    texts = [text.input_ids for text in encode_as(SCORING, tokenizer(), data().test.texts)]
    found, held = classifier.probabilities(texts), classifier.tokens.size
    memory = ShortMemory(monkeypatch, 40)
    np.testing.assert_allclose(classifier.probabilities(texts), found, atol=1e-5)
    assert 1 <= memory.failed <= np.log2(len(texts))
    assert classifier.budget <= 40
    memory.room = 4
    with pytest.raises(OutOfMemory, match=f"one text of {max(map(len, texts))} ids"):
        classifier.probabilities(texts)
    classifier.tokens.size = held


def test_the_network_where_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Up to the first epoch, in which rounding has not parted anything."""
    texts = encode_as(SCORING, tokenizer(), data().train.texts[:20])
    flags = [np.arange(len(text.positions)) % 2 == 0 for text in texts]
    config = SelectiveConfig(network_epochs=1, network_batch=10, network_lr=1e-3)
    monkeypatch.setattr(network, "DROPOUT", 0.0)
    whole = train_network(encoder(0.0), texts, flags, config)
    said = list(predict(encoder(0.0), whole.weights, texts))
    memory = ShortMemory(monkeypatch, 40)
    found = train_network(encoder(0.0), texts, flags, config)
    for name, value in whole.weights.items():
        assert torch.allclose(found.weights[name], value, atol=2e-4), name
    for one, other in zip(predict(encoder(0.0), whole.weights, texts), said, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert 3 <= memory.failed <= 2 + 2 * np.log2(20)
    memory.room = 4
    with pytest.raises(OutOfMemory, match="one text of"):
        list(predict(encoder(0.0), whole.weights, texts))


def test_the_network_without_padding_is_that_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = encode_as(SCORING, tokenizer(), data().train.texts[:20])
    flags = [np.arange(len(text.positions)) % 2 == 0 for text in texts]
    config = SelectiveConfig(network_epochs=1, network_batch=10, network_lr=1e-3)
    monkeypatch.setattr(network, "DROPOUT", 0.0)
    memory, ways = ShortMemory(monkeypatch, 10**9), [encoder(0.0).through(way) for way in ("own", "fast")]
    own = train_network(ways[0], texts, flags, config)
    padded = sum(memory.passes)
    fast = train_network(ways[1], texts, flags, config)
    assert sum(memory.passes) - padded < 0.9 * padded, "fewer tokens"
    for name, value in own.weights.items():
        assert torch.allclose(fast.weights[name], value, atol=2e-4), name
    for one, other in zip(*(predict(way, own.weights, texts) for way in ways), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


def test_the_telling_words_are_important(classifier: Classifier) -> None:
    texts, labels = data().train.texts, data().train.labels
    encoded = encode_as(SCORING, tokenizer(), texts)
    found = importance_of(classifier, encoded, labels, CONFIG)
    hits = told = chosen = 0
    for text, one in zip(encoded, found, strict=True):
        pieces = tokenizer().convert_ids_to_tokens(text.input_ids[text.positions].tolist())
        telling = np.array([piece in TELLING_WORDS for piece in pieces])
        hits, told, chosen = (
            hits + int((telling & one.important).sum()),
            told + int(telling.sum()),
            chosen + int(one.important.sum()),
        )
        assert np.all((one.gain >= 0) & (one.gain <= 1))
    assert hits > 0.5 * told
    assert hits > 0.5 * chosen


def test_it_is_the_heuristic_of_each_text(classifier: Classifier) -> None:
    """Against one call per sequence; and wrong texts have no important token."""
    config = dataclasses.replace(CONFIG, stop_words=False)
    encoded = encode_as(SCORING, tokenizer(), data().test.texts[:15])
    labels = data().test.labels[:15]
    wrong = [*labels[:14], (labels[14] + 1) % 3]
    found = importance_of(classifier, encoded, wrong, config)
    for text, label, one in zip(encoded, wrong, found, strict=True):
        head, tail, ids = text.input_ids[:1], text.input_ids[-1:], text.input_ids[text.positions].tolist()

        def confidence(batch, head=head, tail=tail, label=label):
            rows = [np.concatenate([head, np.array(tokens, dtype=np.int64), tail]) for tokens in batch]
            return [float(classifier.probabilities([row])[0, label]) for row in rows]

        right = classifier.probabilities([text.input_ids])[0].argmax() == label
        expected = important_tokens(ids, confidence, delta=0.2) if right else [False] * len(ids)
        assert one.important.tolist() == expected
        assert (one.tested, one.units) == (int(right), 1)


def test_only_the_surest_units_are_tested(classifier: Classifier) -> None:
    encoded = encode_as(SCORING, tokenizer(), data().test.texts[:20])
    labels = data().test.labels[:20]
    every = importance_of(classifier, encoded, labels, CONFIG)
    half = importance_of(classifier, encoded, labels, dataclasses.replace(CONFIG, top_share=0.5))
    tested = sum(one.tested for one in every)
    assert sum(one.tested for one in half) == -(-tested // 2)


def test_the_most_important_tokens_of_each_sentence_are_masked_up_to_the_rate() -> None:
    importance = np.array([0.1, 0.9, 0.0, 0.5, 0.0, 0.0, 0.0, 0.3, 0.2, 0.4])
    sentences = np.array([0] * 7 + [1] * 3)
    draws = stream(0, "x")
    assert np.flatnonzero(chosen_tokens(importance, sentences, 0.3, "important", draws)).tolist() == [1, 3, 9]
    assert np.flatnonzero(chosen_tokens(importance, sentences, 0.01, "important", draws)).tolist() == [1, 9]
    assert not chosen_tokens(np.zeros(10), sentences, 0.3, "important", draws).any()
    long = chosen_tokens(np.ones(100), np.zeros(100), 0.29, "important", draws)
    assert long.sum() == 29, "0.29 * 100 is a little less than 29"


def test_the_control_masks_as_many_tokens_of_each_sentence() -> None:
    draw = np.random.default_rng(0)
    importance = np.where(draw.random(60) > 0.6, draw.random(60), 0)
    sentences = np.sort(draw.integers(0, 6, 60))
    chosen = chosen_tokens(importance, sentences, 0.2, "important", stream(0, "x"))
    counts = np.zeros(60)
    for seed in range(400):
        control = chosen_tokens(importance, sentences, 0.2, "random", stream(seed, "x"))
        counts += control
        assert (
            np.bincount(sentences[control], minlength=6).tolist()
            == np.bincount(sentences[chosen], minlength=6).tolist()
        )
    for number in range(6):
        inside = sentences == number
        chance = chosen[inside].mean()
        assert np.all(np.abs(counts[inside] / 400 - chance) <= 5 * np.sqrt(chance * (1 - chance) / 400) + 1e-12)


def test_the_network_learns_which_words_are_important_and_repeats() -> None:
    texts = encode_as(SCORING, tokenizer(), data(90).train.texts)
    telling = tokenizer().convert_tokens_to_ids(sorted(TELLING_WORDS))
    important = [np.isin(text.input_ids[text.positions], telling) for text in texts]
    config = SelectiveConfig(network_epochs=25, network_batch=16, network_lr=3e-3)
    before = copy.deepcopy(encoder().model.state_dict())
    network = train_network(encoder(), texts, important, config, seed=1)
    again = train_network(encoder(), texts, important, config, seed=1)
    found = list(predict(encoder(), network.weights, iter(texts)))
    assert network.f1 > 0.9
    assert all(torch.equal(network.weights[name], again.weights[name]) for name in network.weights)
    assert all(torch.equal(value, before[name]) for name, value in encoder().model.state_dict().items())
    right = np.concatenate([(row > 0.5) == flags for row, flags in zip(found, important, strict=True)])
    assert right.mean() > 0.95


def test_a_network_with_nothing_to_learn_is_refused() -> None:
    texts = encode_as(SCORING, tokenizer(), data().train.texts[:5])
    with pytest.raises(InputError, match="no token is important"):
        train_network(encoder(), texts, [np.zeros(len(text.positions), dtype=bool) for text in texts], CONFIG)


@pytest.mark.parametrize(
    "wrong",
    [
        *({"delta": 0.0}, {"max_rate": 1.1}, {"top_share": 0.0}, {"criterion": "x"}, {"unit": "x"}),
        *({"network_lr": 0.0}, {"network_epochs": 0}, {"class_weight": 0.0}, {"network_warmup": 2.0}),
        {"classifier_seed": -1},
    ],
)
def test_refused_settings(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"selective.{next(iter(wrong))}"):
        SelectiveConfig(**wrong)


def told(texts: list[str], values: list[list[float]], **settings: object) -> list[list[float]]:
    config = SelectiveConfig(**settings)
    pairs = zip(texts, map(np.array, values), strict=True)
    passed = checked_importance(pairs, tokenizer(), lambda text: encode_as(SCORING, tokenizer(), [text])[0], config)
    return [row.tolist() for row in passed]


def test_importance_that_selects_nothing_is_refused_with_the_counts() -> None:
    with pytest.raises(InputError, match=r"delta is 0\.05: none of 5 tokens is important.*larger delta"):
        told(["the red cat", "a dog"], [[0.0, 0.0, 0.0], [0.0, 0.0]])


def test_importance_that_selects_everything_is_told_with_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Of units with important tokens: those that are classified wrongly have none. Stop words never are."""
    texts, values = ["the red cat", "a dog"], [[0.0, 0.2, 0.3], [0.0, 0.0]]
    assert told(texts, values, delta=1.0) == values
    assert "delta is 1: 2 of 5 tokens are important, all but stop words of each sentence that has any" in caplog.text
    caplog.clear()
    told(texts, values, delta=1.0, stop_words=False)
    told(texts, [[0.0, 0.0, 0.3], [0.0, 0.0]])
    assert not caplog.text
    told(texts, [[0.1, 0.2, 0.3], [0.0, 0.0]], stop_words=False, unit="document")
    assert "3 of 5 tokens are important, all of each document that has any" in caplog.text


def test_the_tokens_of_a_pair_keep_their_sides(classifier: Classifier) -> None:
    """Against one call per sequence, in which a separator stands between what is left of the two texts."""
    config = dataclasses.replace(CONFIG, stop_words=False, unit="sentence")
    texts = [("we use the old", text) for text in data().test.texts[:12]]
    encoded = encode_as(SCORING, tokenizer(), texts)
    labels = data().test.labels[:12]
    found = importance_of(classifier, encoded, labels, config)
    cls, sep = tokenizer().cls_token_id, tokenizer().sep_token_id
    tested = 0
    for text, label, one in zip(encoded, labels, found, strict=True):
        first = int(np.flatnonzero(np.diff(text.positions) > 1)[0]) + 1

        def confidence(batch, text=text, first=first, label=label):
            ids = text.input_ids[text.positions]
            rows = [
                [cls, *(ids[at] for at in part if at < first), sep, *(ids[at] for at in part if at >= first), sep]
                for part in batch
            ]
            return [float(classifier.probabilities([row])[0, label]) for row in rows]

        right = classifier.probabilities([text.input_ids])[0].argmax() == label
        count = len(text.positions)
        expected = important_tokens(list(range(count)), confidence, delta=0.2) if right else [False] * count
        assert one.important.tolist() == expected
        assert one.units == 1, "a pair is one unit, even where units are sentences"
        tested += one.tested
    assert tested > 3
