"""A trial that fails in any way stops only itself. That a hang is noticed is shown where the patience is tested.

Ways that end a process need a process for each trial: they are tried under Ray. One of them is part of every test of
test_on_ray.py; all are tried in the long test here.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import ray.cloudpickle
from small_study import NoMirror, command, records, results, tables, write_space

from l3masking.training import evaluation
from study import schedule, trial
from study.store.store import Store

run_trial, trainable = trial.run_trial, schedule._trainable


def raises(error: BaseException) -> Callable[..., Any]:
    def fail(*_: Any, **__: Any) -> Any:
        raise error

    return fail


def with_metrics(**metrics: float) -> Callable[..., Any]:
    def run(*given: Any, **more: Any) -> Any:
        with mock.patch.object(evaluation, "_metrics", return_value=metrics):
            return run_trial(*given, **more)

    return run


def without_space(*given: Any, **more: Any) -> Any:
    with mock.patch("study.trial.Training.run", raises(OSError(errno.ENOSPC, "No space left on device", "file"))):
        return run_trial(*given, **more)


def hog(*_: Any, **__: Any) -> Any:
    return np.ones(2**50)


WAYS: dict[str, tuple[Callable[..., Any], str]] = {  # how a trial fails -> instead of run_trial, and what is said
    "raise": (raises(ValueError("broken")), "ValueError: broken"),
    "sysexit": (raises(SystemExit(7)), "SystemExit: 7"),
    "nan": (with_metrics(accuracy=float("nan"), macro_f1=0.5), "NonFiniteLoss: not finite at "),
    "inf": (with_metrics(accuracy=0.5, macro_f1=float("inf")), "NonFiniteLoss: not finite at "),
    "none": (with_metrics(), "KeyError: 'accuracy'"),
    "wrong key": (with_metrics(acc=0.5), "KeyError: 'accuracy'"),
    "returns nothing": (lambda *_, **__: None, "TypeError: "),
    "hog": (hog, "MemoryError: Unable to allocate 8.00 PiB"),
    "ENOSPC": (without_space, "OSError: [Errno 28] No space left on device: 'file'"),
}


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    """A space file of its own beside the encoder and the data of the finished study."""
    for name in ("encoder", "train.jsonl", "validation.jsonl", "test.jsonl"):
        (tmp_path / name).symlink_to(finished_study / name)
    return tmp_path


def failing(seeds: dict[int, Callable[..., Any]]) -> Callable[..., Any]:
    """In the place of run_trial: some seeds fail, each in its way."""
    return lambda given, **more: seeds.get(given.trial.seed, run_trial)(given, **more)


def test_a_trial_that_fails_in_any_way_stops_only_itself(here: Path, finished_study: Path) -> None:
    seeds = {number: way for number, (way, _) in enumerate(WAYS.values(), 1)}
    space = write_space(here / "small.yaml", methods=["stl"], seeds=len(WAYS) + 2)
    with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.trial.run_trial", failing(seeds)):
        said = command("run", space, "--out", here / "out")
    assert said.code == 1, said.err
    found, undisturbed = records(here / "out"), records(finished_study / "out")
    assert {record["seed"] for record in found.values()} == {0, len(WAYS) + 1}
    same = found.keys() & undisturbed.keys()
    assert {key: results(found[key]) for key in same} == {key: results(undisturbed[key]) for key in same}
    assert len(same) == 2  # both objectives of seed 0
    failures = Store(here / "out").failures()
    for number, (name, (_, words)) in enumerate(WAYS.items(), 1):
        mine = [failure for failure in failures if failure["seed"] == number]
        assert len(mine) == 2, name
        assert all(words in failure["reason"] for failure in mine), (name, [one["reason"] for one in mine])
        assert f"seed {number}: " in said.out, name
    assert b"n=2/11" in tables(here / "out")["results.md"]


ENDS: dict[str, Callable[[], Any]] = {
    "exit": lambda: os._exit(0),
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segv": lambda: faulthandler._sigsegv(),
    "sysexit": lambda: sys.exit(3),
}


def ends(config: dict[str, Any], assignments: Any, overseer: Any) -> None:
    """In the place of schedule._trainable, in the workers."""
    seed = assignments[config["index"]].trial.seed
    if 1 <= seed <= len(ENDS):
        list(ENDS.values())[seed - 1]()
    trainable(config, assignments, overseer)


# long: test_on_ray.py shows one of these ways in test_a_trial_whose_process_dies_fails_alone
@pytest.mark.long
def test_a_trial_that_ends_its_process_in_any_way_stops_only_itself(here: Path, monkeypatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    space = write_space(here / "small.yaml", methods=["stl"], seeds=len(ENDS) + 2, resources={"workers": 2})
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    try:
        with (
            mock.patch("study.run.Mirror", NoMirror),
            mock.patch("study.schedule._trainable", ends),
            mock.patch("study.work.ray_tune.CRASHES", 1),
        ):
            said = command("run", space, "--out", here / "out")
    finally:
        ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])
    assert said.code == 1, said.err
    assert {record["seed"] for record in records(here / "out").values()} == {0, len(ENDS) + 1}
    failures = Store(here / "out").failures()
    assert {failure["seed"] for failure in failures} == set(range(1, len(ENDS) + 1))
