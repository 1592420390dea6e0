"""Which trainings are killed because they hang, and what is said of them. On Ray: test_on_ray.py."""

from __future__ import annotations

from study.work.hangs import Hangs
from study.work.patience import Patience
from study.work.processes import NodeProcess
from study.work.pulse import UnderWay


class Studio:
    """Trainings that a test moves, and a clock."""

    def __init__(self, minutes: float) -> None:
        self.now = 0.0
        self.patience: Patience[str] = Patience(minutes, lambda: self.now)
        self.killed: list[UnderWay] = []
        self.hangs = Hangs(self.patience, self.killed.append)

    def look(self, seconds: float, *works: UnderWay) -> None:
        for _ in range(round(seconds / 10)):
            self.now += 10
            self.hangs.look(works)


def work(who: str, steps: int, stage: str = "training") -> UnderWay:
    return UnderWay(who, f"tiny / words / {who}", None, NodeProcess("node", 7, 0.0), stage, steps, 0.0, False)


def test_a_training_that_makes_no_step_is_killed_once_and_the_reason_is_there_once(caplog) -> None:
    studio = Studio(30)
    for steps in range(10):
        studio.look(60, work("a", 120), work("b", steps))
    assert studio.killed == []
    studio.look(30 * 60, work("a", 120), work("b", 99))
    assert [one.who for one in studio.killed] == ["a"]
    assert studio.hangs.why("b") is None, "it died by itself"
    assert studio.hangs.why("a") == "no progress for 30 min at step 120 of training"
    assert studio.hangs.why("a") is None, "the next death has a reason of its own"
    (record,) = caplog.records
    assert record.getMessage() == (
        "tiny / words / a: no progress for 30 min at step 120 of training; its process is ended"
    )


def test_a_training_that_was_started_again_is_watched_anew() -> None:
    studio = Studio(5)
    studio.look(400, work("a", 3))
    assert len(studio.killed) == 1
    studio.hangs.why("a")
    studio.look(200, work("a", 3))
    assert len(studio.killed) == 1
    studio.look(200, work("a", 3))
    assert len(studio.killed) == 2


def test_before_the_first_step_it_is_said_so() -> None:
    studio = Studio(1)
    studio.look(100, work("a", 0, stage=""))
    assert studio.hangs.why("a") == "no progress for 1 min at its first step"
