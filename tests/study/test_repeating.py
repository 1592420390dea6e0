"""Work in the background goes on until the body is over, whatever ends it, and its last call is waited for."""

from __future__ import annotations

import threading
import time

import pytest

from study.repeating import repeated


def test_it_is_done_again_and_again_and_not_after_the_body() -> None:
    calls, third = list[str](), threading.Event()

    def work() -> None:
        calls.append(threading.current_thread().name)
        if len(calls) == 3:
            third.set()

    def body() -> None:
        with repeated(work, 0.001, "counts"):
            assert third.wait(10)
            raise KeyError

    with pytest.raises(KeyError):
        body()
    count = len(calls)
    assert {*calls} == {"counts"}
    time.sleep(0.02)
    assert len(calls) == count


def test_the_last_call_is_waited_for_as_long_as_it_may_take() -> None:
    begun, goes_on, done = threading.Event(), threading.Event(), list[bool]()

    def work() -> None:
        begun.set()
        done.append(goes_on.wait(10))

    with repeated(work, 0.001, "slow", join=0.01):
        assert begun.wait(10)
    assert not done, "not longer than `join`"
    goes_on.set()
    begun.clear()
    with repeated(work, 0.001, "slow"):
        assert begun.wait(10)
    assert done[-1]
