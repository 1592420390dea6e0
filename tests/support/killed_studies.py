"""A run of a study that tells, line by line, which trainings it has started and which records it has written."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any
from unittest import mock

from small_study import NoMirror, command


def whole_run(folder: Path) -> None:
    """`l3study run` in this process, to its end."""
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", folder / "small.yaml", "--out", folder / "out")
    assert said.code == 0, said.err


def told_run(folder: Path) -> None:
    """The same, with its lines in `folder`/told: a kill leaves those that were written. Ends the process."""
    from study import schedule
    from study.store.store import Store

    lines = os.open(folder / "told", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    commit, execute = Store.commit, schedule.execute

    def committed(store: Store, record: Any) -> None:
        commit(store, record)
        os.write(lines, f"committed {record['key']}\n".encode())

    def started(assignment: Any, *given: Any) -> str | None:
        os.write(lines, f"started {assignment.trial.trajectory}\n".encode())
        return execute(assignment, *given)

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
