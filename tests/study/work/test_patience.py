"""Who hangs: only who has said nothing new for the patience, and for 20 times the usual time of a step."""

from __future__ import annotations

import pytest

from study.work.patience import LOOK, Patience, Sign


class Clock:
    """Seconds that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Watched:
    """A patience of some minutes, and looks at workers a quarter of a minute apart at most."""

    def __init__(self, minutes: float | None) -> None:
        self.clock = Clock()
        self.patience: Patience[str] = Patience(minutes, self.clock)

    def look(self, seconds: float, **signs: int) -> dict[str, str]:
        """`seconds` later, looking on the way: workers and the number of their steps."""
        found: dict[str, str] = {}
        told = {who: Sign(steps, f"update {steps} of the main stage") for who, steps in signs.items()}
        end = self.clock.now + seconds
        while self.clock.now < end and not found:
            self.clock.now = min(end, self.clock.now + self.patience.look_every)
            found = self.patience.hung(told)
        return found


def test_who_says_nothing_new_for_the_patience_hangs() -> None:
    watched = Watched(30)
    assert watched.look(60, a=1, b=1) == {}
    assert watched.look(29 * 60, a=1, b=2) == {}
    assert watched.look(2 * 60, a=1, b=3) == {"a": "no progress for 30 min at update 1 of the main stage"}
    assert watched.look(29 * 60, b=3) == {}, "who is not at work is not waited for"
    assert watched.look(29 * 60, a=1, b=4) == {}, "a worker that is at work again begins anew"


def test_a_hang_is_noticed_within_half_a_minute() -> None:
    watched = Watched(1)
    watched.look(10, a=1)
    begun = watched.clock.now
    assert watched.look(1000, a=1) == {"a": "no progress for 1 min at update 1 of the main stage"}
    assert 60 < watched.clock.now - begun <= 60 + 30


def test_slow_steps_lengthen_the_patience_and_quick_ones_do_not_shorten_it() -> None:
    slow, quick = Watched(1), Watched(1)
    for steps in range(1, 5):
        assert slow.look(50, a=steps) == {}
    assert slow.look(900, a=4) == {}, "20 times 50 seconds"
    assert slow.look(200, a=4)
    for steps in range(1, 500, 50):
        assert quick.look(10, a=steps) == {}
    assert quick.look(59, a=500) == {}
    assert quick.look(20, a=500)


def test_another_thing_to_do_is_progress_too() -> None:
    watched = Watched(1)
    for shard in range(10):
        for _ in range(4):
            watched.clock.now += 10
            assert watched.patience.hung({"a": Sign(3, f"shard {shard}")}) == {}


def test_a_machine_that_slept_is_no_hang() -> None:
    watched = Watched(30)
    assert watched.look(60, a=1) == {}
    watched.clock.now += 86400
    assert watched.patience.hung({"a": Sign(1, "there")}) == {}


def test_without_patience_nobody_hangs() -> None:
    watched = Watched(None)
    assert watched.patience.look_every == LOOK
    watched.clock.now += 10 * LOOK
    assert not watched.patience.due()
    assert watched.look(1e5, a=1) == {}


@pytest.mark.parametrize(("minutes", "every"), [(30.0, LOOK), (0.1, 1.5)])
def test_it_is_looked_often_enough(minutes: float, every: float) -> None:
    watched = Watched(minutes)
    assert watched.patience.look_every == every
    assert not watched.patience.due()
    watched.clock.now += every
    assert watched.patience.due()
    watched.look(1, a=1)
    assert not watched.patience.due()
