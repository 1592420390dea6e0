"""A full disk: named with path and sizes, nothing torn, and the study goes on when there is room."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from small_study import NoMirror, assignments, command, records, results, tables

import study.store.free_disk
from l3masking import whole
from l3masking.errors import DiskFull
from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import checkpoints
from l3masking.whole import made_whole, write_atomic
from study.checkpoints import TrialCheckpoints
from study.space.spec import Resources
from study.store.store import Store
from study.trial import execute
from study.work.workers import ArtefactWorker

SIZE = 3_000_000  # bytes of the small disk


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk of 3 MB: a real one where this process may mount one, else writes that count."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command_line = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    mounted = shutil.which("mount") is not None and subprocess.run(command_line, capture_output=True).returncode == 0
    if not mounted:
        write = whole._write_synced

        def counted(path: Path, data: bytes, mode: int) -> None:
            if folder in path.parents and len(data) > free(folder):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            write(path, data, mode)

        monkeypatch.setattr(whole, "_write_synced", counted)
        monkeypatch.setattr(whole, "free_space", lambda path: free(folder))
    yield folder
    if mounted:
        subprocess.run(["umount", str(folder)], check=True)


def free(folder: Path) -> int:
    """Bytes left on a disk of SIZE, in blocks as tmpfs counts."""
    return SIZE - sum(-(-path.stat().st_size // 4096) * 4096 for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("room", [36_000, 200_000])
def test_a_study_goes_on_after_space_is_freed(
    small_disk: Path, finished_study: Path, tmp_path: Path, room: int
) -> None:
    """The smaller room ends in the records, the larger one in the figures."""
    root = small_disk / "out"

    def run() -> Any:
        with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.store.free_disk.LEAST_FREE", 0):
            return command("run", finished_study / "small.yaml", "--out", root)

    left = min(free(small_disk), shutil.disk_usage(small_disk).free)
    (small_disk / "of somebody else").write_bytes(bytes(left - room))
    said = run()
    assert said.code == 3, said.out
    *_, last = said.err.splitlines()
    assert last.startswith(f"l3study: {root}/")
    assert " no space left on the disk (" in last
    assert " bytes are needed, " in last
    assert last.endswith(" are free); free some space and run the study again, which continues it")
    assert not list(root.rglob(".*.tmp"))
    whole_ones = {path.stem: json.loads(path.read_bytes()) for path in (root / "records").glob("*.json")}
    assert {record["key"] for record in Store(root).records()} == whole_ones.keys()
    assert ("DiskFull: " in said.out) == (room < 100_000)
    (small_disk / "of somebody else").unlink()
    said = run()
    assert said.code == 0, said.err
    there = {key: results(record) for key, record in records(root).items()}
    assert there == {key: results(record) for key, record in records(finished_study / "out").items()}
    assert tables(root) == tables(finished_study / "out")
    assert not list((root / "failures").glob("*"))


def test_a_run_without_room_is_refused_before_it_computes(finished_study: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(study.store.free_disk, "free_space", lambda folder: 12_345)
    monkeypatch.setattr("study.run.settle", lambda *_: pytest.fail("went on"))
    said = command("run", finished_study / "small.yaml", "--out", tmp_path / "out")
    assert said.code == 3
    assert said.err == (
        f"l3study: {tmp_path / 'out'}: no space left on the disk (20,000,000 bytes are needed, 12,345 are free); "
        "free some space and run the study again, which continues it\n"
    )


@pytest.mark.parametrize("free", [10**12, 30_000_000])
def test_what_plan_expects_is_held_against_what_is_free(
    finished_study: Path, tmp_path: Path, monkeypatch, free
) -> None:
    """Two models of a tiny encoder for each of 1,000 seeds: far above 30 MB."""
    for module in ("study.estimate.disk", "study.estimate.summary"):
        monkeypatch.setattr(f"{module}.free_space", lambda root: free)
    monkeypatch.setattr("study.run._Run.everything", lambda self: "stopped")
    monkeypatch.setattr("study.run._Run.finish", lambda self, stopped: pytest.fail("as far as here"))
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    sets = ("--set", "seeds=1000", "--set", "resources.save_models=true", "--out", tmp_path / "out")
    planned = command("plan", finished_study / "small.yaml", *sets)
    assert planned.code == 0, planned.err
    with pytest.raises(pytest.fail.Exception, match="as far as here") as ended:
        command("run", finished_study / "small.yaml", *sets)
    assert ended
    warned = [line for line in planned.out.splitlines() if line.startswith("warning: ")]
    assert len(warned) == (free < 10**12)
    if warned:
        assert warned[0].startswith(f"warning: {tmp_path / 'out'}: up to ")
        assert warned[0].endswith(" more may be needed, 30.0 MB are free; make room, or use --out")


@pytest.fixture
def nearly_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.store.free_disk, "free_space", lambda folder: 20_000_099)


def test_a_training_does_not_begin_where_its_record_may_not_fit(
    finished_study: Path, tmp_path: Path, monkeypatch
) -> None:
    one = assignments(finished_study / "small.yaml", tmp_path / "out", "methods=[stl]", "seeds=1")[0]
    monkeypatch.setattr(study.store.free_disk, "free_space", lambda folder: 19_999_999)
    monkeypatch.setattr("study.trial.run_trial", lambda *_, **__: pytest.fail("trained"))
    reason = execute(one)
    assert reason is not None
    assert reason.startswith(f"DiskFull: {tmp_path / 'out'}: no space left on the disk (20,000,000 bytes are needed, ")
    assert {failure["reason"] for failure in Store(tmp_path / "out").failures()} == {reason}


def test_a_failure_that_does_not_fit_is_said_and_stops_nothing(
    finished_study: Path, tmp_path: Path, monkeypatch
) -> None:
    one = assignments(finished_study / "small.yaml", tmp_path / "out", "methods=[stl]", "seeds=1")[0]
    monkeypatch.setattr("study.trial.run_trial", lambda *_, **__: 1 / 0)
    monkeypatch.setattr(whole, "_write_synced", full)
    with pytest.warns(UserWarning, match="a failure was not written down: .*no space left on the disk"):
        assert execute(one) == "ZeroDivisionError: division by zero"


def test_a_shard_is_not_made_where_it_may_not_fit(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(study.store.free_disk, "free_space", lambda folder: 1)
    work = SimpleNamespace(place=tmp_path / "scores", job=None, needed={})
    with pytest.raises(DiskFull, match="scores: no space left"):
        ArtefactWorker(Resources(executor="serial")).make(work)  # type: ignore[arg-type]


def test_a_checkpoint_leaves_room_for_the_record(tmp_path: Path, nearly_full: None, caplog) -> None:
    kept = TrialCheckpoints(tmp_path, minutes=0, objectives=["accuracy"], made_with={})
    kept.stage("main").offer(lambda: Snapshot({}, {"x": torch.ones(25)}))
    assert "no checkpoint written" in caplog.text
    assert "(20,000,100 bytes are needed, 20,000,099 are free)" in caplog.text
    kept.stage("main").offer(lambda: Snapshot({}, {"x": torch.ones(24)}))
    assert len(list(checkpoints(tmp_path / "main"))) == 1


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "some file")


def test_who_writes_a_whole_file_is_told_path_and_sizes(tmp_path: Path, monkeypatch) -> None:
    write_atomic(tmp_path / "note", b"old")
    monkeypatch.setattr(whole, "free_space", lambda path: 7)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull) as caught:
            write_atomic(tmp_path / "note", b"new" * 1000)
    assert str(caught.value).startswith(
        f"{tmp_path / 'note'}: no space left on the disk (3,000 bytes are needed, 7 are"
    )
    for error in (OSError(errno.EDQUOT, "Disk quota exceeded"), RuntimeError("I/O error: No space left on device")):
        with (
            pytest.raises(DiskFull, match=r"model: no space left on the disk \(7 are free\)"),
            made_whole(tmp_path / "model"),
        ):
            raise error
    with pytest.raises(OSError, match="Permission denied"), made_whole(tmp_path / "model"):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"note": b"old"}


def test_a_disk_that_does_not_tell_its_size_is_not_full(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=0, free=0))
    study.store.free_disk.check_free(tmp_path / "not" / "there")
