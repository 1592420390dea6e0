"""Whole studies at a URL: what one machine leaves another one goes on with, and the end is that of a folder."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import pytest
from small_study import NoMirror, command, records, results, tables, write_study

import study.run
from study.store.remote import copy_of


@pytest.fixture
def machine(tmp_path: Path, monkeypatch):
    """From here on, this process is that machine: it has a cache, and so copies, of its own."""
    return lambda name: monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / name))


def test_a_study_begun_here_is_finished_elsewhere(finished_study: Path, tmp_path: Path, machine, monkeypatch) -> None:
    """Half of the trials on one machine, the rest on another; then nothing is left on a third, and it reads all."""
    monkeypatch.setattr(study.run, "Mirror", NoMirror)
    space, url = write_study(tmp_path / "here"), f"file://{tmp_path}/there/small"
    there = tmp_path / "there" / "small"
    machine("a")
    said = command("run", space, "--out", url, "--limit", "4")
    assert said.code == 0, said.err
    assert f"study small in {url}" in said.out
    assert len(records(there)) == 8
    wanted = {"resolved.yaml", "space.yaml", "records", "scores", "tables", "data"}
    assert {path.name for path in there.iterdir()} >= wanted
    machine("b")
    said = command("run", space, "--out", url)
    assert said.code == 0, said.err
    assert "2 left to run" in said.out
    whole = finished_study / "out"
    assert {key: results(record) for key, record in records(there).items()} == {
        key: results(record) for key, record in records(whole).items()
    }
    assert tables(there) == tables(whole)
    scores = {path.relative_to(there): path.read_bytes() for path in there.glob("scores/*/*")}
    assert scores == {path.relative_to(whole): path.read_bytes() for path in whole.glob("scores/*/*")}
    facts = {path.name: path.read_bytes() for path in (there / "data").iterdir()}
    assert facts == {path.name: path.read_bytes() for path in (whole / "data").iterdir()}
    machine("c")
    monkeypatch.setattr("study.trial.run_trial", lambda *_, **__: pytest.fail("trained again"))
    said = command("run", space, "--out", url)
    assert (said.code, "0 left to run" in said.out) == (0, True), said.err
    assert tables(there) == tables(whole)
    machine("d")
    said = command("plan", space, "--out", url, "--json")
    assert (json.loads(said.out)["done"], json.loads(said.out)["left"]) == (12, 0)
    assert "left 0" in command("status", url).out
    said = command("export", url, "--format", "md")
    assert [Path(line).read_bytes() for line in said.out.splitlines() if line.endswith("results.md")] == [
        tables(whole)["results.md"]
    ]


def test_a_failure_is_counted_across_machines_and_goes_with_success(tmp_path: Path, machine, monkeypatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", NoMirror)
    space, url = write_study(tmp_path / "here", methods=["stl"], seeds=1), f"file://{tmp_path}/there"
    real = study.trial.run_trial

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the cat sat on it")

    for name, attempts in (("a", 1), ("b", 2)):
        machine(name)
        monkeypatch.setattr("study.trial.run_trial", broken)
        assert command("run", space, "--out", url).code == 1
        failures = [json.loads(path.read_text()) for path in (tmp_path / "there" / "failures").iterdir()]
        assert [failure["attempts"] for failure in failures] == [attempts] * 2
    machine("c")
    assert "the cat sat on it" in command("status", url).out
    monkeypatch.setattr("study.trial.run_trial", real)
    assert command("run", space, "--out", url).code == 0
    assert not list((tmp_path / "there" / "failures").iterdir())
    assert [record["run"]["attempts"] for record in records(tmp_path / "there").values()] == [3, 3]


def test_the_database_and_saved_models_lie_at_the_url(tmp_path: Path, machine) -> None:
    space, url = write_study(tmp_path / "here", methods=["stl"], seeds=1), f"file://{tmp_path}/there"
    machine("a")
    said = command("run", space, "--out", url, "--set", "resources.save_models=true", "--set", "objectives=[accuracy]")
    assert said.code == 0, said.err
    (key,) = records(tmp_path / "there")
    assert (tmp_path / "there" / "models" / key / "model.safetensors").is_file()
    assert not list((tmp_path / "there").rglob("*.tmp"))

    def runs(folder: Path) -> int:
        shutil.copy(folder / "mlflow.db", tmp_path / "copy.db")
        with sqlite3.connect(tmp_path / "copy.db") as database:
            (count,) = database.execute("select count(*) from runs where lifecycle_stage = 'active'").fetchone()
        database.close()
        return count

    before = runs(tmp_path / "there")
    assert before >= 3
    machine("b")
    said = command("export-model", url, "tiny/words/stl", "--out", tmp_path / "model")  # which is fetched for it
    assert said.code == 0, said.err
    assert (tmp_path / "model" / "README.md").is_file()
    assert command("run", space, "--out", url, "--set", "objectives=[accuracy]", "--set", "seeds=2").code == 0
    assert runs(tmp_path / "there") == before + 1
    assert runs(copy_of(url)) == before + 1


def test_a_search_that_was_cut_off_here_goes_on_elsewhere(tmp_path: Path, machine, monkeypatch) -> None:
    """Cut off at the third setting, whose first training is done; none is repeated, and the end is as in a folder."""
    monkeypatch.setattr(study.run, "Mirror", NoMirror)
    mean = {"masking.mean": {"uniform": [0.05, 0.6], "step": 0.05}}
    search = {"parameters": mean, "trials": 4, "seeds": 2, "methods": ["rtm"], "screen": None}
    wanted = {"search": search, "objectives": ["accuracy"]}
    space = write_study(tmp_path / "here", methods=["rtm"], seeds=1, **wanted)
    real, trained, stops = study.trial.run_trial, [], []

    def counted(assignment, **more):
        if len(trained) == 5 and not stops:
            stops.append("now")
            raise KeyboardInterrupt
        trained.extend(assignment.trial.keys.values())
        return real(assignment, **more)

    monkeypatch.setattr("study.trial.run_trial", counted)
    for place in (tmp_path / "folder", f"file://{tmp_path}/there"):
        trained.clear()
        stops.clear()
        machine("a")
        said = command("run", space, "--out", place)
        assert said.code == 75, said.err
        assert len(records(Path(str(place).removeprefix("file://")) / "search")) == 5
        machine("b")
        said = command("run", space, "--out", place)
        assert said.code == 0, said.err
        assert len(trained) == len(set(trained)) == 4 * 2 + 2
    for part in (".", "search"):
        mine, theirs = records(tmp_path / "there" / part), records(tmp_path / "folder" / part)
        assert {key: results(record) for key, record in mine.items()} == {
            key: results(record) for key, record in theirs.items()
        }
    assert (tmp_path / "there" / "search" / "optuna.log").is_file()
    assert tables(tmp_path / "there") == tables(tmp_path / "folder")
