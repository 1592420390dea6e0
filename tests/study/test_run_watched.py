"""A run as others see it: progress.json, the estimate and its error, and what a calibrated plan says of it before."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_study import NoMirror, command, write_study

import study.run
from study import schedule
from study.status.progress import Counts, Progress, read_view
from study.status.status import look


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", NoMirror)


def test_a_finished_run_has_said_so(finished_study: Path) -> None:
    view = read_view(finished_study / "out")
    assert view is not None
    assert (view.state, view.done, view.failed, view.left, view.most) == ("finished", 6, 0, 0, 1)
    assert view.stage == {"name": "trainings", "done": 6, "total": 6}
    assert not view.alive()


def test_trials_are_told_when_they_begin_and_end(tmp_path: Path, monkeypatch) -> None:
    """In each training `status` sees it running; a failed one is failed, and the next run's estimate is told."""
    root, seen = tmp_path / "out", []
    execute, write = schedule.execute, Progress._write

    def watched(assignment, pulse):
        (progress,) = held
        write(progress)
        standing = look(root)
        ((trial, _, _),) = standing.running
        seen.append((trial.method, standing.totals, standing.alive))
        if trial.method == "rtm":
            return "it broke"
        return execute(assignment, pulse)

    held: list[Progress] = []
    begin = Progress.__init__
    monkeypatch.setattr(Progress, "__init__", lambda self, *a, **k: (held.append(self), begin(self, *a, **k))[1])
    monkeypatch.setattr(Progress, "_write_on", lambda self: None)  # `watched` is the one writer
    monkeypatch.setattr(schedule, "execute", watched)
    space = write_study(tmp_path, seeds=1, methods=["stl", "rtm"])
    assert command("run", space, "--out", root).code == 1
    assert seen == [("rtm", Counts(0, 1, 0, 1), True), ("stl", Counts(0, 1, 0, 1), True)]
    view = read_view(root)
    assert (view.state, view.done, view.failed, view.left) == ("finished", 1, 1, 0)
    monkeypatch.setattr(schedule, "execute", execute)
    said = command("run", space, "--out", root, "--set", "methods=[stl]", "--set", "seeds=3")
    assert said.code == 0, said.err
    assert "estimated time " in said.out
    assert "(1 cell: mean of 1 finished training of the same cell; 1 at a time" in said.out


def test_a_calibrated_plan_knows_the_time_and_keeps_it(finished_study: Path, tmp_path: Path) -> None:
    folder = tmp_path / "here"
    shutil.copytree(finished_study, folder)
    space, out = folder / "small.yaml", folder / "new"
    said = command("plan", space, "--out", out, "--json")
    assert json.loads(said.out)["estimate_seconds"] is None
    assert not out.exists(), "a plan leaves nothing behind"
    said = command("plan", space, "--out", out, "--json", "--calibrate")
    assert said.code == 0, said.err
    summary = json.loads(said.out)
    assert summary["estimate_seconds"] > 0
    assert summary["scoring_seconds"] > 0
    assert said.err.count("measured tiny / words / ") == 3
    assert [path.name for path in out.iterdir()] == ["calibration.json"]
    again = json.loads(command("plan", space, "--out", out, "--json").out)
    assert again["estimate_seconds"] == summary["estimate_seconds"]
    assert "at most, by a short measurement" in again["basis"]
