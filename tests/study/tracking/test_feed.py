"""The thread that feeds MLflow: how it waits."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from study.tracking.feed import Feed


def test_while_the_store_is_away_the_thread_sleeps_until_the_next_attempt(tmp_path: Path) -> None:
    """A refresh of the cells that is due has to wait for the rest, and must not keep the thread awake."""
    tally = SimpleNamespace(changed=True)
    feed = Feed(tmp_path, "nowhere", lambda: pytest.fail("not asked"), tally, list)  # type: ignore[arg-type]
    feed._retry_at = time.monotonic() + 0.3
    before = time.monotonic()
    assert feed._take(True) == []
    assert time.monotonic() - before >= 0.25
    before = time.monotonic()
    feed._retry_at = before + 60
    assert feed._take(False) == []
    assert time.monotonic() - before < 30, "with nothing left to do, a refresh is due at once"
