"""`l3study pos`: the profile of a study from its own scores, with a tagger made here."""

from __future__ import annotations

import json
import shutil
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from harmful import POLICY
from safetensors.numpy import load_file, save_file
from small_study import NoMirror, Said, command, write_space, write_study
from small_task import TELLING

from l3masking import load_encoder, mask_probabilities, score_tokens
from l3masking.analysis import taggers
from l3masking.analysis.tagging import TaggedSpan
from l3masking.errors import InputError
from l3masking.masking.policies.custom import CustomPolicy
from study.space.reader import make_space, read_space
from study.tag_profiles import ProfileRequest, _run_by, find_policies

NOUNS = {word for words in TELLING.values() for word in words}


class Made:
    """Telling words are nouns, "the" and "a" determiners, "unlikely" an adjective, and all others X."""

    name = "made 1"

    def tag(self, text: str) -> list[TaggedSpan]:
        spans, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            tag = "NN" if word in NOUNS else {"the": "DT", "a": "DT", "unlikely": "JJ"}.get(word, "X")
            spans.append((at, at + len(word), tag))
            at += len(word)
        return spans


@pytest.fixture(autouse=True)
def _made_tagger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(taggers.TAGGERS, "textblob", lambda words: Made())


def scored(folder: Path, **changes: Any) -> Path:
    """A study whose scores are made, and nothing else; its folder."""
    space = write_space(folder / "small.yaml", **changes)
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("score", space, "--out", folder / "out")
    assert said.code == 0, said.err
    return folder / "out"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two encoders on one dataset, scored."""
    folder = tmp_path_factory.mktemp("tagged")
    write_study(folder)
    shutil.copytree(folder / "encoder", folder / "domain")
    weights, draw = load_file(folder / "domain" / "model.safetensors"), np.random.default_rng(1)
    moved = {name: value + draw.normal(0, 0.05, value.shape).astype(value.dtype) for name, value in weights.items()}
    save_file(moved, folder / "domain" / "model.safetensors", {"format": "pt"})
    encoders = {"general": {"path": "encoder"}, "domain": {"path": "domain"}}
    return scored(folder, encoders=encoders, masking={"mean": 0.2})


def pos(study: Path, *words: object) -> Said:
    return command("pos", study, "--tagger", "textblob", *words)


def slow_means(folder: Path, weighting: str) -> dict[str, tuple[int, float]]:
    """Tag -> count and mean, token by token, from scores made here. Every word but "unlikely" is one token."""
    texts = [json.loads(line)["text"] for line in (folder.parent / "train.jsonl").read_text().splitlines()]
    encoder = load_encoder(str(folder))
    found: dict[str, list[float]] = defaultdict(list)
    for text, score in zip(texts, score_tokens(encoder, texts, max_length=16), strict=True):
        pieces = encoder.tokenizer.convert_ids_to_tokens(score.input_ids[score.positions].tolist())
        words = iter(text.split())
        tags: list[str] = []
        for piece in pieces:
            tags.append(tags[-1] if piece.startswith("##") and piece not in text else Made().tag(next(words))[0][2])
        values = mask_probabilities(np.exp(score.log_likelihood.astype(float)), mean=0.2, weighting=weighting)
        for tag, value in zip(tags, values, strict=True):
            found[tag].append(value)
    return {tag: (len(values), float(np.mean(values))) for tag, values in found.items()}


def test_both_encoders_stand_beside_each_other_with_their_own_means(study: Path) -> None:
    said = pos(study)
    assert said.code == 0, said.err
    shown = json.loads((study / "tables" / "pos_words.json").read_text())
    assert [(one["encoder"], one["weighting"]) for one in shown["columns"]] == [
        (encoder, weighting) for encoder in ("domain", "general") for weighting in ("complement", "surprisal")
    ]
    assert (shown["tagger"], shown["texts"], shown["wanted_mean"], shown["min_count"]) == ("made 1", 24, 0.2, 10)
    for column in shown["columns"]:
        folder = study.parent / {"general": "encoder", "domain": "domain"}[column["encoder"]]
        wanted = slow_means(folder, column["weighting"])
        rows = {row["tag"]: (row["count"], row["mean"]) for row in (*column["tags"], *column["rare"])}
        assert rows.keys() == wanted.keys()
        for tag, (count, mean) in wanted.items():
            assert rows[tag] == (count, pytest.approx(mean, abs=1e-6))
        assert column["untagged"] == 0
    assert "Tags by made 1" in said.out
    assert [line for line in said.out.splitlines() if line.startswith(str(study))] == [
        str(study / "tables" / f"pos_words.{ending}") for ending in ("md", "tex", "csv", "json")
    ]


def test_random_masking_is_exact_and_the_files_are_the_same_again(study: Path) -> None:
    def files() -> Iterator[bytes]:
        said = pos(study, "--policy", "uniform", "--policy", "whole_word", "--min-count", "1")
        assert said.code == 0, said.err
        return (path.read_bytes() for path in sorted((study / "tables").glob("pos_*")))

    assert list(files()) == list(files())
    shown = json.loads((study / "tables" / "pos_words.json").read_text())
    for column in shown["columns"]:
        assert {(row["mean"], row["std"]) for row in column["tags"]} == {(0.2, 0.0)}
        assert not column["rare"]


def test_one_encoder_and_one_format(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("tables"))
    said = pos(copy, "--encoder", "domain", "--dataset", "words", "--weighting", "surprisal", "--format", "csv")
    assert said.code == 0, said.err
    assert [path.name for path in (copy / "tables").iterdir()] == ["pos_words.csv"]
    lines = (copy / "tables" / "pos_words.csv").read_text().splitlines()[1:]
    assert {tuple(line.split(",")[:4]) for line in lines} == {("words", "domain", "l3", "surprisal")}


WRONG = {
    "--encoder domainn": "--encoder domainn: no encoder of this study; nearest: domain",
    "--dataset word": "--dataset word: no dataset of this study; nearest: words",
    "--policy l4": "--policy l4: no masking policy; nearest: l3",
    "--tagger textblb": "--tagger textblb: not known; nearest: textblob",
    "--weighting complment": "--weighting complment: not known; nearest: complement",
    "--words blanks": "--words blanks: not known; known: tagger, whitespace",
    "--format xls": "--format xls: not known; known: md, tex, csv, json",
    "--min-count 0": "--min-count 0: at least 1 token",
    "--policy importance": "no arm of this study computes the importance of tokens: add one of selective, ",
    "--policy entropy": "no arm of this study (stl, rtm, l3masking) makes entropy: add an arm with policy entropy",
}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_usage_is_one_line(study: Path, words: str) -> None:
    said = pos(study, *words.split())
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert WRONG[words] in said.err


def test_a_study_without_scores_names_the_command(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("tables", "scores"))
    said = pos(copy)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"the scores of domain on words are not finished; run `l3study score SPACE --out {copy}`" in said.err
    write_study(tmp_path / "stl")
    said = pos(scored(tmp_path / "stl", methods=["stl"]))
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "no arm of this study (stl) makes scores: add l3masking to `methods`" in said.err
    said = pos(tmp_path)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "no study here" in said.err


def test_random_masking_needs_no_scores(study: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(study, copy, ignore=shutil.ignore_patterns("tables", "scores"))
    assert pos(copy, "--policy", "uniform", "--encoder", "general").code == 0


def test_nltk_absent_is_one_line_with_the_extra_and_the_command(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(module: str) -> Any:
        raise ModuleNotFoundError(module)

    monkeypatch.setattr(taggers, "import_module", missing)
    for said in (command("pos", study), command("prefetch", "--pos")):
        assert said.code == 3
        assert said.err.count("\n") == 1
        assert "the package nltk is not installed: pip install 'l3masking-study[pos]'" in said.err
    assert "; `l3study prefetch --pos` fetches them; --tagger textblob needs no data" in command("pos", study).err


def test_prefetch_needs_something_to_fetch() -> None:
    said = command("prefetch")
    assert (said.code, said.err) == (2, "l3study: prefetch: name a space, or give --pos, or both\n")


def test_a_policy_of_the_study_is_run_from_the_file_of_a_space(tmp_path: Path) -> None:
    """S4: and only if it is the one that the study was made with."""
    (tmp_path / "own.py").write_text(POLICY)
    declared = {"policies": {"own": {"file": "own.py"}}, "arms": {"mine": {"like": "rtm", "policy": "own"}}}
    path = write_space(tmp_path / "small.yaml", **declared)
    mine = read_space(path)
    kept = make_space(mine.resolved(), source="resolved.yaml", folder=tmp_path)
    asked = ProfileRequest(place=tmp_path, policies=("own", "l3"))
    with pytest.raises(InputError, match=r"--policy own: a policy file of the study.* give --space SPACE"):
        _run_by(asked, kept)
    found = find_policies(asked.policies, _run_by(replace(asked, own=mine.policies), kept))
    assert isinstance(found["own"], CustomPolicy)
    assert not isinstance(kept.policies["own"].policy(), CustomPolicy)
    (tmp_path / "own.py").write_text(POLICY + "\n")
    with pytest.raises(InputError, match="--policy own: that of --space is not the one that the study was made with"):
        _run_by(replace(asked, own=read_space(path).policies), kept)
