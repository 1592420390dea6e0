"""A training that takes more and more memory costs itself alone, whoever ends it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from small_study import PROJECT, NoMirror, command, records, write_study

from l3masking.memory import is_out_of_memory
from study import trial
from study.store.store import Store

GIB = 2**30


@contextmanager
def limited() -> Iterator[None]:
    """This process gets a quarter of a GiB more, and no more than that."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + GIB // 4, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize("take", [lambda: bytearray(GIB), lambda: np.ones(GIB), lambda: torch.ones(GIB)])
def test_what_python_numpy_and_torch_raise_is_known(take: Any) -> None:
    with limited(), pytest.raises((MemoryError, RuntimeError)) as failed:
        take()
    assert is_out_of_memory(failed.value)


def test_a_hog_under_a_limit_of_the_process_costs_one_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare = trial.prepared

    def hogging(assignment: Any, *given: Any) -> Any:
        with limited():
            held = torch.ones(GIB if assignment.trial.seed == 1 else 1)
        return prepare(assignment, *given) if len(held) else None

    monkeypatch.setattr(trial, "prepared", hogging)
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    said = command("run", write_study(tmp_path, methods=["stl"], seeds=3), "--out", tmp_path / "out")
    assert said.code == 1, said.err
    reasons = {failure["reason"] for failure in Store(tmp_path / "out").failures()}
    (reason,) = reasons
    assert "not enough memory" in reason or "can't allocate memory" in reason
    assert sorted(record["seed"] for record in records(tmp_path / "out").values()) == [0, 0, 2, 2]


SCRIPT = """
import sys, time
from unittest import mock
from small_study import NoMirror
from study import schedule
from study.cli.app import main

original = schedule._trainable

def hogging(config, *given, **named):
    assignment = (given or [named["assignments"]])[0][config["index"]]
    if (assignment.trial.method, assignment.trial.seed) == ("rtm", 0):
        (assignment.root / f"try-{time.time_ns()}").touch()
        held = []
        while True:
            held.append(b"x" * (1 << 26))
            time.sleep(0.01)
    original(config, *given, **named)

sys.argv = ["l3study", *sys.argv[1:]]
with mock.patch("study.schedule._trainable", hogging), mock.patch("study.run.Mirror", NoMirror):
    main()
"""


# long: test_schedule.py shows Tuners that end so, for any trials; here Ray's own memory monitor ends them
@pytest.mark.long
def test_a_hog_that_the_memory_monitor_of_ray_ends_costs_one_training(tmp_path: Path) -> None:
    space = write_study(tmp_path, methods=["stl", "rtm"], seeds=2, resources={"workers": 2})
    share = psutil.virtual_memory().percent / 100 + 0.12
    environment = os.environ | {
        "RAY_memory_usage_threshold": f"{min(share, 0.95):.2f}",
        "RAY_memory_monitor_refresh_ms": "100",
        "PYTHONPATH": f"{PROJECT / 'tests' / 'support'}:{PROJECT}",
    }
    words = ["run", str(space), "--out", str(tmp_path / "out")]
    said = subprocess.run(
        [sys.executable, "-c", SCRIPT, *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert said.returncode == 1, said.stdout + said.stderr
    (reason,) = {failure["reason"] for failure in Store(tmp_path / "out").failures()}
    assert reason.startswith("out of memory (the node ran low, and Ray ended a process on it): Ray Tune ended 3 times")
    assert len({(r["method"], r["seed"]) for r in records(tmp_path / "out").values()}) == 3
    assert len(list((tmp_path / "out").glob("try-*"))) == 3
    shown = said.stdout + said.stderr
    assert "Traceback" not in shown
    assert len(shown.splitlines()) < 60, shown
