"""progress.json: written by the driver now and then, believed only while the driver lives."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from plans import KNOWN, space

from study.plan.grid import make_plan
from study.status.console import PlainReporter, followed
from study.status.progress import PROGRESS_BEAT, PROGRESS_FILE, SILENT, Counts, Progress, born, exists, read_view

TRIALS = make_plan(space(seeds=3, methods=["stl", "rtm"]), KNOWN)
STL, RTM = TRIALS[0].cell, TRIALS[1].cell


def eventually(true) -> None:
    """`true()` becomes so within a few seconds."""
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_what_happens_is_counted_by_cell(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    done = set(TRIALS[0].keys.values())
    progress.expect(TRIALS, done)
    assert progress.counts() == {STL: Counts(1, 0, 0, 2), RTM: Counts(0, 0, 0, 3)}
    progress.started(TRIALS[1])
    progress.started(TRIALS[2])
    assert progress.counts() == {STL: Counts(1, 1, 0, 1), RTM: Counts(0, 1, 0, 2)}
    progress.ended(TRIALS[1], None)
    progress.ended(TRIALS[2], "it broke")
    assert progress.counts() == {STL: Counts(1, 0, 1, 1), RTM: Counts(1, 0, 0, 2)}
    progress.started(TRIALS[2])
    assert progress.counts()[STL] == Counts(1, 1, 0, 1), "a failed one that is tried again is running"
    progress.ended(TRIALS[2], None)
    progress.close("finished")
    view = read_view(tmp_path)
    assert view is not None
    assert (view.state, view.done, view.failed, view.left, view.most) == ("finished", 3, 0, 3, 2)
    assert view.running == ()
    assert not view.alive()


def test_later_expectations_replace_the_first(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    progress.expect(TRIALS, ())
    progress.ended(TRIALS[0], None)
    progress.expect(TRIALS[::2], ())
    assert progress.counts() == {STL: Counts(1, 0, 0, 2)}
    progress.close("finished")


def test_half_a_trial_is_not_done(tmp_path: Path) -> None:
    progress = Progress(tmp_path)
    progress.expect(TRIALS[:1], {TRIALS[0].keys["accuracy"]})
    assert progress.counts() == {STL: Counts(0, 0, 0, 1)}
    progress.close("finished")


def test_the_file_tells_of_what_runs_while_the_driver_lives(tmp_path: Path) -> None:
    now = [1000.0]
    progress = Progress(tmp_path, every=0.01, clock=lambda: now[0])
    progress.expect(TRIALS, ())
    now[0] = 1060.0
    progress.started(TRIALS[3])
    progress.stage("trainings", 1, 6)
    eventually(lambda: (view := read_view(tmp_path)) and view.stage)
    view = read_view(tmp_path)
    assert view is not None
    (running,) = view.running
    assert (running.key, running.cell, running.seed) == (TRIALS[3].trajectory, TRIALS[3].cell, 1)
    assert (running.since, view.started, view.updated) == (1060.0, 1000.0, 1060.0)
    assert view.stage == {"name": "trainings", "done": 1, "total": 6}
    assert (view.pid, view.host, view.state) == (os.getpid(), socket.gethostname(), "running")
    assert view.alive()
    progress.close("stopped")
    progress.close("again")
    assert read_view(tmp_path).state == "stopped"


def test_many_events_make_few_writes(tmp_path: Path, monkeypatch) -> None:
    writes = []
    monkeypatch.setattr("study.status.progress.write_atomic", lambda path, data: writes.append(data))
    progress = Progress(tmp_path, every=0.2)
    started = time.monotonic()
    for count in range(3000):
        progress.stage("trainings", count, 3000)
        time.sleep(0.0002)
    progress.close("finished")
    spent = time.monotonic() - started
    assert 2 <= len(writes) <= spent / 0.2 + 3
    assert json.loads(writes[-1])["stage"]["done"] == 2999, "the last update holds the last event"


def test_a_quiet_driver_gives_a_sign_of_life(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("study.status.progress.PROGRESS_BEAT", 0.05)
    progress = Progress(tmp_path, every=0.01)
    eventually(lambda: read_view(tmp_path) is not None)
    first = read_view(tmp_path).updated
    eventually(lambda: read_view(tmp_path).updated > first)
    progress.close("finished")
    assert PROGRESS_BEAT * 3 < SILENT, "some of them may be late"


@pytest.mark.parametrize(("end", "state"), [(KeyboardInterrupt, "stopped"), (OSError, "ended by an error")])
def test_the_last_word_is_how_it_ended_unless_another_was_said(
    end: type[BaseException], state: str, tmp_path: Path, capsys
) -> None:
    reporter = PlainReporter()

    def ended() -> None:
        with followed(tmp_path, reporter):
            reporter.step("trainings", 1, 2)
            raise end

    with pytest.raises(end):
        ended()
    assert read_view(tmp_path).state == state
    assert read_view(tmp_path).stage == {"name": "trainings", "done": 1, "total": 2}, "told by the reporter"
    with followed(tmp_path, reporter) as progress:
        progress.close("finished")
    assert read_view(tmp_path).state == "finished"


def test_no_thread_is_left_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    progress = Progress(tmp_path)
    assert threading.active_count() == before + 1
    progress.close("finished")
    assert threading.active_count() == before


def test_a_full_disk_stops_nothing(tmp_path: Path, monkeypatch, caplog) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("study.status.progress.write_atomic", full)
    progress = Progress(tmp_path, every=0.01)
    progress.expect(TRIALS, ())
    progress.started(TRIALS[0])
    progress.close("finished")
    assert "No space left on device" in caplog.text
    assert read_view(tmp_path) is None


def dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


@pytest.fixture
def left_behind(tmp_path: Path) -> dict:
    """The file of a driver that was killed at its work."""
    progress = Progress(tmp_path)
    progress.expect(TRIALS, ())
    progress.started(TRIALS[0])
    progress.close("running")
    return json.loads((tmp_path / PROGRESS_FILE).read_text())


def rewritten(root: Path, value: dict, **changes: object) -> None:
    (root / PROGRESS_FILE).write_text(json.dumps(value | changes))


def test_a_dead_drivers_file_is_not_believed(tmp_path: Path, left_behind: dict) -> None:
    rewritten(tmp_path, left_behind)
    assert read_view(tmp_path).alive(), "this very process wrote it"
    rewritten(tmp_path, left_behind, pid=dead_process())
    assert not read_view(tmp_path).alive()
    rewritten(tmp_path, left_behind, born="1")
    assert not read_view(tmp_path).alive(), "another process has its number now"
    rewritten(tmp_path, left_behind, born=None)
    assert read_view(tmp_path).alive(), "a machine that does not tell when a process began"


def test_a_driver_elsewhere_is_believed_for_a_while(tmp_path: Path, left_behind: dict) -> None:
    rewritten(tmp_path, left_behind, host="elsewhere", pid=dead_process(), updated=1000.0)
    view = read_view(tmp_path)
    assert view.alive(1000.0 + SILENT - 1)
    assert not view.alive(1000.0 + SILENT + 1)


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "running": 3}'])
def test_a_file_that_cannot_be_read_says_nothing(tmp_path: Path, text: str) -> None:
    assert read_view(tmp_path) is None
    (tmp_path / PROGRESS_FILE).write_text(text)
    assert read_view(tmp_path) is None


def test_processes_and_their_births() -> None:
    assert exists(os.getpid())
    assert exists(1)
    assert not exists(dead_process())
    assert born(os.getpid()) == born(os.getpid())
    assert born(dead_process()) is None
    if Path("/proc/self/stat").exists():
        process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
        try:
            assert int(born(process.pid)) >= int(born(os.getpid()))
            process.stdin.close()
            eventually(lambda: not exists(process.pid))  # it has ended, and nobody has asked for its exit code
            os.kill(process.pid, 0)
        finally:
            process.wait()
