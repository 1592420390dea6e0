"""A run of a study that tells which trainings it has started, what they took, and which records it has written."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from small_study import NoMirror, command


def whole_run(folder: Path) -> None:
    """`l3study run` in this process, to its end."""
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", folder / "small.yaml", "--out", folder / "out")
    assert said.code == 0, said.err


class Spent(NamedTuple):
    """What trainings took, without what their runs did before and after them."""

    seconds: float
    cpu: float  # seconds of CPU time


def spent(folder: Path) -> Spent:
    """Of all trainings of a study, those that a kill cut off included."""
    took = [[float(part) for part in line.split()] for line in (folder / "spent").read_text().splitlines()]
    return Spent(sum(end - begin for begin, _, end, _ in took), sum(end - begin for _, begin, _, end in took))


def cut_off(folder: Path, cpu: float) -> None:
    """The last run was killed now, after so many seconds of CPU time: its training ended with it."""
    path = folder / "spent"
    if path.exists() and not path.read_text().endswith("\n"):
        with path.open("a") as stream:
            stream.write(f"{time.monotonic()} {cpu}\n")


def told_run(folder: Path) -> None:
    """The same, with its lines in `folder`/told: a kill leaves those that were written. Ends the process.

    `folder`/spent holds a line for each training: monotonic seconds and seconds of CPU time at its begin and its end.
    """
    from study import schedule
    from study.store.store import Store

    lines, times = (os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT) for name in ("told", "spent"))
    commit, execute = Store.commit, schedule.execute

    def committed(store: Store, record: Any) -> None:
        commit(store, record)
        os.write(lines, f"committed {record['key']}\n".encode())

    def started(assignment: Any, *given: Any) -> str | None:
        os.write(lines, f"started {assignment.trial.trajectory}\n".encode())
        os.write(times, f"{time.monotonic()} {time.process_time()} ".encode())
        try:
            return execute(assignment, *given)
        finally:
            os.write(times, f"{time.monotonic()} {time.process_time()}\n".encode())

    with (
        mock.patch("study.run.Mirror", NoMirror),
        mock.patch.object(Store, "commit", committed),
        mock.patch.object(schedule, "execute", started),
    ):
        os.write(lines, b"begun\n")
        said = command("run", folder / "small.yaml", "--out", folder / "out")
    for number in (signal.SIGTERM, signal.SIGINT):  # too late to matter
        signal.signal(number, signal.SIG_IGN)
    (folder / "said").write_text(said.out + said.err)
    os._exit(said.code)
