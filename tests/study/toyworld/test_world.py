"""The embedded default world: made once, whole or not at all, the same everywhere, and with the truth known."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from small_world import SMALL, manifest

from l3masking.data.table import DataSpec, load_data
from l3masking.encoders.load import load_encoder
from l3masking.errors import EnvironmentFault, InputError
from l3masking.scoring.scoring import score_tokens
from study.store.whole_files import content_key
from study.toyworld import encoder
from study.toyworld import world as toyworld
from study.toyworld.encoder_config import EncoderConfig
from study.toyworld.grammar import GrammarConfig, general_corpus, make_language
from study.toyworld.task import SPLITS, TaskConfig, make_terms, task_examples
from study.toyworld.world import ToyWorld, build_world, domain_spans, find_world, recipe

ROOT = Path(__file__).resolve().parents[3]
GRAMMAR, TASK = GrammarConfig(), TaskConfig()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> ToyWorld:
    return build_world(SMALL, cache=tmp_path_factory.mktemp("small-world"))


def in_another_process(cache: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """Build the small world there, with another hash seed and another number of threads."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONHASHSEED"}
    environment |= {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "2"}
    command = [sys.executable, str(ROOT / "tests" / "support" / "small_world.py"), str(cache), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_a_killed_build_leaves_nothing_and_another_process_makes_the_same_world(small: ToyWorld, tmp_path: Path):
    assert in_another_process(tmp_path, "die").returncode == -signal.SIGKILL
    assert find_world(SMALL, cache=tmp_path) is None
    assert [path for path in (tmp_path / "toyworld").glob(".*.tmp") if path.is_dir()], "the test killed it too late"
    again = in_another_process(tmp_path)
    assert again.returncode == 0, again.stderr
    folder = Path(again.stdout.strip())
    assert manifest(folder) == manifest(small.encoder_folder)  # holds the hash of every file, weights included
    assert not list((tmp_path / "toyworld").glob(".*.tmp"))
    assert find_world(SMALL, cache=tmp_path) is not None


def test_a_hit_computes_nothing(small: ToyWorld, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a hit must not build")

    monkeypatch.setattr(toyworld, "_build", refuse)
    monkeypatch.setattr(encoder, "make_encoder", refuse)
    cache = small.encoder_folder.parents[2]
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    assert build_world(SMALL, cache=cache) == small == find_world(SMALL, cache=cache)
    assert {path: path.stat().st_mtime_ns for path in cache.rglob("*")} == before


@pytest.mark.parametrize("file", ["encoder/model.safetensors", "train.jsonl"])
def test_a_damaged_world_is_seen_and_made_anew(tmp_path: Path, file: str, caplog: pytest.LogCaptureFixture):
    world = build_world(SMALL, cache=tmp_path)
    whole = manifest(world.encoder_folder)
    path = world.encoder_folder.parent / file
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert find_world(SMALL, cache=tmp_path) is None
    assert build_world(SMALL, cache=tmp_path) == world
    assert "damaged" in caplog.text
    assert manifest(world.encoder_folder) == whole


def test_of_two_that_ask_at_once_one_builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    built = []
    make = encoder.make_encoder
    monkeypatch.setattr(encoder, "make_encoder", lambda *args, **more: built.append(1) or make(*args, **more))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: build_world(SMALL, cache=tmp_path), range(2))
    assert first == second
    assert built == [1]


def test_the_cache_is_where_the_environment_says(small: ToyWorld, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("L3STUDY_CACHE", str(small.encoder_folder.parents[2]))
    assert find_world(SMALL) == small
    assert find_world(dataclasses.replace(SMALL, seed=1)) is None


def test_a_cache_that_cannot_be_written_is_an_environment_fault(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match="set L3STUDY_CACHE"):
        build_world(SMALL, cache=tmp_path / "file")


@pytest.mark.parametrize(
    ("part", "setting"),
    [("grammar", {"habit": 0.8}), ("task", {"purity": 0.8}), ("encoder", {"lr": 1e-3}), ("encoder", {"dropout": 0.0})],
)
def test_a_changed_constant_is_another_world(part: str, setting: dict):
    changed = dataclasses.replace(SMALL, **{part: dataclasses.replace(getattr(SMALL, part), **setting)})
    assert content_key(recipe(changed)) != content_key(recipe(SMALL))
    assert content_key(recipe(dataclasses.replace(SMALL))) == content_key(recipe(SMALL))


def test_changed_code_or_packages_are_another_world(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    plain = recipe(SMALL)
    edited = tmp_path / "grammar.py"
    edited.write_text((ROOT / "study" / "toyworld" / "grammar.py").read_text() + "# edited\n")
    monkeypatch.setattr(toyworld, "SOURCES", (edited, *toyworld.SOURCES[1:]))
    assert recipe(SMALL)["sources"] != plain["sources"]
    monkeypatch.setattr("importlib.metadata.version", lambda _: "99")
    assert recipe(SMALL)["versions"] != plain["versions"]


def test_building_leaves_the_global_state_alone(tmp_path: Path):
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    threads = torch.get_num_threads()
    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    build_world(SMALL, cache=tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.random.get_state()[1].tolist() == before[1]
    assert random.getstate() == before[2]
    assert torch.get_num_threads() == threads


def test_no_text_or_weight_is_shipped():
    shipped = {
        path.suffix for package in ("study", "l3masking") for path in (ROOT / package).rglob("*") if path.is_file()
    }
    assert shipped <= {".py", ".pyc"}


@pytest.fixture(scope="module")
def task() -> dict[str, list]:
    language = make_language(GRAMMAR, seed=0)
    terms = make_terms(language, TASK, seed=0)
    examples = {split: task_examples(language, terms, GRAMMAR, TASK, split=split, seed=0) for split in SPLITS}
    return {"language": language, "terms": terms, **examples}


def planted(task: dict) -> set[str]:
    return {term for words in (*task["terms"].of_class.values(), task["terms"].neutral) for term in words}


def naive_bayes(task: dict, *, domain: bool) -> float:
    """Test accuracy of a bag of words: of the domain words alone, or of all other words alone."""
    words = {word for example in task["train"] for word in example.text.split()}
    chosen = sorted(word for word in words if (word in planted(task)) == domain)
    counter = CountVectorizer(vocabulary=chosen, token_pattern=r"\S+")
    train, test = task["train"], task["test"]
    model = MultinomialNB(alpha=0.3).fit(counter.transform([e.text for e in train]), [e.label for e in train])
    return model.score(counter.transform([e.text for e in test]), [e.label for e in test])


def test_the_label_depends_on_the_domain_words_and_on_nothing_else(task: dict):
    counts = Counter(example.label for example in task["test"])
    majority = counts.most_common(1)[0][1] / len(task["test"])
    sigma = math.sqrt(0.25 / len(task["test"]))  # of an accuracy, at most
    assert majority < 0.35
    assert naive_bayes(task, domain=True) > majority + 15 * sigma
    assert naive_bayes(task, domain=False) < majority + 5 * sigma
    assert naive_bayes(task, domain=True) < 0.95  # misleading terms and noise keep even this from the top


def test_the_general_corpus_lacks_the_new_terms_and_keeps_the_others_at_home(task: dict):
    language, terms = task["language"], task["terms"]
    corpus = [text.split() for text in general_corpus(language, dataclasses.replace(GRAMMAR, texts=3000), seed=0)]
    seen = {word for text in corpus for word in text}
    novel = planted(task) - terms.shifted
    assert not seen & novel
    assert len(terms.shifted) == 26
    assert terms.shifted <= seen
    home = {noun: number for number, topic in enumerate(language.topics) for noun in topic.nouns}

    def at_home(texts: list[list[str]]) -> list[float]:
        """For every shifted word: the share of the other general nouns of its text that are of its own topic."""
        shares = []
        for words in texts:
            others = [home[word] for word in words if word in home and word not in terms.shifted]
            shares += [np.mean([other == home[w] for other in others]) for w in words if w in terms.shifted and others]
        return shares

    assert min(at_home(corpus)) == 1.0
    abroad = at_home([example.text.split() for split in SPLITS for example in task[split]])
    assert len(abroad) > 500
    assert np.mean(abroad) < 1 / len(language.topics) + 5 * 0.5 / math.sqrt(len(abroad))


def test_texts_of_the_task(task: dict):
    texts = [example.text for split in SPLITS for example in task[split]]
    assert [len(task[split]) for split in SPLITS] == [TASK.train, TASK.validation, TASK.test]
    assert len(set(texts)) == len(texts)
    lengths = [len(text.split()) for text in texts]
    assert min(lengths) >= 8
    assert max(lengths) <= 36
    assert 12 < np.mean(lengths) < 24
    for text in texts:
        spans = domain_spans(text, frozenset(planted(task)))
        assert TASK.fewest <= len(spans) <= TASK.most
        assert all(text[start:end] in planted(task) for start, end in spans)
    assert not {word for text in texts for word in text.split()} & set(TASK.labels)
    shared = Counter(example.label for example in task["train"])
    assert set(shared) == set(TASK.labels)


def test_domain_spans():
    assert domain_spans("a beb a beb .", frozenset({"beb"})) == [(2, 5), (8, 11)]
    assert domain_spans("bebo", frozenset({"beb"})) == []


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (GrammarConfig, {"topics": 1}),
        (GrammarConfig, {"habit": 1.5}),
        (GrammarConfig, {"zipf": -1.0}),
        (TaskConfig, {"labels": ("one",)}),
        (TaskConfig, {"labels": ("one", "one")}),
        (TaskConfig, {"most": 5}),
        (TaskConfig, {"novel": 1, "shifted": 1}),
        (TaskConfig, {"purity": -0.1}),
        (TaskConfig, {"train": 0}),
        (EncoderConfig, {"width": 30}),
        (EncoderConfig, {"lr": 0.0}),
        (EncoderConfig, {"vocabulary": 10}),
    ],
)
def test_impossible_constants_are_refused(make: type, settings: dict):
    with pytest.raises(InputError, match="toy"):
        make(**settings)


def test_more_shifted_words_than_the_language_can_spare_are_refused():
    with pytest.raises(InputError, match="at most half"):
        make_terms(make_language(SMALL.grammar, seed=0), TaskConfig(shifted=9), seed=0)


def test_the_default_world_loads_like_any_encoder_and_data(toy_world: ToyWorld):
    encoder = load_encoder(str(toy_world.encoder_folder))
    assert encoder.max_positions == 128
    assert len(encoder.tokenizer) == 1024 == encoder.model.config.vocab_size
    files = {split: str(path) for split, path in toy_world.data_files.items()}
    data = load_data(DataSpec(**files), name="toyworld")
    assert (len(data.train), len(data.validation), len(data.test)) == (400, 200, 400)
    assert data.labels == TASK.labels
    assert not data.overlap["test_in_train"]
    assert max(len(ids) for ids in encoder.tokenizer(list(data.train.texts))["input_ids"]) < 128
    assert json.loads(toy_world.data_files["test"].read_text().splitlines()[0]).keys() == {"text", "label"}


def test_the_default_encoder_knows_the_general_language(toy_world: ToyWorld):
    encoder = load_encoder(str(toy_world.encoder_folder))
    fresh = general_corpus(make_language(GRAMMAR, seed=0), dataclasses.replace(GRAMMAR, texts=60), seed=1)
    scrambled = [" ".join(random.Random(text).sample(text.split(), len(text.split()))) for text in fresh]

    def log_likelihood(texts: list[str]) -> float:
        return float(np.mean(np.concatenate([score.log_likelihood for score in score_tokens(encoder, texts)])))

    assert log_likelihood(fresh) > -2.0  # nats; -6.9 is a blind guess among 1024
    assert log_likelihood(scrambled) < log_likelihood(fresh) - 2.0
