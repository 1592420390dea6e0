"""What is common to all runs of Ray Tune: which trials have ended, and how a run is stopped."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ray import tune
from ray.exceptions import ActorDiedError, RayTaskError
from ray.tune.execution import class_cache

from study.ray_tune import CRASHES, EARLY, Watch, fit, keep_credentials, run_tuner, stop_on_sigterm
from study.space.spec import Resources


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


def trial(name: str, error: Exception | None = None) -> Any:
    return SimpleNamespace(trial_id=name, get_pickled_error=lambda: error)


DEAD = ActorDiedError(), "its process died (out of memory, or killed), 3 times"
UNFIT = RayTaskError("f", "...", ImportError("no\nstudy"), "t", 1, "h"), "ImportError('no\\nstudy'), 3 times"


@pytest.mark.parametrize(("error", "reason"), [DEAD, UNFIT])
def test_each_trial_is_told_of_once(error: Exception, reason: str) -> None:
    heard = Heard(2)
    heard.watch.on_trial_start(0, [], trial("a"))
    heard.watch.on_trial_complete(1, [], trial("a"))
    heard.watch.on_trial_complete(2, [], trial("a"))
    heard.watch.on_trial_recover(3, [], trial("b"))
    heard.watch.on_trial_error(4, [], trial("b", error))
    assert heard.begun == ["a"]
    assert heard.told == [("a", None), ("b", reason)]
    assert heard.watch.ended == {"a", "b"}
    assert not heard.watch.early


def test_one_death_that_is_counted_twice_is_no_end() -> None:
    heard = Heard(1)
    heard.watch.on_trial_recover(7, [], trial("a"))
    heard.watch.on_trial_error(7, [], trial("a", ActorDiedError()))
    assert heard.told == []
    assert (heard.watch.ended, heard.watch.early) == (set(), {"a"})


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
    watch, takes = Heard(2).watch, [Resources(cpu=1), Resources(cpu=2)]
    space = {"n": tune.grid_search([0, 1])}
    assert (
        run_tuner("own", lambda config: None, takes, "n", watch, at_once=3, param_space=space, num_samples=5)
        == "broken"
    )
    (given,) = made
    assert not given["scratch"].exists()
    assert given["param_space"] == space
    how, run = given["tune_config"], given["run_config"]
    assert (how.max_concurrent_trials, how.reuse_actors, how.num_samples) == (3, True, 5)
    assert (run.name, run.verbose, run.callbacks) == ("own", 0, [watch])
    assert run.failure_config.max_failures == CRASHES
    bundles = [given["trainable"]._resources({"n": n}).bundles for n in (0, 1)]
    assert bundles == [[{"CPU": 1.0}], [{"CPU": 2.0}]]


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)]


def test_sigterm_reaches_tune_once_and_the_second_stops_at_once() -> None:
    before, seen = handlers(), []
    with stop_on_sigterm():
        signal.signal(signal.SIGUSR1, lambda *_: seen.append("usr1"))  # as Tune does
        signal.signal(signal.SIGINT, lambda *_: seen.append("int"))
        os.kill(os.getpid(), signal.SIGTERM)
        assert seen == ["usr1"]
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    assert seen == ["usr1"]
    assert handlers() == before


def test_sigterm_before_tune_listens_stops_at_once() -> None:
    before = handlers()
    with pytest.raises(KeyboardInterrupt), stop_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
    assert handlers() == before


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
