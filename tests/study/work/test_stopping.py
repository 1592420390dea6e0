"""How a stop is asked for, told to trainings and waited for, without Ray. With one: test_on_ray.py."""

from __future__ import annotations

import os
import signal
import time
from types import SimpleNamespace
from typing import Any
from unittest.mock import ANY

import pytest

from study import signals
from study.signals import REQUEST, Requests, interrupting
from study.work import stopping
from study.work.processes import NodeProcess
from study.work.pulse import EVERY, Overseer, RemotePulse, UnderWay
from study.work.stopping import (
    SAVING,
    UNTIL_STEP,
    AtOnce,
    Stopped,
    end_work,
    heeded,
    in_this_process,
    under_tune,
    uninterrupted,
)

PROCESS = NodeProcess("a node", 7, 0.0)
HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_the_overseer_knows_what_is_under_way_and_tells_all_of_a_stop() -> None:
    clock = Clock()
    overseer = Overseer(clock)
    assert not overseer.begin("a", "first", "handle of a", PROCESS)
    assert not overseer.begin("b", "second", "handle of b", PROCESS)
    clock.now += 2
    assert not overseer.beat("a", "training", 7)
    clock.now += 3
    assert overseer.under_way() == [
        UnderWay("a", "first", "handle of a", PROCESS, "training", 7, 3.0, False),
        UnderWay("b", "second", "handle of b", PROCESS, "", 0, 5.0, False),
    ]
    overseer.ask_to_stop()
    assert overseer.beat("b", "training", 1)
    overseer.saves("b")
    overseer.end("a")
    assert [(work.who, work.saving, work.silent) for work in overseer.under_way()] == [("b", True, 0.0)]
    assert overseer.begin("c", "third", "handle of c", PROCESS), "what begins after the stop is to end too"
    assert overseer.beat("a", "training", 8), "a beat on its way when the work ended"
    assert [work.who for work in overseer.under_way()] == ["b", "c"]


@pytest.fixture
def remote(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Stands for an overseer on Ray: notes what it is sent, and answers when it is `ready`."""
    import ray

    far = SimpleNamespace(sent=[], answer=False, ready=True, lost=False)

    def method(name: str) -> SimpleNamespace:
        def remote(*given: Any) -> bool:
            far.sent.append((name, *given))
            return far.answer

        return SimpleNamespace(remote=remote)

    def get(answer: bool) -> bool:
        if far.lost:
            raise ray.exceptions.ActorDiedError
        return answer

    for name in ("begin", "beat", "saves", "end"):
        setattr(far, name, method(name))
    here = SimpleNamespace(get_actor_id=lambda: "me", get_node_id=lambda: "here", current_actor="my handle")
    monkeypatch.setattr(ray, "get_runtime_context", lambda: here)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "wait", lambda refs, timeout: (refs, []) if far.ready else ([], refs))
    return far


def test_beats_are_sent_at_most_once_in_a_while_and_wait_for_no_answer(remote: SimpleNamespace) -> None:
    clock = Clock()
    with RemotePulse(remote, "some training", clock=clock) as own:
        assert not any(own.beat("training") for _ in range(5))
        clock.now += EVERY
        assert not own.beat("training")
        remote.ready = False
        clock.now += EVERY
        assert not own.beat("training"), "not answered yet, so nothing is sent"
        remote.ready, remote.answer = True, True
        clock.now += EVERY
        assert not own.beat("training"), "the answer is that to the beat before"
        clock.now += EVERY
        assert own.beat("final")
        assert own.beat("final")
        own.saves()
    assert remote.sent == [
        ("begin", "me", "some training", "my handle", ANY),
        *(("beat", "me", "training", steps) for steps in (1, 6, 8)),
        ("beat", "me", "final", 9),
        ("saves", "me"),
        ("end", "me"),
    ]


def test_work_that_begins_after_the_stop_ends_at_its_first_step(remote: SimpleNamespace) -> None:
    remote.answer = True
    with RemotePulse(remote, "some training") as own:
        assert own.beat("training")


def test_work_begins_without_an_overseer(remote: SimpleNamespace) -> None:
    remote.lost = True
    with RemotePulse(remote, "some training") as own:
        assert not own.beat("training")
    assert [name for name, *_ in remote.sent] == ["begin", "beat", "end"]


def test_work_goes_on_without_an_overseer(remote: SimpleNamespace) -> None:
    clock = Clock()
    with RemotePulse(remote, "some training", clock=clock) as own:
        own.beat("training")
        remote.lost = True
        clock.now += EVERY
        assert not own.beat("training")


def killed(left: list[list[UnderWay]], over: Any = lambda: False) -> list[tuple[str, float]]:
    """What is killed, and after how many seconds. left: what is under way, second by second."""
    clock, found = Clock(), list[tuple[str, float]]()

    def under_way() -> list[UnderWay]:
        return left[min(int(clock.now - 50), len(left) - 1)]

    end_work(
        under_way,
        lambda work: found.append((work.who, round(clock.now - 50, 1))),
        over,
        clock=clock,
        sleep=clock.sleep,
    )
    return found


def work(who: str, saving: bool = False) -> UnderWay:
    return UnderWay(who, f"training {who}", None, PROCESS, "training", 3, 0.0, saving)


def test_work_that_does_not_end_is_killed_and_a_checkpoint_has_its_time(caplog: pytest.LogCaptureFixture) -> None:
    assert killed([[]]) == []
    assert killed([[work("a")], [work("a")], []]) == []
    assert killed([[work("a"), work("b", saving=True)]]) == [
        ("a", pytest.approx(UNTIL_STEP, abs=0.2)),
        ("b", pytest.approx(SAVING, abs=0.2)),
    ]
    assert "training a: did not end in time, and was killed" in caplog.text
    assert killed([[work("a")]], over=lambda: True) == []


def handlers() -> list[Any]:
    return [signal.getsignal(number) for number in HANDLED]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_heeded_and_the_second_ends_at_once(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "REQUEST", 0.0)
    before, seen = handlers(), []
    with heeded(lambda: seen.append("asked")):
        os.kill(os.getpid(), number)
        assert seen == ["asked"]
        with pytest.raises(AtOnce):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGUSR1)
    assert seen == ["asked"]
    assert handlers() == before


def test_signals_close_together_are_one_request_and_the_first_is_answered(capfd: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    requests, told = Requests(clock=clock), list[bool]()
    for seconds in (0.0, 0.0, REQUEST - 0.1, REQUEST + 0.1, 0.0):
        clock.now += seconds
        told.append(requests.new())
    assert told == [True, False, False, True, False]
    assert requests.count == 2
    assert capfd.readouterr().err == f"{signals.ASKED}\n"


def test_two_signals_of_one_request_interrupt_once(capfd: pytest.CaptureFixture[str]) -> None:
    """As `timeout` sends them: to the process, and then to its group. The answer promises no tables."""
    before = handlers()
    with interrupting():
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)
    assert capfd.readouterr().err == f"{signals.NO_TRAINING}\n"
    assert handlers() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_nothing_is_raised_where_ray_would_lose_it(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    before, steps = handlers(), list[int]()

    def start(signals: int) -> None:
        with uninterrupted():
            for _ in range(signals):
                os.kill(os.getpid(), number)
                time.sleep(0.01)
                steps.append(signals)

    with pytest.raises(KeyboardInterrupt) as found:
        start(1)
    assert not isinstance(found.value, AtOnce)
    monkeypatch.setattr(signals, "REQUEST", 0.0)
    with pytest.raises(AtOnce):
        start(2)
    assert steps == [1, 2]
    assert handlers() == before


def test_work_in_this_process_ends_at_its_next_step() -> None:
    before, steps = handlers(), list[int]()

    def training() -> None:
        with in_this_process() as flag:
            while not flag.beat("training"):
                steps.append(1)
                if len(steps) == 3:
                    os.kill(os.getpid(), signal.SIGTERM)
            flag.saves()
            flag.check()

    with pytest.raises(Stopped):
        training()
    assert len(steps) == 3
    assert handlers() == before


@pytest.mark.parametrize("saving", [False, True])
def test_work_in_this_process_that_comes_to_no_step_is_interrupted(
    saving: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stopping, "UNTIL_STEP", 0.1)
    monkeypatch.setattr(stopping, "SAVING", 0.3)
    began = time.monotonic()

    def stuck() -> None:
        with in_this_process() as flag:
            flag.ask()
            if saving:
                flag.saves()
            while time.monotonic() < began + 20:
                time.sleep(0.01)

    with pytest.raises(KeyboardInterrupt) as found:
        stuck()
    assert not isinstance(found.value, AtOnce), "tables are still written"
    assert time.monotonic() - began < 10


def test_nothing_interrupts_after_work_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "UNTIL_STEP", 0.05)

    def training() -> None:
        with in_this_process() as flag:
            flag.ask()
            flag.check()

    with pytest.raises(Stopped):
        training()
    time.sleep(0.1)


@pytest.mark.parametrize("tidies", [True, False])
def test_tune_is_told_to_stop_and_left_where_it_does_not_come_back(
    tidies: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way ends by itself, what is at nothing is killed, and what Tune still waits for is left."""
    import ray

    monkeypatch.setattr(stopping, "TIDYING", 0.2)
    monkeypatch.setattr(ray, "get", lambda value: value)
    overseer, dead, seen, came = Overseer(), list[str](), list[str](), list[str]()
    remote = SimpleNamespace(
        ask_to_stop=SimpleNamespace(remote=overseer.ask_to_stop), under_way=SimpleNamespace(remote=overseer.under_way)
    )
    monkeypatch.setattr(ray, "kill", dead.append)
    overseer.begin("a", "some training", "actor a", PROCESS)
    before, began = handlers(), time.monotonic()
    with under_tune(remote, {"a": "actor a", "b": "actor b"}):
        signal.signal(signal.SIGUSR1, lambda *_: seen.append("usr1"))  # as Tune does
        os.kill(os.getpid(), signal.SIGTERM)
        while not overseer.beat("a", "training", 1):
            time.sleep(0.01)
        overseer.end("a")
        while not tidies and time.monotonic() < began + 20:
            time.sleep(0.01)
        came.append("back")
    assert seen == ["usr1"]
    assert "actor b" in dead
    assert came == ["back"] * tidies
    assert time.monotonic() - began < 10
    assert handlers() == before
