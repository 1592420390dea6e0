"""The verb `power` and the block of `plan`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import command

from study.report.power_text import power_lines, power_text
from study.results.planned_power import Power, PowerRow


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


def of_rows(*rows: PowerRow, effect: float | None = None) -> Power:
    """Numbers as `study_power` gives them for three seeds."""
    return Power(
        level=0.05, tests=1, alpha=0.05, power=0.8, difference=0.01, least_seeds=6, effects={3: effect}, rows=rows
    )


def row(dataset: str, std: float | None, needed: int | None, pairs: int = 3) -> PowerRow:
    """Two rows of a study on a dataset."""
    return PowerRow(
        question="a vs b",
        encoder="tiny",
        dataset=dataset,
        objective="accuracy",
        pairs=pairs,
        std=std,
        std_low=None,
        std_high=None,
        seeds=3,
        smallest=None,
        needed=needed,
    )


def test_a_plan_tells_equal_differences_from_missing_ones_and_counts_the_pairs_that_need_too_many_seeds() -> None:
    def last(*rows: PowerRow) -> str:
        return power_lines(of_rows(*rows))[-1]

    missing = "no deviation is known yet (it takes two finished seeds of both rows)"
    assert last(row("x", None, None, pairs=1)) == f"  a vs b, accuracy: {missing}"
    equal = "no deviation is known yet (all differences so far are equal)"
    assert last(row("x", 0.0, None)) == f"  a vs b, accuracy: {equal}"
    assert last(row("x", 0.5, None)) == "  a vs b, accuracy: 1.00 points need more than 1000 seeds"
    many = "1.00 points need more than 1000 seeds on 1 of 2 encoder and dataset pairs"
    assert last(row("x", 0.5, None), row("y", 0.01, 11)) == f"  a vs b, accuracy: {many}"


def test_one_seed_announces_no_list_that_is_empty() -> None:
    units = "In units of that deviation:"
    assert units not in power_text(of_rows(row("x", None, None, pairs=1)))
    assert f"{units}\n  3 seeds decide a true difference of 4.00 deviations." in power_text(
        of_rows(row("x", None, None, pairs=1), effect=4.0)
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "give either a study's folder or --sd"),
        (("somewhere", "--sd", 0.01), "give either a study's folder or --sd"),
        (("--sd", 0), "--sd 0: expected a fraction between 0 and 1"),
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
