"""What is said of the workers that make artefacts."""

from __future__ import annotations

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayError

from study.work.processes import LOW_MEMORY, RAN_LOW
from study.work.workers import _lost

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
