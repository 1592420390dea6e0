"""What is said of the workers that make artefacts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError, RayTaskError

from l3masking.errors import InputError
from study.gpu import GpuLost
from study.space.spec import Resources
from study.work.crew import WorkerLost
from study.work.processes import LOW_MEMORY, RAN_LOW
from study.work.workers import ArtefactWorker, RayHands, _lost

PAGE = f"Task was killed due to the node {LOW_MEMORY}.\nMemory used by its creation task: 1 GiB\nRefer to the manual"


@pytest.mark.parametrize(
    ("error", "what", "advice"),
    [
        (OutOfMemoryError(PAGE), f"a worker died: {RAN_LOW}", "lower resources.workers"),
        (ActorDiedError(), "a worker died (out of memory, or killed, or its node is gone)", "lower resources.workers"),
        (RayError("died in its creation task\nno torch"), "a worker cannot start (no torch)", "`l3study doctor`"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, RayError) else None,
)
def test_a_lost_worker_is_told_in_one_line_with_advice(error: RayError, what: str, advice: str) -> None:
    lost = _lost(error)
    assert lost.what == str(lost) == what
    assert lost.advice.startswith(advice)


# The first worker checks encoders -------------------------------------------------------------------------------------


@pytest.fixture
def hands(monkeypatch) -> Any:
    """RayHands with two encoders to check; its actors answer with the name of what they were asked, or raise."""
    answers: dict[str, Any] = {}

    def get(ref: str) -> str:
        if isinstance(answers.get(ref), Exception):
            raise answers[ref]
        return ref

    asked = SimpleNamespace(remote=lambda *given: f"check {given}")
    actor = SimpleNamespace(check=asked, __ray_ready__=SimpleNamespace(remote=lambda: "ready"))
    made = SimpleNamespace(options=lambda **_: SimpleNamespace(remote=lambda *_: actor))
    monkeypatch.setattr("ray.remote", lambda cls: made)
    monkeypatch.setattr("ray.get", get)
    unchecked = ["one", "other"]
    return SimpleNamespace(hands=RayHands(Resources(), None, unchecked), unchecked=unchecked, answers=answers)


CHECK = "check (['one', 'other'],)"


def test_one_worker_checks_all_encoders_as_it_starts(hands) -> None:
    tickets = [hands.hands.start()[1] for _ in range(3)]
    assert [hands.hands._refs[ticket] for ticket in tickets] == [CHECK, "ready", "ready"]
    hands.hands.result(tickets[1])
    assert hands.unchecked == ["one", "other"]
    hands.hands.result(tickets[0])
    assert hands.unchecked == []
    assert hands.hands._refs[hands.hands.start()[1]] == "ready"


def test_the_worker_after_one_that_died_checks_them(hands) -> None:
    hands.answers[CHECK] = ActorDiedError()
    with pytest.raises(WorkerLost):
        hands.hands.result(hands.hands.start()[1])
    assert hands.unchecked == ["one", "other"]
    assert hands.hands._refs[hands.hands.start()[1]] == CHECK


def test_an_encoder_that_cannot_be_used_ends_the_run_in_its_own_words(hands) -> None:
    wrong = InputError("encoder one: its weights give values that are not finite")
    hands.answers[CHECK] = RayTaskError("check", "a page", wrong)
    with pytest.raises(InputError) as raised:
        hands.hands.result(hands.hands.start()[1])
    assert raised.value is wrong
    assert hands.unchecked == ["one", "other"]


def test_a_worker_holds_the_encoder_that_comes_first() -> None:
    held: list[tuple[str, str]] = []

    def encoder(name: str) -> Any:
        return SimpleNamespace(hold=lambda device: held.append((name, device)))

    worker = ArtefactWorker(Resources(threads=torch.get_num_threads()))
    worker.check([encoder("first"), encoder("second")])
    assert held == [("second", "cpu"), ("first", "cpu")]

    def broken(device: str) -> None:
        raise RuntimeError("CUDA error: an illegal memory access")

    with pytest.raises(GpuLost):
        worker.check([SimpleNamespace(hold=broken)])
