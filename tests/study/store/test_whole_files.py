"""Writes that nothing can tear: killed writers, the order of calls, calls that fail, sweeps in between."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from small_records import KEY, OTHER, record

import study.store.whole_files
from study.store.store import Store, write_atomic


def test_call_order_write_fsync_link_fsync_folder(tmp_path, monkeypatch):
    store = Store(tmp_path)
    store.commit(record(OTHER))  # the folder exists from here on
    calls = []
    fsync, link, unlink = os.fsync, os.link, Path.unlink

    def spy_fsync(descriptor):
        status = os.fstat(descriptor)
        calls.append("fsync folder" if stat.S_ISDIR(status.st_mode) else f"fsync {status.st_size > 200}")
        fsync(descriptor)

    def spy_link(source, target):
        calls.append(f"link {len(Path(source).read_bytes()) > 200}")
        link(source, target)

    def spy_unlink(path, missing_ok=False):
        if path.suffix == ".tmp":
            calls.append("unlink")
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(os, "link", spy_link)
    monkeypatch.setattr(Path, "unlink", spy_unlink)
    store.commit(record())
    assert calls == ["fsync True", "link True", "unlink", "fsync folder"]


@pytest.mark.parametrize("call", ["fsync", "link", "replace"])
def test_a_call_that_fails_leaves_nothing_behind(tmp_path, monkeypatch, call):
    def refuse(*_args):
        raise OSError(28, "No space left on device")

    store = Store(tmp_path)
    write_atomic(tmp_path / "records" / "note", b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, call, refuse)
        if call != "replace":
            with pytest.raises(OSError, match="No space"):
                store.commit(record())
        if call != "link":
            with pytest.raises(OSError, match="No space"):
                write_atomic(tmp_path / "records" / "note", b"new")
    assert (tmp_path / "records" / "note").read_bytes() == b"old"
    assert [p.name for p in (tmp_path / "records").iterdir()] == ["note"]
    store.commit(record())
    assert store.has(KEY)


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


HARNESS = textwrap.dedent(
    """
    import json, os, random, signal, sys, time
    from pathlib import Path
    from study.store.store import Store, content_key

    root, kind, kills = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    rng, store = random.Random(5), Store(root)
    (root / "records").mkdir(parents=True)
    payload = "x" * 500_000

    def write_for_ever(start, pipe):
        number = start
        while True:
            key = content_key(number)
            made = {"schema": 1, "key": key, "payload": payload, "run": {}}
            if kind == "commit":
                store.commit(made)
            else:
                with open(root / "records" / (key + ".json"), "w", buffering=4096) as stream:
                    stream.writelines(json.dumps(made))
            os.write(pipe, (key + "\\n").encode())
            number += 1

    acknowledged, torn, present = [], 0, set()
    for kill in range(kills):
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reader)
            write_for_ever(1000 * kill, writer)
        os.close(writer)
        with os.fdopen(reader) as stream:
            acknowledged.append(stream.readline().strip())  # so a slow disk makes no empty test
            time.sleep(rng.uniform(0, 0.05))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            acknowledged += stream.read().split()
    for path in (root / "records").glob("[!.]*.json"):
        try:
            whole = json.loads(path.read_text())["payload"] == payload
        except ValueError:
            whole = False
        torn += not whole
        present |= {path.stem} if whole else set()
    print(json.dumps({"acknowledged": len(acknowledged), "lost": len(set(acknowledged) - present), "torn": torn,
                      "twice": len(acknowledged) - len(set(acknowledged)),
                      "verified": len(store.records()) if kind == "commit" else None, "present": len(present)}))
    """
)


def kill_writers(root: Path, kind: str, kills: int) -> dict:
    command = [sys.executable, "-c", HARNESS, str(root), kind, str(kills)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout)


def test_killed_writers_lose_and_tear_nothing(tmp_path):
    seen = kill_writers(tmp_path / "study", "commit", kills=40)
    assert seen["acknowledged"] >= 40, seen
    assert (seen["lost"], seen["torn"], seen["twice"]) == (0, 0, 0), seen
    assert seen["verified"] == seen["present"] >= seen["acknowledged"], seen


def test_the_kill_harness_sees_torn_files(tmp_path):
    assert kill_writers(tmp_path / "study", "plain", kills=15)["torn"] > 0


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
