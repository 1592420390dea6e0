"""Optuna's journal in the study's folder: one file for all searches, mended after a crash before it is read.

A write that was cut off leaves half a line, which Optuna reads past once and never again after the next append. Nobody
else writes the file: the driver holds the study's lock.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from study.store.whole_files import write_atomic

FILE = "optuna.log"


def open_journal(folder: Path) -> Any:
    """The JournalStorage of `folder`/optuna.log. What a killed writer left (half a line, its lock) is taken away."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / FILE
    (folder / f"{FILE}.lock").unlink(missing_ok=True)
    if path.exists():
        mend(path)
    return JournalStorage(JournalFileBackend(os.fspath(path)))


def mend(path: Path) -> None:
    """Cut what stands behind the last whole line of a journal; the trials it spoke of are run again."""
    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        write_atomic(path, whole)
