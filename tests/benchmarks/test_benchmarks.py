"""The benchmarks run and measure what they say; their goals are for a quiet machine, and are not asked for here."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import checkpoint_cost
import importance
import pytest
from small_encoders import save_bert
from small_task import one_thread

BENCHMARKS = Path(__file__).parent


def test_a_large_plan_is_measured(tmp_path: Path) -> None:
    words = [sys.executable, BENCHMARKS / "large_plan.py", "--trials", "50", "--json", tmp_path / "found.json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["trials"] == 72, "whole seeds of 24 trials"
    assert found["records"] == 72, "two of every second trial"
    assert done.stdout.startswith("72 trials: plan ")
    parts = found["make_plan_seconds"] + found["summarize_seconds"] + found["describe_seconds"]
    assert abs(found["work_seconds"] - parts) < 1e-9
    assert found["verb_seconds"] > found["work_seconds"] > 0
    assert 10 < found["mib"] < 4096


PATHS = sorted(path for path in BENCHMARKS.glob("*.py") if not path.name.startswith("test_"))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_every_benchmark_says_what_it_measures(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In this process, as importing torch takes longer than all of them."""
    monkeypatch.setattr(sys, "argv", [str(path), "--help"])
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    with pytest.raises(SystemExit) as end:
        runpy.run_path(str(path), run_name="__main__")
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("usage: ")


def test_importance_is_measured_against_the_bare_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_bert(tmp_path / "bert")
    words = ["--encoder", folder, "--limit", 3, "--max-length", 48, "--runs", 2, "--json", tmp_path / "found.json"]
    monkeypatch.setattr(sys, "argv", ["importance.py", *map(str, words)])
    with one_thread():
        importance.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["texts"] == 3
    assert found["sequences"] > found["eligible"], "one for each token, and those of whole and empty units"
    assert found["ratio"] > 0
    assert f"ratio {found['ratio']:.3f}" in capsys.readouterr().out


def test_the_memory_of_a_corpus_is_measured(tmp_path: Path) -> None:
    words = [BENCHMARKS / "corpus_memory.py", "--megabytes", "0.2", "--json", tmp_path / "found.json"]
    done = subprocess.run([sys.executable, *map(str, words)], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())
    assert 10 < row["before"] <= row["planned"] <= row["adapted"] < 4096
    assert 500 < 200_000 / row["units"] < 2500, "bytes of a paragraph"
    assert f"{row['adapted']:.0f} MiB after `adapt`" in done.stdout


def test_the_cost_of_checkpoints_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--megabytes", 1, "--minutes", 11, "--trainings", 2, "--out", tmp_path, "--json", tmp_path / "found.json"]
    monkeypatch.setattr(sys, "argv", ["checkpoint_cost.py", *map(str, words)])
    checkpoint_cost.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert [row["saves"] for row in found] == [2, 2], "of a small training, each five minutes"
    for row in found:
        assert row["first_minute"] == 5
        assert 0 < row["seconds"] == pytest.approx(row["share"] * 60 * row["minutes"])
    assert list(tmp_path.iterdir()) == [tmp_path / "found.json"]
    assert capsys.readouterr().out.startswith("training 1: 2 saves, the first at minute 5.0")
