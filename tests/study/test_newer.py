"""Files of a newer version are refused in one line, and stay as they are: one test for each kind."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from small_study import NoMirror, Said, command

import study.run
from l3masking.errors import InputError
from l3masking.training.checkpoint import Snapshot
from study.checkpoints import CHECKPOINT_SCHEMA, TrialCheckpoints
from study.search.journal import open_journal
from study.store.data_facts import read_facts
from study.store.seal import seal
from study.store.store import Store

REMEDY = "schema 2, this program reads up to 1: a newer l3study wrote it; update the package l3masking-study"


@pytest.fixture
def root(finished_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished study without a record that needs scores, so that a run has something to do."""
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())
    shutil.copytree(finished_study, tmp_path / "here")
    root = tmp_path / "here" / "out"
    next(path for path in (root / "records").iterdir() if b'"method":"l3masking"' in path.read_bytes()).unlink()
    return root


def a_record(root: Path) -> Path:
    path = sorted((root / "records").iterdir())[0]
    path.write_bytes(seal(json.loads(path.read_bytes()) | {"schema": 2, "new": "field"}))
    return path


def the_resolved_study(root: Path) -> Path:
    path = root / "resolved.yaml"
    path.write_text("schema: 2\nnew: setting\n" + path.read_text())
    return path


def a_data_file(root: Path) -> Path:
    (path,) = (root / "data").iterdir()
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema": 2, "new": "field"}))
    return path


def a_manifest(root: Path) -> Path:
    path = next((root / "scores").glob("*/manifest.json"))
    path.write_text(json.dumps(json.loads(path.read_bytes()) | {"schema": 2, "new": "field"}))
    next(path.parent.glob("part-*")).unlink()
    return path


def kept(root: Path) -> dict[Path, bytes]:
    """What lies in the folder; progress and locks come and go."""
    passing = ("progress.json", ".lock")
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file() and path.name not in passing}


READERS = ("status", "compare", "export")


@pytest.mark.parametrize(
    ("newer", "verbs"),
    [
        (a_record, ("run", *READERS)),
        (the_resolved_study, ("run", *READERS)),
        (a_data_file, ("run",)),
        (a_manifest, ("run",)),
    ],
)
def test_a_newer_file_is_refused_and_stays(root: Path, newer: Callable[[Path], Path], verbs: tuple[str, ...]) -> None:
    path = newer(root)
    before = kept(root)
    for verb in verbs:
        words = (root.parent / "small.yaml", "--out", root) if verb == "run" else (root,)
        said: Said = command(verb, *words)
        assert said.code == 2, verb
        last = said.err.splitlines()[-1]
        assert last.startswith(f"l3study: {path}: schema 2, this program reads "), verb
        assert last.endswith("a newer l3study wrote it; update the package l3masking-study")
        if newer is a_manifest:  # the study is written down before texts are scored
            assert {file: kept(root)[file] for file in (path, *path.parent.iterdir())}.items() <= before.items()
            assert not (root / "quarantine").exists()
        else:
            assert kept(root) == before, verb


def test_a_newer_data_file_is_not_read_as_none(root: Path) -> None:
    path = a_data_file(root)
    with pytest.raises(InputError, match=REMEDY):
        read_facts(root, path.stem)


def test_a_record_that_only_says_that_it_is_newer_is_damaged(root: Path) -> None:
    """Its checksum does not match: a flipped bit is no newer version."""
    path = sorted((root / "records").iterdir())[0]
    path.write_bytes(path.read_bytes().replace(b'"schema":1', b'"schema":3'))
    with pytest.warns(UserWarning, match="its checksum does not match"):
        assert Store(root).read(path.stem) is None
    assert (root / "quarantine" / path.name).is_file()


def test_a_newer_checkpoint_is_refused_and_stays(tmp_path: Path) -> None:
    def keeper(**changes: Any) -> TrialCheckpoints:
        made = TrialCheckpoints(tmp_path, minutes=0, objectives=["accuracy"], made_with={"device": "cpu"})
        made.made_with |= changes
        return made

    snapshot = Snapshot({"update": 1}, {"weight": torch.ones(2)})
    keeper(schema=CHECKPOINT_SCHEMA + 1).stage("training").offer(lambda: snapshot)
    before = kept(tmp_path)
    newer = REMEDY.replace("2", str(CHECKPOINT_SCHEMA + 1), 1).replace("1:", f"{CHECKPOINT_SCHEMA}:")
    with pytest.raises(InputError, match=f"^{tmp_path}/training: {newer}$"):
        keeper().stage("training").newest()
    assert kept(tmp_path) == before != {}


def test_a_newer_journal_is_refused_and_stays(tmp_path: Path) -> None:
    import optuna

    made = optuna.create_study(storage=open_journal(tmp_path), study_name="one")
    journal = tmp_path / "optuna.log"
    old = journal.read_bytes()
    made.set_user_attr("schema", 2)
    before = kept(tmp_path)
    with pytest.raises(InputError, match=f"^{journal}: {REMEDY}$"):
        open_journal(tmp_path)
    assert kept(tmp_path) == before
    line = json.dumps({"op_code": 99, "worker_id": "w", "study_id": 0}).encode()
    journal.write_bytes(old + line + b"\n" + b'{"half')
    before = kept(tmp_path)
    with pytest.raises(InputError, match=r"line 2 holds operation 99, and Optuna .* reads up to 10: a newer Optuna"):
        open_journal(tmp_path)
    assert kept(tmp_path) == before
