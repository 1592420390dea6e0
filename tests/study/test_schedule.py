"""The order of trials, the session of Ray and the rounds of its Tuners, without a Ray. With one: test_on_ray.py."""

from __future__ import annotations

import os
import signal
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from ray.exceptions import ActorDiedError

from l3masking.errors import EnvironmentFault
from study import schedule
from study.ray_tune import ROUNDS
from study.schedule import run_on_ray, run_serially


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
    monkeypatch.setattr(schedule, "joined", lambda **_: "head:6379")  # has answered
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
    monkeypatch.setattr(schedule, "joined", lambda **_: "head:6379")
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
