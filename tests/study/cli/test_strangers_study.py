"""A study of somebody else is read by every verb without running anything of it (S4)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from harmful import HARM, POLICY, harmful_study
from small_study import NoMirror, Said, command

from l3masking.errors import EnvironmentFault
from study.cli.app import EXAMPLES
from study.plan.grid import make_plan
from study.plan.resolved import planned

NOWHERE = "http://127.0.0.1:9"
Words = Callable[[Path, Path], tuple[object, ...]]  # of a space file of one's own, and a stranger's folder
VERBS: dict[str, Words] = {  # verb -> how it meets the folder, where it meets one at all
    "run": lambda space, out: ("run", space, "--out", out),
    "score": lambda space, out: ("score", space, "--out", out),
    "search": lambda space, out: ("search", space, "--out", out),  # none is declared; else as `run`
    "plan": lambda space, out: ("plan", space, "--out", out),
    "data": lambda space, out: ("data", space),
    "status": lambda space, out: ("status", out),
    "explain": lambda space, out: ("explain", out, mine(out)),
    "export": lambda space, out: ("export", out),
    "compare": lambda space, out: ("compare", out, "--against", space.parent / "out"),
    "verify": lambda space, out: ("verify", out),
    "power": lambda space, out: ("power", out, "--difference", "0.1"),
    "export_model": lambda space, out: ("export-model", out, "tiny/words/mine", "--out", out.parent / "model"),
    "predict": lambda space, out: ("predict", out / "models", space.parent / "test.jsonl"),
    "pos": lambda space, out: ("pos", out, "--tagger", "textblob", "--policy", "own"),
    "inspect": lambda space, out: ("inspect", "--encoder", out / "models", "--text", "a", "--space", space),
    "methods": lambda space, out: ("methods",),
    "policies": lambda space, out: ("policies",),
    "check_policy": lambda space, out: ("check-policy", out / "tuner.pkl"),
    "ui": lambda space, out: ("ui", out, "--no-open"),  # no database: refused before a server starts
    "sync": lambda space, out: ("sync", out, "--tracking-uri", NOWHERE),
    "prefetch": lambda space, out: ("prefetch", space),
    "doctor": lambda space, out: ("doctor", space, "--out", out),
    "submit": lambda space, out: ("submit", space, "--working-dir", space.parent, "--address", NOWHERE, "--out", out),
    "stop": lambda space, out: ("stop", out.name, "--address", NOWHERE),
    "logs": lambda space, out: ("logs", out.name, "--address", NOWHERE),
}
READ = {"run", "score", "plan", "status", "explain", "export", "compare", "verify", "power", "doctor"}  # exit code 0


def mine(out: Path) -> str:
    """The key of a training of the arm whose policy is a file."""
    return next(trial.trajectory for trial in make_plan(*planned(out)) if trial.method == "mine")


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No mirror."""
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    away = EnvironmentFault("no server")
    monkeypatch.setattr("study.tracking.mirror.sync", mock.Mock(side_effect=away))


def said_by(verb: str, space: Path, out: Path) -> Said:
    before = Path.cwd()
    os.chdir(out)  # what a path of imports may start with
    try:
        return command(*VERBS[verb](space, out))
    finally:
        os.chdir(before)


def test_every_verb_is_tried() -> None:
    assert VERBS.keys() == {verb.__name__ for verb in EXAMPLES}


@pytest.mark.parametrize("verb", VERBS)
def test_no_verb_runs_code_of_a_strangers_study(verb: str, finished_study: Path, tmp_path: Path, quick: Any) -> None:
    mark = tmp_path / "it-ran"
    out = harmful_study(finished_study / "out", tmp_path / "out", mark)
    said = said_by(verb, finished_study / "small.yaml", out)
    assert not mark.exists()
    assert said.code != 70, said.err
    if verb in READ:
        assert said.code in (0, 1), said.err  # 1: trainings or files that are missing
    if verb in ("explain", "status", "export"):
        assert "mine" in said.out or "mine" in (out / "tables" / "results.md").read_text()
    if verb == "pos":
        assert "--policy own: a policy file of the study, which is run only" in said.err


@pytest.mark.parametrize("verb", ["run", "score", "plan", "data", "prefetch", "doctor", "submit", "inspect"])
@pytest.mark.parametrize("there", ["another file", "no file"])
def test_code_that_stands_in_a_space_file_is_refused(
    verb: str, there: str, finished_study: Path, tmp_path: Path
) -> None:
    mark = tmp_path / "it-ran"
    out = harmful_study(finished_study / "out", tmp_path / "out", mark)
    (out / "own.py").unlink()
    if there == "another file":
        (out / "own.py").write_text(POLICY)
    said = said_by(verb, out / "space.yaml", out)
    assert not mark.exists()
    assert said.code == 2
    assert len(said.err.splitlines()) == 1, said.err
    wanted = "policies.own.text is not what" if there == "another file" else "policies.own.file: cannot read"
    assert wanted in said.err


def test_the_file_that_a_space_names_is_run(finished_study: Path, tmp_path: Path) -> None:
    mark = tmp_path / "it-ran"
    (tmp_path / "own.py").write_text(HARM.format(mark=str(mark)) + POLICY)
    value = yaml.safe_load((finished_study / "small.yaml").read_text())
    value |= {"policies": {"own": {"file": "own.py"}}, "arms": {"mine": {"like": "rtm", "policy": "own"}}}
    value["encoders"]["tiny"]["path"] = str(finished_study / "encoder")
    for part in ("train", "validation", "test"):
        value["datasets"]["words"][part] = str(finished_study / f"{part}.jsonl")
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(value))
    assert command("plan", tmp_path / "space.yaml", "--out", tmp_path / "out").code == 0
    assert mark.exists()
