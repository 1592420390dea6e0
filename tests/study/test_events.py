"""What the driver says of a training that has ended."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from study.events import GridTeller


class Hears:
    """Stands in for the reporter, the mirror and the progress."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, line: str) -> None:
        self.said.append(line)

    def step(self, *_: Any) -> None: ...

    def add(self, *_: Any) -> None: ...

    def ended(self, *_: Any) -> None: ...


@pytest.mark.parametrize(
    ("run", "more", "expected"),
    [
        ({}, {}, "(7 s)"),
        ({"micro_batch": 16}, {}, "(7 s; memory held 16 texts at a time)"),
        ({}, {"retried_in_float32": "not finite"}, "(7 s; in float32, as it diverged under bf16)"),
    ],
)
def test_a_training_that_had_short_memory_or_diverged_says_so_in_its_line(run: Any, more: Any, expected: str) -> None:
    record = {"objective": "accuracy", "test": {"accuracy": 0.5}, "run": {"seconds": 7.0, **run}, **more}
    trial = SimpleNamespace(name="bert / arc / rtm / seed 3", keys={"accuracy": "k"})
    hears = Hears()
    teller: Any = GridTeller(SimpleNamespace(read=lambda _: record), hears, hears, hears, 1)  # type: ignore[arg-type]
    teller.ended(SimpleNamespace(trial=trial, resources=SimpleNamespace(save_models=False)), None)
    assert hears.said == [f"done   bert / arc / rtm / seed 3: test accuracy 50.0 % {expected}"]
