"""Writes that nothing can tear: killed writers, and sweeps in between. Calls that fail: test_failing_calls.py."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from small_records import KEY, OTHER, record

import study.store.whole_files
from study.store.store import Store

WRITERS = Path(__file__).resolve().parents[2] / "support" / "killed_writers.py"


def test_a_sweep_in_between_costs_one_more_try(tmp_path, monkeypatch):
    link, tries = os.link, []

    def swept_once(source, target):
        tries.append(source)
        if len(tries) == 1:
            study.store.whole_files.sweep(Path(source).parent)
        link(source, target)

    monkeypatch.setattr(os, "link", swept_once)
    store = Store(tmp_path)
    store.commit(record())
    assert len(tries) == 2
    assert store.has(KEY)


def test_opening_for_writing_sweeps_what_killed_writers_left(tmp_path):
    store = Store(tmp_path)
    store.commit(record())
    stale = [
        tmp_path / "records" / f".{OTHER}.json.{'0' * 32}.tmp",
        tmp_path / "scores" / KEY / f".part.parquet.{'a' * 32}.tmp",
    ]
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("half")
    model = tmp_path / "models" / f".{OTHER}.{'b' * 32}.tmp"  # of a saving that was killed
    model.mkdir(parents=True)
    (model / "config.json").write_text("{}")
    stale.append(model)
    (tmp_path / "records" / ".mine.tmp").write_text("not of ours")
    assert [r["key"] for r in store.records()] == [KEY], "a temporary is never read"
    with store.lock():
        pass
    assert not any(path.exists() for path in stale)
    assert (tmp_path / "records" / ".mine.tmp").exists()
    assert store.has(KEY)


def killed_writers(root: Path, kind: str, kills: int) -> dict[str, Any]:
    """What killed_writers.py counts."""
    command = [sys.executable, "-W", "ignore", WRITERS, str(root), kind, str(kills)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=580).stdout)


# long: 100 kills show each sort of file in each of the two ways of writing
@pytest.mark.parametrize("kills", [100, pytest.param(1000, marks=pytest.mark.long)])
def test_killed_writers_lose_tear_and_repeat_nothing(tmp_path: Path, kills: int) -> None:
    seen = killed_writers(tmp_path / "study", "store", kills)
    assert min(seen.pop("told").values()) >= kills // 4, seen
    assert seen == {"lost": 0, "torn": 0, "twice": 0, "temporary": 0}


def test_the_kill_harness_sees_torn_files(tmp_path: Path) -> None:
    assert killed_writers(tmp_path / "study", "plain", kills=20)["torn"] > 0


def test_two_processes_commit_the_same_keys(tmp_path):
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from study.store.store import Store, content_key
        for number in range(150):
            Store(Path(sys.argv[1])).commit(
                {"schema": 1, "key": content_key(number), "value": number, "run": {"host": sys.argv[2]}})
        """
    )
    command = [sys.executable, "-W", "error", "-c", program, str(tmp_path)]
    writers = [subprocess.Popen([*command, name]) for name in ("a", "b")]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    assert sorted(r["value"] for r in Store(tmp_path).records()) == list(range(150))
    assert not (tmp_path / "conflicts").exists()
