"""A Hub that is away: a cold cache is one line before anything is computed, a warm one is enough for a whole run."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import huggingface_hub.constants
import pytest
import yaml
from small_study import NoMirror, command, records, write_space

from study.plan.resolved import planned

COMMIT, MOVED = "b" * 40, "c" * 40


@pytest.fixture
def here(finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A space whose encoder is on a Hub with a closed port; its cache has one snapshot, which `main` names."""
    folder = Path(shutil.copytree(finished_study, tmp_path / "here", ignore=shutil.ignore_patterns("out", "encoder")))
    repository = tmp_path / "hub" / "models--owner--tiny"
    shutil.copytree(finished_study / "encoder", repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)
    for name, value in {"HF_HUB_OFFLINE": False, "ENDPOINT": "http://127.0.0.1:9"}.items():
        monkeypatch.setattr(huggingface_hub.constants, name, value)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    write_space(folder / "small.yaml", encoders={"tiny": {"hub": "owner/tiny"}}, methods=["stl"], seeds=1)
    return folder


def test_a_warm_cache_is_enough_and_a_branch_that_moves_changes_nothing(here: Path) -> None:
    said = command("run", here / "small.yaml", "--out", here / "out")
    assert said.code == 0, said.err
    assert {record["revision"] for record in records(here / "out").values()} == {COMMIT}
    assert yaml.safe_load((here / "out" / "resolved.yaml").read_text())["identities"]["encoders"] == {"tiny": COMMIT}
    repository = here.parent / "hub" / "models--owner--tiny"
    shutil.copytree(repository / "snapshots" / COMMIT, repository / "snapshots" / MOVED)
    (repository / "refs" / "main").write_text(MOVED)
    said = command("run", here / "small.yaml", "--out", here / "out", "--set", "seeds=2")
    assert said.code == 0, said.err
    assert "2 trainings chosen of 2, 1 left to run" in said.out
    assert {record["revision"] for record in records(here / "out").values()} == {COMMIT}
    assert planned(here / "out").identities.encoders == {"tiny": COMMIT}


@pytest.mark.parametrize("lacking", ["everything", "model.safetensors", "tokenizer.json"])
def test_what_the_cache_lacks_is_named_before_anything_is_computed(here: Path, monkeypatch, lacking: str) -> None:
    snapshot = here.parent / "hub" / "models--owner--tiny" / "snapshots" / COMMIT
    if lacking == "everything":
        shutil.rmtree(snapshot.parents[1])
    else:
        os.remove(snapshot / lacking)
    monkeypatch.setattr("study.trial.run_trial", lambda *_, **__: pytest.fail("trained"))
    began = time.process_time()
    said = command("run", here / "small.yaml", "--out", here / "out")
    assert said.code == 3, said
    (line,) = said.err.splitlines()
    assert line.startswith("l3study: "), line
    assert "owner/tiny" in line
    assert "l3study prefetch" in line
    assert time.process_time() - began < 5
    assert not (here / "out" / "failures").exists()
