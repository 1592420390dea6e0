"""Trials under Ray Tune and one after the other: the same results, whatever stops or dies in between."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest import mock

import pytest
from ray.exceptions import ActorDiedError
from small_study import NoMirror, Said, command, marks, records, results, tables, write_study

from l3masking.errors import EnvironmentFault
from study import schedule
from study.ray_tune import ROUNDS
from study.schedule import run_on_ray, run_serially

DOOMED = ("mtl_static", 1)  # method and seed whose process dies whenever it is tried
METHODS = ["stl", "rtm", "l3masking", "mtl_static"]


def fated(config: dict[str, Any], assignments: Any) -> None:
    """In the place of schedule._trainable, in the workers: notes the process, and kills the doomed one."""
    given = assignments[config["index"]]
    folder = given.root / "processes"
    folder.mkdir(exist_ok=True)
    (folder / f"{given.trial.method}-{given.trial.seed}-{time.time_ns()}").write_text(str(os.getpid()))
    if (given.trial.method, given.trial.seed) == DOOMED:
        os.kill(os.getpid(), signal.SIGKILL)
    original(config, assignments)


original = schedule._trainable


class Terminates(NoMirror):
    """Sends SIGTERM to the driver when the first trial is finished."""

    sent = False

    def add(self, record: Any) -> None:
        if not Terminates.sent:
            Terminates.sent = True
            os.kill(os.getpid(), signal.SIGTERM)


class OnRay(NamedTuple):
    root: Path
    stopped: Said
    after_stop: dict[str, tuple[int, int]]
    finished: Said


@pytest.fixture(scope="module")
def on_ray(tmp_path_factory: pytest.TempPathFactory) -> OnRay:
    """A study of eight trials on Ray: stopped by SIGTERM with one worker, continued with two, one trial doomed."""
    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the workers cannot import a test
    folder = tmp_path_factory.mktemp("on-ray")
    space, root = write_study(folder, methods=METHODS, resources={"workers": 1}), folder / "out"
    with mock.patch("study.score.SHARD_TEXTS", 8), mock.patch("study.schedule._trainable", fated):
        with mock.patch("study.run.Mirror", Terminates):
            stopped = command("run", space, "--out", root)
        after_stop = marks(root)
        with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.ray_tune.CRASHES", 1):
            finished = command("run", space, "--out", root, "--set", "resources.workers=2")
    return OnRay(root, stopped, after_stop, finished)


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study in this process, undisturbed."""
    folder = tmp_path_factory.mktemp("serial")
    with mock.patch("study.run.Mirror", NoMirror), mock.patch("study.score.SHARD_TEXTS", 8):
        said = command("run", write_study(folder, methods=METHODS), "--out", folder / "out")
    assert said.code == 0, said.err
    return folder / "out"


@pytest.mark.slow
def test_serial_and_ray_give_equal_records_with_one_worker_or_two(on_ray: OnRay, serial: Path) -> None:
    """Everything but `run`. The first trial ran beside no other, the rest two at a time, in used processes too."""
    mine, theirs = records(on_ray.root), records(serial)
    doomed = {key for key, record in theirs.items() if (record["method"], record["seed"]) == DOOMED}
    assert len(doomed) == 2
    assert len(theirs) == 16
    assert mine.keys() == theirs.keys() - doomed
    assert {key: results(record) for key, record in mine.items()} == {
        key: results(record) for key, record in theirs.items() if key not in doomed
    }
    scores = [
        {path.relative_to(root): path.read_bytes() for path in root.glob("scores/*/*")}
        for root in (on_ray.root, serial)
    ]
    assert scores[0] == scores[1]
    assert len(scores[0]) == 4


@pytest.mark.slow
def test_processes_are_used_again(on_ray: OnRay) -> None:
    tried = {path.name: path.read_text() for path in (on_ray.root / "processes").iterdir()}
    finished = {name: pid for name, pid in tried.items() if not name.startswith(f"{DOOMED[0]}-{DOOMED[1]}-")}
    assert len(finished) >= 7
    assert max(Counter(finished.values()).values()) >= 2


@pytest.mark.slow
def test_sigterm_under_ray_is_75_and_nothing_finished_runs_again(on_ray: OnRay) -> None:
    assert on_ray.stopped.code == 75, on_ray.stopped.err
    assert "the same command continues" in on_ray.stopped.out
    assert 2 <= len(on_ray.after_stop) < 14
    now = marks(on_ray.root)
    assert {name: now[name] for name in on_ray.after_stop} == on_ray.after_stop


@pytest.mark.slow
def test_a_trial_whose_process_dies_fails_alone(on_ray: OnRay) -> None:
    from study.store.store import Store

    assert on_ray.finished.code == 1, on_ray.finished.err
    assert (
        "FAILED tiny / words / mtl_static / seed 1: its process died (out of memory, or killed), 2 times"
        in on_ray.finished.out
    )
    failures = Store(on_ray.root).failures()
    assert {(f["method"], f["seed"], f["objective"], f["attempts"]) for f in failures} == {
        (*DOOMED, "accuracy", 2),
        (*DOOMED, "macro_f1", 2),
    }
    assert all("its process died" in failure["reason"] for failure in failures)
    attempts = list((on_ray.root / "processes").glob(f"{DOOMED[0]}-{DOOMED[1]}-*"))
    assert len(attempts) == 2
    assert b"n=1/2" in tables(on_ray.root)["results.md"]


class Ears:
    """A Listener that notes what it hears."""

    def __init__(self) -> None:
        self.begun: list[Any] = []
        self.told: list[tuple[Any, str | None]] = []

    def started(self, assignment: Any) -> None:
        self.begun.append(assignment)

    def ended(self, assignment: Any, reason: str | None) -> None:
        self.told.append((assignment, reason))


def test_one_after_the_other_in_the_given_order(monkeypatch) -> None:
    heard = Ears()
    monkeypatch.setattr(schedule, "execute", lambda given: "broken" if given == "b" else None)
    run_serially(["a", "b", "c"], heard)  # type: ignore[list-item]
    assert heard.told == [("a", None), ("b", "broken"), ("c", None)]
    assert heard.begun == ["a", "b", "c"]


def test_nothing_to_do_starts_nothing() -> None:
    import ray

    run_on_ray([], Ears())
    assert not ray.is_initialized()


def test_ray_does_not_keep_the_handler_of_sigterm(monkeypatch) -> None:
    import ray

    given: dict[str, Any] = {}

    def init(**options: Any) -> None:
        given.update(options)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: given.update(shut=True))
    monkeypatch.setattr(schedule, "check_code", lambda: given.update(checked=True))
    before = signal.getsignal(signal.SIGTERM)
    with mock.patch.dict(os.environ), schedule.ray_session():
        assert signal.getsignal(signal.SIGTERM) is before
    assert given["address"] == "local"  # never somebody else's cluster on this machine
    assert given["shut"]
    assert given["checked"]
    monkeypatch.setattr(schedule, "joined", lambda: "head:6379")  # has answered
    with schedule.ray_session():
        assert given["address"] == "head:6379"


def test_a_ray_that_cannot_be_joined_or_started_is_one_line(monkeypatch) -> None:
    import ray

    def init(**_: Any) -> None:
        raise RuntimeError("Version mismatch: 2.1 there\nand more")

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(schedule, "guard_token", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    with (
        mock.patch.dict(os.environ),
        pytest.raises(EnvironmentFault, match=r"^Ray does not start here \(Version mism.*there\);"),
    ):
        schedule.ray_session().__enter__()
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    monkeypatch.setattr(schedule, "joined", lambda: "head:6379")
    with (
        mock.patch.dict(os.environ),
        pytest.raises(EnvironmentFault, match=r"^RAY_ADDRESS=head:6379: cannot be joined \(Ver"),
    ):
        schedule.ray_session().__enter__()
    assert signal.getsignal(signal.SIGTERM) is before


def test_workers_that_run_other_code_end_the_session(monkeypatch) -> None:
    import ray

    def other() -> None:
        raise EnvironmentFault("workers import other code")

    given: dict[str, Any] = {}
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", lambda **options: given.update(options))
    monkeypatch.setattr(ray, "shutdown", lambda: given.update(shut=True))
    monkeypatch.setattr(schedule, "guard_token", lambda: None)
    monkeypatch.setattr(schedule, "check_code", other)
    with mock.patch.dict(os.environ), pytest.raises(EnvironmentFault, match="other code"):
        schedule.ray_session().__enter__()
    assert given["shut"]


class Rounds:
    """Stands in for `_round`: each Tuner ends the trials that it is told to, and says why another is to follow."""

    def __init__(self, *rounds: tuple[tuple[int, ...], str | None]) -> None:
        self.rounds = list(rounds)
        self.seen: list[list[Any]] = []

    def __call__(self, assignments, listener) -> tuple[set[int], str | None]:
        self.seen.append(list(assignments))
        ended, reason = self.rounds.pop(0)
        for index in ended:
            listener.ended(assignments[index], None)
        return set(range(len(assignments))) - set(ended), reason


def test_a_tuner_that_breaks_is_followed_by_another_over_what_is_left(monkeypatch) -> None:
    heard = Ears()
    rounds = Rounds(((1,), "out of memory"), ((0,), "out of memory"), ((0,), None))
    monkeypatch.setattr(schedule, "_round", rounds)
    schedule.run_on_ray(["a", "b", "c"], heard)  # type: ignore[list-item]
    assert rounds.seen == [["a", "b", "c"], ["a", "c"], ["c"]]
    assert heard.told == [("b", None), ("a", None), ("c", None)]


def test_what_breaks_every_tuner_has_failed(monkeypatch) -> None:
    heard, dead = Ears(), []
    monkeypatch.setattr(schedule, "_round", Rounds(*[((), "out of memory")] * ROUNDS))
    monkeypatch.setattr(schedule, "died", lambda *given: dead.append(given))
    schedule.run_on_ray(["a"], heard)  # type: ignore[list-item]
    reason = "Ray Tune ended 3 times before this trial did: out of memory"
    assert (heard.told, dead) == ([("a", reason)], [("a", reason, 3)])


def test_a_tuner_that_returns_early_was_asked_to(monkeypatch) -> None:
    monkeypatch.setattr(schedule, "_round", Rounds(((0,), None)))
    with pytest.raises(schedule.Stopped, match="1 trials left"):
        schedule.run_on_ray(["a", "b"], Ears())  # type: ignore[list-item]


def test_what_a_watcher_hears_of_trials_is_told_of_their_assignments(monkeypatch) -> None:
    heard, left = Ears(), {0, 1, 2}
    monkeypatch.setattr(
        schedule, "died", lambda given, reason, times: heard.told.append((given, f"died {times} times"))
    )
    watch = schedule._watch(["a", "b", "c"], left, heard)  # type: ignore[list-item]
    good, bad, dead = (
        SimpleNamespace(
            trial_id=str(index),
            config={"index": index},
            last_result={"reason": ["", "broken", None][index]},
            get_pickled_error=ActorDiedError,
        )
        for index in range(3)
    )
    watch.on_trial_start(0, [], bad)
    watch.on_trial_complete(1, [], good)
    watch.on_trial_complete(2, [], bad)
    assert left == {2}
    watch.on_trial_error(3, [], dead)
    assert heard.begun == ["b"]
    reason = "its process died (out of memory, or killed), 3 times"
    assert heard.told == [("a", None), ("b", "broken"), ("c", "died 3 times"), ("c", reason)]
    assert left == set()
