"""`l3study inspect`: texts from anywhere, settings of a space, and what is said where something is missing."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from small_bart import save_bart
from small_study import command, write_space, write_study
from small_task import TELLING, encoder, one_thread, run, settings

from l3masking import load_encoder, mask_probabilities, score_tokens
from l3masking.encoders.export import save_tuned

TEXT = "we see the unlikely cat near a dog"
POLICY = """
from dataclasses import dataclass
from typing import ClassVar
import numpy as np
from l3masking.masking.policies import Weights

@dataclass(frozen=True)
class Policy:
    needs: ClassVar[frozenset[str]] = frozenset()

    def weights(self, text, config, generator):
        return Weights(np.arange(len(text.positions), dtype=float))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study's files, not run: encoder/, small.yaml with a mean and a policy of its own."""
    folder = tmp_path_factory.mktemp("inspected")
    folder.mkdir(exist_ok=True)
    (folder / "mine.py").write_text(POLICY)
    write_study(folder, masking={"mean": 0.3}, policies={"mine": {"file": "mine.py"}}, methods=["stl", "rtm"])
    return folder


def rows_of(out: str) -> dict[str, list[str]]:
    """Label -> what stands behind it, over all lines of one text."""
    rows: dict[str, list[str]] = {}
    for line in out.split("\n\n")[0].splitlines():
        label, *entries = re.split(r"  +", line.strip(), maxsplit=1)
        rows.setdefault(label, []).extend(" ".join(entries).split())
    return rows


def test_the_numbers_are_those_of_scoring_and_masking(folder: Path) -> None:
    said = command("inspect", "--encoder", folder / "encoder", "--text", TEXT, "--mean", "0.2", "--policy", "l3")
    assert said.code == 0, said.err
    (score,) = score_tokens(load_encoder(str(folder / "encoder")), [TEXT], max_length=24)
    likelihood = np.exp(score.log_likelihood.astype(np.float64))
    rows = rows_of(said.out)
    assert rows["token"] == ["we", "see", "the", "un", "##like", "##ly", "cat", "near", "a", "dog"]
    assert rows["PLT"] == [f"{value:.3f}"[1:] for value in likelihood]
    assert rows["RTM"] == [".200"] * 10
    assert rows["l3, complement"] == [f"{value:.3f}"[1:] for value in mask_probabilities(likelihood, mean=0.2)]
    assert "\x1b" not in said.out, "no colour where no terminal is"


def test_policies_stand_beside_each_other_and_files_are_written(folder: Path, tmp_path: Path) -> None:
    page, picture = tmp_path / "new" / "a.html", tmp_path / "a.png"
    words = ("--policy", "whole_word", "--policy", "l3", "--weighting", "complement,surprisal")
    said = command("inspect", "--encoder", folder / "encoder", "--text", TEXT, *words, "--html", page, "--png", picture)
    assert said.code == 0, said.err
    assert list(rows_of(said.out))[2:] == ["RTM", "whole_word", "l3, complement", "l3, surprisal"]
    assert "[.150          ]" in said.out
    assert said.out.endswith(f"{page}\n{picture}\n")
    assert '<td colspan="3"' in page.read_text(encoding="utf-8")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 5000


def test_texts_come_from_standard_input_and_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "texts.txt").write_text("a cat\n\n  \nthe dog\n")
    monkeypatch.setattr("sys.stdin", io.StringIO("red\noak\n"))
    said = command("inspect", "--encoder", folder / "encoder", "--text", "-", "--texts", tmp_path / "texts.txt")
    assert said.code == 0, said.err
    tokens = [line.split()[1:] for line in said.out.splitlines() if line.startswith("token")]
    assert tokens == [["red", "oak"], ["a", "cat"], ["the", "dog"]]


def test_a_space_gives_encoder_settings_and_policies(folder: Path) -> None:
    space = folder / "small.yaml"
    said = command("inspect", "--encoder", "tiny", "--space", space, "--text", TEXT, "--policy", "mine")
    assert said.code == 0, said.err
    rows = rows_of(said.out)
    assert rows["RTM"] == [".300"] * 10
    assert rows["mine"] == [f"{value:.3f}"[1:] for value in np.arange(10) / 45 * 3]
    assert "at most 16 ids" in said.out
    assert "average mask probability 0.3" in said.out
    write_space(folder / "other.yaml", masking={"weighting": "surprisal"})
    said = command("inspect", "--encoder", "tiny", "--space", folder / "other.yaml", "--text", TEXT)
    assert list(rows_of(said.out))[2:] == ["RTM", "l3, surprisal"]


def test_a_long_text_is_cut_and_that_is_said(folder: Path) -> None:
    said = command("inspect", "--encoder", folder / "encoder", "--text", " ".join(["cat"] * 40))
    assert said.code == 0, said.err
    assert "cut: the first 22 of 40 tokens are shown" in said.out
    assert "at most 24 ids" in said.out


def test_pmi_looks_at_the_texts_shown(folder: Path) -> None:
    said = command("inspect", "--encoder", folder / "encoder", "--text", TEXT, "--policy", "pmi")
    assert said.code == 0, said.err
    assert "pmi looks at the texts shown here alone (1)" in said.out


def test_importance_asks_a_saved_classifier(folder: Path, tmp_path: Path) -> None:
    with one_thread():
        outcome = run("stl", settings(max_epochs=2))["accuracy"]
    save_tuned(encoder(), outcome.weights, sorted(TELLING), tmp_path / "tuned")
    words = ("--policy", "importance", "--classifier", tmp_path / "tuned")
    said = command("inspect", "--encoder", folder / "encoder", "--text", TEXT, *words)
    assert said.code == 0, said.err
    assert re.search(r"text 1: important for class (first|second|third), as the classifier predicts", said.out)
    assert len(rows_of(said.out)["importance"]) == 10
    refused = command("inspect", "--encoder", folder / "encoder", "--text", TEXT, *words, "--label", "fifth")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "label 'fifth': no class of" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "no text: give --text TEXT, --text - for standard input, or --texts FILE"),
        (("--text", " \u200b\n"), "text 1 is blank: give one with at least one word"),
        (("--text", "a", "--text", ""), "text 2 is blank"),
        (("--texts", "gone.txt"), "--texts gone.txt: No such file or directory: give a text file"),
        (("--text", "a", "--policy", "importance"), "--policy importance: needs a fine-tuned classifier"),
        (("--text", "a", "--policy", "l4"), "--policy l4: no masking policy; nearest: l3"),
        (("--text", "a", "--mean", "2"), "masking.mean is 2.0"),
        (("--text", "a", "--max-length", "99"), "scoring.max_length is 99: this encoder has 24 positions"),
        (("--text", "a", "--weighting", "x"), "--weighting x: not known; known: complement, surprisal"),
    ],
)
def test_what_cannot_be_shown_is_one_line(folder: Path, words: tuple[str, ...], said: str) -> None:
    refused = command("inspect", "--encoder", folder / "encoder", *words)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert said in refused.err


def test_an_encoder_decoder_gives_no_scores(tmp_path: Path) -> None:
    refused = command("inspect", "--encoder", save_bart(tmp_path / "bart"), "--text", "a")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "a bart model gives no scores: take another encoder" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--png", "."), "--png .: that is a folder; give a file"),
        (("--html", "."), "--html .: that is a folder; give a file"),
        (("--label", "first"), "--label first: only --policy importance reads it"),
        (("--classifier", "nowhere"), "--classifier nowhere: only --policy importance reads it"),
        (("--policy", "importance", "--classifier", "."), ".: no saved model here (labels.json is missing): give a"),
    ],
)
def test_options_that_cannot_be_followed_cost_one_line(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    found = command("inspect", "--encoder", folder / "encoder", "--text", TEXT, *words)
    assert (found.code, found.out, found.err.count("\n")) == (2, "", 1), found
    assert said in found.err
    assert not list(tmp_path.iterdir())
