"""What is common to all runs of Ray Tune: which trials have ended, and what a Tuner is given."""

from __future__ import annotations

import contextlib
import logging
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.tune.execution import class_cache

from study.gpu import GpuLost
from study.space.spec import Resources
from study.work import ray_tune
from study.work.ray_tune import CRASHES, EARLY, STOPPED_RESULT, Watch, fit, keep_credentials, run_tuner, silent


class Heard:
    """A Watch over some trials, and what it tells."""

    def __init__(self, total: int) -> None:
        self.told: list[tuple[str, str | None]] = []
        self.begun: list[str] = []
        self.watch = Watch(
            total,
            returned=lambda trial: self.told.append((trial.trial_id, None)),
            failed=lambda trial, reason: self.told.append((trial.trial_id, reason)),
            begun=lambda trial: self.begun.append(trial.trial_id),
        )


def trial(name: str, error: Exception | None = None, **result: Any) -> Any:
    actor = SimpleNamespace(_actor_id=SimpleNamespace(hex=lambda: f"actor of {name}"))
    state = SimpleNamespace(ray_actor=actor)
    return SimpleNamespace(trial_id=name, error=error, last_result=result, temporary_state=state)


DEAD = ActorDiedError(), "its process died (out of memory, or killed), 3 times"
UNFIT = RayTaskError("f", "...", ImportError("no\nstudy"), "t", 1, "h"), "ImportError('no\\nstudy'), 3 times"


LOST = (
    RayTaskError("f", "...", GpuLost("CUDA error: an assert"), "t", 1, "h"),
    "it lost its GPU (CUDA error: an assert), 3 times",
)


@pytest.mark.parametrize(("error", "reason"), [DEAD, UNFIT, LOST])
def test_each_trial_is_told_of_once(error: Exception, reason: str) -> None:
    heard = Heard(2)
    heard.watch.on_trial_start(0, [], trial("a"))
    heard.watch.on_trial_complete(1, [], trial("a"))
    heard.watch.on_trial_complete(2, [], trial("a"))
    heard.watch.on_trial_recover(3, [], trial("b"))
    heard.watch.on_trial_error(4, [], trial("b", error))
    assert heard.begun == ["a"]
    assert heard.watch.actors.keys() == {"actor of a"}
    assert heard.told == [("a", None), ("b", reason)]
    assert heard.watch.ended == {"a", "b"}
    assert not heard.watch.early


def test_a_trial_that_was_told_to_end_has_no_end() -> None:
    heard = Heard(1)
    heard.watch.on_trial_complete(1, [], trial("a", **STOPPED_RESULT))
    assert heard.told == []
    assert not heard.watch.ended


def test_one_death_that_is_counted_twice_is_no_end() -> None:
    heard = Heard(1)
    heard.watch.on_trial_recover(7, [], trial("a"))
    heard.watch.on_trial_error(7, [], trial("a", ActorDiedError()))
    assert heard.told == []
    assert (heard.watch.ended, heard.watch.early) == (set(), {"a"})


def test_a_trial_that_was_lost_with_its_node_is_for_another_tuner() -> None:
    heard = Heard(1)
    heard.watch.on_trial_error(7, [], trial("a", ActorUnavailableError("the node is away", b"0" * 16)))
    assert (heard.told, heard.watch.ended, heard.watch.early) == ([], set(), {"a"})


def test_a_trial_that_was_killed_for_a_hang_says_so() -> None:
    heard, asked = Heard(1), []
    heard.watch.why_killed = lambda name: asked.append(name) or "no progress for 30 min at step 7 of training"
    heard.watch.on_trial_start(5, [], trial("a"))
    heard.watch.on_trial_recover(6, [], trial("a"))
    assert asked == ["actor of a"], "the next death has its own reason"
    heard.watch.on_trial_error(7, [], trial("a", ActorUnavailableError("stopped", b"0" * 16)))
    assert heard.told == [("a", "no progress for 30 min at step 7 of training, 3 times")]


@pytest.fixture(autouse=True)
def _errors(monkeypatch) -> None:
    """Trials hold them, where those of Tune are in files."""
    monkeypatch.setattr(ray_tune, "error_of", lambda trial: trial.error)


def test_a_trial_that_lost_a_process_with_its_node_may_die_again(monkeypatch) -> None:
    heard, away = Heard(1), ActorUnavailableError("the node is away", b"0" * 16)
    heard.watch.on_trial_recover(6, [], trial("a", away))
    heard.watch.on_trial_error(7, [], trial("a", ActorDiedError()))
    assert (heard.told, heard.watch.early) == ([], {"a"})


class Tuner:
    """In the place of Ray's."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error

    def fit(self) -> None:
        if self.error is not None:
            raise self.error


def test_another_tuner_follows_one_that_broke_or_left_a_trial_behind_and_none_after_a_stop() -> None:
    watch = Heard(2).watch
    assert fit(Tuner(RuntimeError("out of memory\nand more")), watch) == "out of memory"
    monitor = "Caught unexpected exception: 1 worker(s) were killed due to the node running low on memory.\nTop 10 ..."
    assert fit(Tuner(RuntimeError(monitor)), watch) == "out of memory (the node ran low, and Ray ended a process on it)"
    trace = "Traceback (most recent call last):\n  File ...\nOSError: disk full\n"
    assert fit(Tuner(tune.TuneError(trace)), watch) == "OSError: disk full"
    assert fit(Tuner(RuntimeError()), watch) == "RuntimeError"
    watch.early.add("a")
    assert fit(Tuner(), watch) is None, "the other one has no end: Tune was asked to stop"
    watch.ended.add("b")
    assert fit(Tuner(), watch) == EARLY
    watch.early.clear()
    watch.ended.add("a")
    assert fit(Tuner(), watch) is None


def test_every_tuner_keeps_nothing_and_takes_what_its_trials_take(monkeypatch) -> None:
    made: list[dict[str, Any]] = []

    def tuner(trainable: Any, **given: Any) -> Tuner:
        made.append(given | {"trainable": trainable, "scratch": Path(given["run_config"].storage_path)})
        assert made[-1]["scratch"].is_dir()
        assert signal.getsignal(signal.SIGUSR1) is signal.default_int_handler
        return Tuner(RuntimeError("broken"))

    monkeypatch.setattr(tune, "Tuner", tuner)
    monkeypatch.setattr(tune, "with_parameters", lambda made, **given: lambda config: made(config, **given))
    monkeypatch.setattr(ray_tune, "remote_overseer", lambda: contextlib.nullcontext("the overseer"))
    told: list[Any] = []
    watch, takes = Heard(2).watch, [Resources(cpu=1), Resources(cpu=2)]
    space = {"n": tune.grid_search([0, 1])}
    assert (
        run_tuner(
            "own",
            lambda config, **given: told.append(given),
            takes,
            "n",
            watch,
            at_once=3,
            shared={"x": 1},
            param_space=space,
            num_samples=5,
        )
        == "broken"
    )
    (given,) = made
    given["trainable"]({})
    assert told == [{"x": 1, "overseer": "the overseer"}]
    assert not given["scratch"].exists()
    assert given["param_space"] == space
    how, run = given["tune_config"], given["run_config"]
    assert (how.max_concurrent_trials, how.reuse_actors, how.num_samples) == (3, True, 5)
    assert (run.name, run.verbose, run.callbacks) == ("own", 0, [watch])
    assert run.failure_config.max_failures == CRASHES
    bundles = [given["trainable"]._resources({"n": n}).bundles for n in (0, 1)]
    assert bundles == [[{"CPU": 1.0}], [{"CPU": 2.0}]]


def test_credentials_are_not_sent_to_trials(monkeypatch) -> None:
    """S9: what is sent is logged, and shown by Ray's API."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hf_CANARY0123456789")
    monkeypatch.setenv("RAY_CHDIR_TO_TRIAL_DIR", "0")
    made: list[dict[str, Any]] = []
    monkeypatch.setattr(class_cache.ray, "remote", lambda **options: made.append(options) or (lambda cls: cls))
    with keep_credentials():
        class_cache._ActorClassCache().get(object)
    class_cache._ActorClassCache().get(object)
    sent, before = (options["runtime_env"]["env_vars"] for options in made)
    assert "AWS_SECRET_ACCESS_KEY" not in sent
    assert sent["RAY_CHDIR_TO_TRIAL_DIR"] == "0"
    assert "AWS_SECRET_ACCESS_KEY" in before, "Ray Tune sends it by itself"


def test_ray_tune_lists_no_trials_by_its_ids(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("ray.tune.tune")
    with silent():
        logger.error("Trials did not complete: [_trainable_0a1b2_00000]")
    logger.error("heard")
    assert [record.getMessage() for record in caplog.records if record.name == logger.name] == ["heard"]
