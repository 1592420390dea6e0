"""The order of trials, the session of Ray and the rounds of its Tuners, without a Ray. With one: test_on_ray.py."""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from l3masking.errors import EnvironmentFault, Interrupted
from study import schedule
from study.gpu import GpuLost
from study.schedule import run_on_ray, run_serially
from study.work.ray_tune import ROUNDS
from study.work.stopping import Stopped


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
    monkeypatch.setattr(schedule, "execute", lambda given, pulse: "broken" if given == "b" else None)
    run_serially(["a", "b", "c"], heard)  # type: ignore[list-item]
    assert heard.told == [("a", None), ("b", "broken"), ("c", None)]
    assert heard.begun == ["a", "b", "c"]


def test_after_a_lost_gpu_a_serial_run_ends_with_the_failure_of_the_trial(monkeypatch) -> None:
    heard, dead = Ears(), []

    def execute(given: Any, pulse: Any) -> None:
        raise GpuLost("CUDA error: an assert")

    monkeypatch.setattr(schedule, "execute", execute)
    monkeypatch.setattr(schedule, "died", lambda *given: dead.append(given))
    with pytest.raises(EnvironmentFault, match="the same command continues in a new one"):
        run_serially(["a", "b"], heard)  # type: ignore[list-item]
    reason = "it lost its GPU (CUDA error: an assert)"
    assert (heard.begun, heard.told, dead) == (["a"], [("a", reason)], [("a", reason, 1)])


@pytest.mark.parametrize("at_its_end", [False, True])
def test_a_stop_ends_the_trial_under_way_and_begins_none(monkeypatch, at_its_end: bool) -> None:
    heard = Ears()

    def execute(given: Any, pulse: Any) -> None:
        assert not pulse.beat("training")
        os.kill(os.getpid(), signal.SIGTERM)
        assert pulse.beat("training")
        if not at_its_end:
            raise Interrupted

    monkeypatch.setattr(schedule, "execute", execute)
    with pytest.raises(Stopped):
        run_serially(["a", "b"], heard)  # type: ignore[list-item]
    assert heard.begun == ["a"]
    assert heard.told == ([("a", None)] if at_its_end else [])


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
    monkeypatch.setattr(schedule, "raylet", lambda: SimpleNamespace(poll=lambda: None))
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


def test_sigterm_while_ray_starts_stops_the_run(monkeypatch) -> None:
    import ray

    def init(**_: Any) -> None:
        signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))  # as Ray does
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(schedule, "guard_token", lambda: None)
    before = signal.getsignal(signal.SIGTERM)
    with mock.patch.dict(os.environ), pytest.raises(KeyboardInterrupt):
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
    monkeypatch.setattr(schedule, "raylet", lambda: SimpleNamespace(poll=lambda: None))
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

    def __call__(self, assignments, listener, *, alone: bool) -> tuple[set[int], set[int], str | None]:
        self.seen.append(list(assignments))
        ended, reason = self.rounds.pop(0)
        for index in ended:
            listener.ended(assignments[index], None)
        left = set(range(len(assignments))) - set(ended)
        return left, {min(left)} if left else set(), reason


class Hogs:
    """Stands in for `_round` with two slots: a hog ends the Tuner, with what runs beside it, while others end."""

    def __init__(self, hogs: str) -> None:
        self.hogs, self.tries, self.tuners = hogs, Counter[str](), 0

    def __call__(self, assignments, listener, *, alone: bool) -> tuple[set[int], set[int], str | None]:
        self.tuners += 1
        left, slots = list(range(len(assignments))), 1 if alone else 2
        while left:
            running = left[:slots]
            self.tries.update(assignments[index] for index in running)
            if any(assignments[index] in self.hogs for index in running):
                return set(left), set(running), "out of memory"
            listener.ended(assignments[left.pop(0)], None)
        return set(), set(), None


def test_a_tuner_that_breaks_is_followed_by_another_over_what_is_left(monkeypatch) -> None:
    heard = Ears()
    rounds = Rounds(((1,), "out of memory"), ((0,), None), ((0,), None))
    monkeypatch.setattr(schedule, "_round", rounds)
    schedule.run_on_ray(["a", "b", "c"], heard)  # type: ignore[list-item]
    assert rounds.seen == [["a", "b", "c"], ["c"], ["a"]], "what ran when it broke comes last"
    assert heard.told == [("b", None), ("c", None), ("a", None)]


@pytest.mark.parametrize("hogs", ["a", "c", "h", "ab", "dg", "abcdefgh"])
def test_what_takes_all_memory_costs_itself_alone(hogs: str, monkeypatch) -> None:
    """Though Ray ends a whole Tuner for it, and does not say for which of the trials that ran."""
    heard, dead, rounds = Ears(), [], Hogs(hogs)
    monkeypatch.setattr(schedule, "_round", rounds)
    monkeypatch.setattr(schedule, "died", lambda *given: dead.append(given))
    schedule.run_on_ray(list("abcdefgh"), heard)  # type: ignore[arg-type]
    reason = "out of memory: Ray Tune ended 3 times while this trial ran"
    assert dict(heard.told) == {name: reason if name in hogs else None for name in "abcdefgh"}
    assert len(heard.told) == 8, "each has one end"
    assert sorted(dead) == [(name, reason, 3) for name in sorted(hogs)]
    assert all(rounds.tries[name] == 3 for name in hogs)
    assert rounds.tuners <= 3 * len(hogs) + 3


def test_what_breaks_every_tuner_has_failed(monkeypatch) -> None:
    heard, dead = Ears(), []
    monkeypatch.setattr(schedule, "_round", Rounds(*[((), "out of memory")] * ROUNDS))
    monkeypatch.setattr(schedule, "died", lambda *given: dead.append(given))
    schedule.run_on_ray(["a"], heard)  # type: ignore[list-item]
    reason = "out of memory: Ray Tune ended 3 times while this trial ran"
    assert (heard.told, dead) == ([("a", reason)], [("a", reason, 3)])


def test_a_tuner_that_returns_early_was_asked_to(monkeypatch) -> None:
    monkeypatch.setattr(schedule, "_round", Rounds(((0,), None)))
    with pytest.raises(Stopped, match="1 training left"):
        schedule.run_on_ray(["a", "b"], Ears())  # type: ignore[list-item]


def test_what_a_watcher_hears_of_trials_is_told_of_their_assignments(monkeypatch) -> None:
    heard, left, begun = Ears(), {0, 1, 2}, set[int]()
    monkeypatch.setattr(
        schedule, "died", lambda given, reason, times: heard.told.append((given, f"died {times} times"))
    )
    watch = schedule._watch(["a", "b", "c"], left, begun, heard)  # type: ignore[list-item]
    good, bad, dead = (
        SimpleNamespace(
            trial_id=str(index),
            config={"index": index},
            last_result={"reason": ["", "broken", None][index]},
            pickled_error_file=None,
            temporary_state=mock.MagicMock(),
        )
        for index in range(3)
    )
    watch.on_trial_start(0, [], bad)
    watch.on_trial_complete(1, [], good)
    watch.on_trial_complete(2, [], bad)
    assert left == {2}
    watch.on_trial_error(3, [], dead)
    assert heard.begun == ["b"]
    assert begun == {1}
    reason = "its process died (out of memory, or killed), 3 times"
    assert heard.told == [("a", None), ("b", "broken"), ("c", "died 3 times"), ("c", reason)]
    assert left == set()


def test_what_has_ended_while_tune_was_stopped_is_told_of(monkeypatch) -> None:
    """Tune no longer listens to trials that end themselves then."""
    heard = Ears()
    given = [SimpleNamespace(name=name, resources=None) for name in "abc"]

    def tuner(name: str, trainable: Any, takes: Any, entry: str, watch: Any, **how: Any) -> None:
        for index in (0, 1):
            watch.on_trial_start(0, [], mock.MagicMock(config={"index": index}))

    monkeypatch.setattr("study.work.ray_tune.run_tuner", tuner)
    monkeypatch.setattr(schedule, "most_slots", lambda takes: 1)
    monkeypatch.setattr(schedule, "finished", lambda given: given.name == "b")
    with pytest.raises(Stopped, match="2 trainings left"):
        run_on_ray(given, heard)  # type: ignore[arg-type]
    assert heard.told == [(given[1], None)]
