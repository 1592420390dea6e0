"""Bad data, encoders and space files end `l3study run` in one line before anything is computed, in seconds.

What each reader refuses is tested beside it, in many more cases; here the whole command is asked, 56 times.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from small_study import NoMirror, Said, command, write_space

from study.space.yaml import dump_yaml

SECONDS = 5.0  # of a processor, at most


def lines(*rows: tuple[object, object]) -> bytes:
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


GOOD = lines(("red oak", "first"), ("a cat", "second"), ("the unlikely oak", "first"), ("red cat", "second"))

# what is wrong -> file, its bytes, words of the line
DATA: dict[str, tuple[str, bytes, list[str]]] = {
    "null text": ("train.jsonl", GOOD + lines((None, "first")), ["train.jsonl", "line 5", "`text` is null"]),
    "number for a text": ("train.jsonl", GOOD + lines((5, "first")), ["line 5", "`text` is 5"]),
    "null label": ("test.jsonl", GOOD + lines(("oak", None)), ["test.jsonl", "line 5", "`label` is null"]),
    "empty label": ("validation.jsonl", GOOD + lines(("oak", " ")), ["validation.jsonl", "line 5", "`label` is empty"]),
    "single class": ("train.jsonl", lines(("red", "first"), ("oak", "first")), ["every row of train", "two classes"]),
    "unseen label in test": ("test.jsonl", GOOD + lines(("oak", "fourth")), ["test has labels", "'fourth' (1 row)"]),
    "unseen label in validation": ("validation.jsonl", GOOD + lines(("oak", "4")), ["validation has labels", "'4'"]),
    "mixed labels": ("train.jsonl", GOOD + lines(("oak", 0)), ["mixes", "line 1 ('first')", "line 5 (0)"]),
    "label out of range": ("test.jsonl", GOOD.replace(b'"first"', b'"7"'), ["test has labels", "'7' (2 rows)"]),
    "half a label": ("train.jsonl", lines(("oak", 1.5), ("red", 0)), ["line 1", "1.5", "whole numbers"]),
    "label that is no number": ("train.jsonl", b'{"text": "b", "label": NaN}\n', ["line 1", "nan"]),
    "invalid UTF-8": ("train.jsonl", GOOD + b'{"text": "caf\xe9", "label": "first"}\n', ["line 5", "0xe9", "UTF-8"]),
    "UTF-16": ("train.jsonl", GOOD.decode().encode("utf-16"), ["line 1", "0xff", "UTF-16"]),
    "NUL": ("train.jsonl", lines(("a\0b", "first")), ["line 1", "`text`", "NUL"]),
    "zeroed tail": ("train.jsonl", GOOD[:-9] + bytes(9), ["train.jsonl", "line 4", "NUL"]),
    "torn": ("train.jsonl", GOOD[:-20], ["train.jsonl", "line 4", "not JSON"]),
    "empty": ("train.jsonl", b"", ["train.jsonl is empty"]),
    "blank": ("test.jsonl", b" \n\n", ["test.jsonl is empty"]),
    "no object": ("train.jsonl", GOOD + b'["a", "first"]\n', ["line 5", "not an object"]),
    "other column": ("test.jsonl", GOOD.replace(b"text", b"body"), ["test.jsonl", "no column `text`", "'body'"]),
    "key twice": ("train.jsonl", GOOD + b'{"text": "b", "text": "c", "label": "first"}', ["line 5", "'text' is twice"]),
    "half a surrogate": ("train.jsonl", b'{"text": "a\\ud83d", "label": "first"}\n', ["line 1", "surrogate"]),
    "every text blank": ("train.jsonl", lines(("", "first"), (" ", "second")), ["train.jsonl", "each of the 2 texts"]),
    "gzip": ("train.jsonl", b"\x1f\x8b\x08\x00" + bytes(20), ["train.jsonl", "gzip"]),
    "deep": ("train.jsonl", GOOD + b"[" * 200_000, ["line 5", "not JSON"]),
    "a class too small to be cut": (
        "train.jsonl",
        lines(("a", "first"), ("b", "second"), ("c", "third")),
        ["rows cannot be cut from 3"],
    ),
}
CUT = {"a class too small to be cut"}  # of these the validation split is cut from train

ALL = GOOD + lines(("an oak", "third"))
# accepted by a declared rule, which `data` counts -> file, its bytes, words of its output
DECLARED: dict[str, tuple[str, bytes, list[str]]] = {
    "blank texts": ("train.jsonl", ALL + lines(("", "first"), ("\u200b", "second")), ["! train: 2 empty texts, kept"]),
    "texts called NA": ("train.jsonl", ALL + lines(("NA", "first"), ("null", "second")), ["Nothing to warn of."]),
    "a text of 100,000 tokens": ("train.jsonl", ALL + lines(("oak " * 100_000, "first")), ["16.7% of train"]),
    "equal rows": ("train.jsonl", ALL + ALL, ["! train: 5 of 10 rows repeat an earlier text"]),
    "texts of train in test": (
        "test.jsonl",
        b"",
        ["! overlap: 24 of 24 test texts (100.0%) also occur"],
    ),
}


def torn(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def edited(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def without_head(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if not name.startswith("cls.")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})


ENCODERS: dict[str, tuple[Callable[[Path], Any], list[str]]] = {
    "no MLM head": (without_head, ["the checkpoint lacks cls.predictions", "masked-LM head"]),
    "a decoder": (lambda f: edited(f / "config.json", model_type="gpt2"), ["type 'gpt2' is not a known masked LM"]),
    "other sizes": (lambda f: edited(f / "config.json", vocab_size=200), ["in another shape"]),
    "no mask token": (lambda f: edited(f / "tokenizer_config.json", mask_token=None), ["has no mask_token"]),
    "no padding token": (lambda f: edited(f / "tokenizer_config.json", pad_token=None), ["has no pad_token"]),
    "a vocabulary above the embeddings": (lambda f: edited(f / "config.json", vocab_size=9), ["9 embeddings"]),
    "too few positions": (lambda f: edited(f / "config.json", max_position_embeddings=8), ["max_length", "8"]),
    "torn weights": (lambda f: torn(f / "model.safetensors"), ["its model can't be loaded"]),
    "torn tokenizer": (lambda f: torn(f / "tokenizer.json"), ["its tokenizer can't be loaded"]),
    "no such folder": (shutil.rmtree, ["does not exist: correct `path`"]),
}

# of a space file: what is changed -> words of the line
SPACES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "unknown section": ({"serch": {"trials": 3}}, ["serch", "unknown key"]),
    "unknown key": ({"optim": {"learning_rate": 1e-4}}, ["optim.learning_rate", "known: lr"]),
    "misspelt key": ({"optim": {"head_Ir": 1e-4}}, ["optim.head_Ir", "nearest: head_lr"]),
    "text for a number": ({"optim": {"lr": "fast"}}, ["optim.lr", '"fast"', "expected a number"]),
    "truth for a number": ({"optim": {"lr": True}}, ["optim.lr", "true is not allowed"]),
    "not a number": ({"optim": {"lr": float("nan")}}, ["optim.lr", ".nan is not a finite number"]),
    "infinite": ({"optim": {"lr": float("inf")}}, ["optim.lr", ".inf is not a finite number"]),
    "below its range": ({"optim": {"lr": -1}}, ["optim.lr is -1", "above 0"]),
    "above its range": ({"masking": {"mean": 1.2}}, ["masking.mean is 1.2", "[0, 1]"]),
    "unknown arm": ({"methods": ["stl", "l3maskin"]}, ["methods[1]", "nearest: l3masking"]),
    "arm twice": ({"methods": ["stl", "stl"]}, ["methods[1]", "there already"]),
    "unknown choice": ({"precision": "fp16"}, ["precision", "known: float32, bf16"]),
    "no seeds": ({"seeds": 0}, ["seeds", "expected how many"]),
    "a name that leaves the folder": ({"name": "../../x"}, ["name", '"../../x" is no name']),
    "a secret": ({"hf_token": "hf_CANARY123456789"}, ["hf_token", "looks like a secret"]),
}
DUPLICATE = "optim: {lr: 1.0e-4}\noptim: {lr: 1.0e-5}\n"


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """The space file, encoder and data of the finished study, to be damaged."""
    shutil.copytree(finished_study, tmp_path / "here", ignore=shutil.ignore_patterns("out"))
    return tmp_path / "here"


@pytest.fixture
def nothing_computed() -> Iterator[None]:
    """Neither a text is scored nor a model trained."""

    def computed(*_: Any, **__: Any) -> None:
        pytest.fail("something was computed")

    with (
        mock.patch("study.work.workers.ArtefactWorker.make", computed),
        mock.patch("study.trial.run_trial", computed),
        mock.patch("study.run.Mirror", NoMirror),
    ):
        yield


def refused(here: Path, words: list[str]) -> None:
    """`l3study run` ends with 2 and one line that holds these words, and leaves no record and no score."""
    began = time.process_time()
    said = command("run", here / "small.yaml", "--out", here / "out")
    seconds = time.process_time() - began
    assert said.code == 2, said
    line = said.err.splitlines()[-1]
    assert line.startswith("l3study: "), said.err
    assert [word for word in words if word not in line] == [], line
    assert "CANARY" not in said.err
    assert not {"records", "scores", "failures"} & {path.name for path in here.glob("out/*")}
    assert seconds < SECONDS


@pytest.mark.parametrize("case", DATA)
def test_bad_data_is_refused(here: Path, nothing_computed: None, case: str) -> None:
    file, content, words = DATA[case]
    (here / file).write_bytes(content)
    if case in CUT:
        write_space(here / "small.yaml", datasets={"words": {"train": "train.jsonl", "test": "test.jsonl"}})
    refused(here, words)


@pytest.mark.parametrize("case", DECLARED)
def test_what_a_rule_allows_is_counted(here: Path, case: str) -> None:
    file, content, words = DECLARED[case]
    (here / file).write_bytes(content or (here / "train.jsonl").read_bytes())
    said: Said = command("data", here / "small.yaml")
    assert said.code == 0, said.err
    assert [word for word in words if word not in said.out] == []


# with an arm that is scored, and with one that is not: then no scoring looks at the encoder first
@pytest.mark.parametrize("methods", [["l3masking"], ["stl"]])
@pytest.mark.parametrize("case", ENCODERS)
def test_a_bad_encoder_is_refused(here: Path, nothing_computed: None, case: str, methods: list[str]) -> None:
    damage, words = ENCODERS[case]
    damage(here / "encoder")
    write_space(here / "small.yaml", methods=methods)
    refused(here, words)


@pytest.mark.parametrize("case", SPACES)
def test_a_bad_space_is_refused(here: Path, nothing_computed: None, case: str) -> None:
    changes, words = SPACES[case]
    write_space(here / "small.yaml", **changes)
    refused(here, words)


def test_all_problems_of_a_space_are_said_at_once(here: Path, nothing_computed: None) -> None:
    text = dump_yaml({"name": "../x", "methods": ["rmt"], "masking": {"mean": 2}, "seeds": 0, "precision": "fp16"})
    (here / "small.yaml").write_text((here / "small.yaml").read_text().split("encoders:")[0] + text + DUPLICATE)
    said = command("run", here / "small.yaml", "--out", here / "out")
    assert said.code == 2
    for place in ("name: ", "methods[0]", "masking.mean is 2", "seeds", "precision", "optim: line "):
        assert sum(place in line for line in said.err.splitlines()) == 1, (place, said.err)


def test_there_are_as_many_cases_as_the_documentation_says() -> None:
    assert (len(DATA), len(ENCODERS), len(SPACES), len(DECLARED)) == (26, 10, 15, 5)
