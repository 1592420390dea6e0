"""The verb `power` and the block of `plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import command


def test_a_study_of_two_seeds(finished_study: Path) -> None:
    said = command("power", finished_study / "out")
    assert said.code == 0, said.err
    assert said.out.startswith("power of study small: 80 % at level 0.05 over 3 planned tests")
    assert "No study of n=2 can be decisive at level 0.05 with 3 planned tests" in said.out
    found = json.loads(command("power", finished_study / "out", "--json", "--tests", 1, "--n", 12).out)
    assert (found["study"], found["tests"], found["least_seeds"]) == ("small", 1, 6)
    assert {row["question"] for row in found["rows"]} >= {"l3masking vs rtm", "l3masking vs stl", "rtm vs stl"}
    assert all((row["pairs"], row["seeds"]) == (2, 12) for row in found["rows"])
    assert all((row["smallest"] is None) == (not row["std"]) for row in found["rows"])


def test_a_plan_shows_it_where_there_are_records(finished_study: Path, tmp_path: Path) -> None:
    words = ("plan", finished_study / "small.yaml", "--out")
    said = command(*words, finished_study / "out")
    assert "\npower: 80 % at level 0.05 over 3 planned tests" in said.out
    assert "\n  l3masking vs rtm, accuracy: " in said.out
    found = json.loads(command(*words, finished_study / "out", "--json", "--only", "seed=0").out)["power"]
    assert (found["tests"], len(found["rows"])) == (3, 3), "of the whole plan"
    assert "power" not in command(*words, tmp_path / "new").out
    assert json.loads(command(*words, tmp_path / "new", "--json").out)["power"] is None


def test_a_deviation_without_a_study() -> None:
    said = command("power", "--sd", 0.008, "--n", 10, "--difference", 0.005)
    assert said.code == 0, said.err
    assert "10 seeds decide a true difference of" in said.out
    assert "A true difference of 0.50 points needs" in said.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either a study's folder or --sd"),
        (("somewhere", "--sd", 0.01), "give either a study's folder or --sd"),
        (("--sd", 0), "--sd 0: expected a fraction above 0"),
        (("--sd", 0.01, "--n", 0), "--n 0: expected 1 or more seeds"),
        (("--sd", 0.01, "--power", 2), "--power 2: expected a number between the level"),
        (("nowhere",), "nowhere: no study here"),
    ],
)
def test_wrong_words_are_one_line(words: tuple[object, ...], said: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = command("power", *words)
    assert (found.code, found.err.count("\n")) == (2, 1), found.err
    assert said in found.err
