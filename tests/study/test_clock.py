"""A clock that jumps changes no result: nothing is decided by the time of day."""

from __future__ import annotations

import ast
import itertools
import os
import shutil
import time
from pathlib import Path
from unittest import mock

import torch
from small_study import NoMirror, command, records, results, tables

from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import checkpoints, write_checkpoint

ROOT = Path(__file__).resolve().parents[2]
WALL = {"time.time", "time.time_ns", "datetime.now", "datetime.datetime.now", "datetime.utcnow"}
SHOWN = {  # who reads the clock, and what for
    "study/cluster/jobs.py": "the name of a job, and how long it has run, in words",
    "study/doctor/storage.py": "whether the clock agrees with that of the file system",
    "study/status/explain.py": "how long a training has run, in words",
    "study/status/progress.py": "whether the file of a driver elsewhere is shown as alive",
    "study/status/status.py": "how long ago the driver gave a sign, in words",
    "study/store/store.py": "since when a run holds the study, in words",
    "study/tracking/bulk.py": "start and end of a mirrored run",
    "study/tracking/client.py": "the time of a point; that of its last refresh rises even if the clock goes back",
    "study/trial.py": "when a training began, in its record",
}


def test_who_reads_the_clock_is_listed() -> None:
    found = set()
    for package in ("l3masking", "study"):
        for file in (ROOT / package).rglob("*.py"):
            calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)]
            if WALL & {ast.unparse(node) for node in calls} or any(node.attr.startswith("st_mtime") for node in calls):
                found.add(file.relative_to(ROOT).as_posix())
    assert found - {"study/store/remote_store.py"} == SHOWN.keys()  # that one compares a file's time for equality


def test_a_run_under_a_jumping_clock_has_the_results_of_any_other(finished_study: Path, tmp_path: Path) -> None:
    here = Path(shutil.copytree(finished_study, tmp_path / "here"))
    for record in sorted((here / "out" / "records").iterdir())[::3]:
        record.unlink()
    now, jumps = time.time(), itertools.cycle([0.0, -3600.0, 365 * 86400.0])
    with (
        mock.patch("study.run.Mirror", NoMirror),
        mock.patch("time.time", side_effect=lambda: now + next(jumps)),
        mock.patch("time.time_ns", side_effect=lambda: int(1e9 * (now + next(jumps)))),
    ):
        said = command("run", here / "small.yaml", "--out", here / "out", "--set", "resources.checkpoint_minutes=0")
        assert command("status", here / "out").code == 0
    assert said.code == 0, said.err
    assert {key: results(record) for key, record in records(here / "out").items()} == {
        key: results(record) for key, record in records(finished_study / "out").items()
    }
    assert tables(here / "out") == tables(finished_study / "out")


def test_the_newest_checkpoint_is_that_of_the_highest_number(tmp_path: Path) -> None:
    for value in (1, 2):
        write_checkpoint(tmp_path, Snapshot({"value": value}, {"x": torch.tensor(value)}))
    for number, year in ((1, 2040), (2, 1990)):
        for suffix in ("json", "safetensors"):
            seconds = (year - 1970) * 365 * 86400
            os.utime(tmp_path / f"{number:08d}.{suffix}", (seconds, seconds))
    assert [found.facts["value"] for found in checkpoints(tmp_path)] == [2, 1]
