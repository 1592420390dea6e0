"""Ray's workers run the program that was started, whatever lies in the working directory. With a real Ray."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import ray
from mlflow_store import empty_database
from ray.job_config import JobConfig
from small_study import PROJECT, records, results

from l3masking.errors import EnvironmentFault
from study import schedule
from study.version import OWN_PACKAGES, code_folder, code_hash

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def in_a_process(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """As `l3study` is started: the working directory is not in its path, which `python -m` would put there."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "PYTHONPATH")}
    return subprocess.run(
        [sys.executable, "-P", *map(str, words)], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def second_checkout(folder: Path) -> Path:
    """A copy of the program that gives other scores."""
    for name in OWN_PACKAGES:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    changed = folder / "l3masking" / "scoring" / "scoring.py"
    text = changed.read_text()
    changed.write_text(text.replace(".clamp(max=0)", ".clamp(max=0) - 100"))
    assert changed.read_text() != text
    return folder


def test_neither_another_checkout_nor_a_file_of_the_working_directory_is_imported(
    finished_study: Path, tmp_path: Path
) -> None:
    """The scoring actor and the trials of Ray Tune give the records of a serial run."""
    here = second_checkout(tmp_path / "here")
    for name in ("tokenizers", "torch", "ray", "numpy", "filelock"):
        (here / f"{name}.py").write_text("raise ImportError('a file of the user')\n")
    empty_database(tmp_path / "out")  # as the program makes it, and sooner
    on_ray = ("--set", "resources.executor=ray", "--set", "resources.workers=1")
    words = ("--out", tmp_path / "out", "--only", "method=l3masking", *on_ray)
    done = in_a_process("-m", "study", "run", finished_study / "small.yaml", *words, cwd=here)
    assert done.returncode == 0, done.stdout + done.stderr
    found, serial = records(tmp_path / "out"), records(finished_study / "out")
    assert len(found) == 4
    assert {key: results(record) for key, record in found.items()} == {key: results(serial[key]) for key in found}


def test_workers_that_import_another_program_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = second_checkout(tmp_path / "other")
    path = JobConfig(_client_job=True, _py_driver_sys_path=[str(other)])
    monkeypatch.setattr(schedule, "search_path", lambda address: path)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.chdir(tmp_path)  # a worker starts where its driver is: the checkout of this test is not to be found
    with pytest.raises(EnvironmentFault) as refused, schedule.ray_session():
        pytest.fail("joined")
    line = str(refused.value)
    assert line.startswith("workers on ")
    assert f"import l3masking and study from {other} (code {code_hash(other)})" in line
    assert f"but this program is {code_folder()} (code {code_hash(code_folder())})" in line
    assert not ray.is_initialized()
