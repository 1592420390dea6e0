"""Optuna's journal in the study's folder: one file for all searches, repaired after a crash before it is read.

An interrupted write leaves half a line. Optuna skips it once, but fails on it after the next append. A power cut may
leave NULs, on which Optuna always fails. Nobody else writes the file, because the driver holds the study's lock. Any
prefix of a journal is a valid journal, so the unreadable rest is cut off. The settings in that rest are tried again;
their trainings have records and are not repeated.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from pathlib import Path
from typing import Any

from l3masking.errors import InputError
from study.store.newer import refuse_newer
from study.store.whole_files import write_atomic

JOURNAL_FILE = "optuna.log"
JOURNAL_SCHEMA = 1  # what a study in it without the attribute `schema` has, as all that are written now
FOREIGN = (KeyError, ValueError, TypeError, AttributeError, IndexError, AssertionError)
"""What Optuna raises on lines that are JSON, and not its own or of another version."""


class JournalWarning(UserWarning):
    """A journal could not be read to its end."""


def open_journal(folder: Path) -> Any:
    """The JournalStorage of `folder`/optuna.log. The half line and the lock that a killed writer left are removed.

    A journal with unreadable lines is kept as optuna.log.broken[-i], and a JournalWarning names it. InputError for one
    that a newer program or a newer Optuna has written.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / JOURNAL_FILE
    (folder / f"{JOURNAL_FILE}.lock").unlink(missing_ok=True)
    if path.exists():
        repair(path)
    try:
        storage = _storage(path)
    except (*FOREIGN, optuna.exceptions.OptunaError) as error:
        what = f"Optuna {optuna.__version__} cannot read it ({type(error).__name__})"
        _set_aside(path, f"{what}; a new one is begun")
        path.unlink()
        return _storage(path)
    for study in storage.get_all_studies():
        refuse_newer(path, study.user_attrs.get("schema"), JOURNAL_SCHEMA)
    return storage


def _storage(path: Path) -> Any:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(os.fspath(path)))  # reads the whole file


def repair(path: Path) -> None:
    """Truncate a journal after its last complete line, or before the first line that Optuna did not write.

    InputError where a newer Optuna wrote a line.
    """
    from optuna import __version__
    from optuna.storages.journal._storage import JournalOperation  # what this Optuna can read

    content = path.read_bytes()
    whole = content[: content.rfind(b"\n") + 1]
    good, lines = 0, whole.splitlines(keepends=True)
    for number, line in enumerate(lines, 1):
        operation = _operation(line)
        if operation is not None and operation > max(JournalOperation):
            raise InputError(
                f"{path}: line {number} holds operation {operation}, and Optuna {__version__} reads up to "
                f"{max(JournalOperation):d}: a newer Optuna wrote it; update the package optuna"
            )
        if operation is None:
            _set_aside(path, f"line {number} of {len(lines)} cannot be read; it goes on from the lines before")
            break
        good += len(line)
    if good != len(content):
        write_atomic(path, content[:good])


def _operation(line: bytes) -> int | None:
    """Optuna's number of what the line does, or None if it is no line of Optuna's."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    number = value.get("op_code") if isinstance(value, dict) and "worker_id" in value else None
    return number if isinstance(number, int) else None


def _set_aside(path: Path, what: str) -> None:
    """Keep a copy of a damaged journal, and warn of it."""
    target, copies = path.with_name(f"{path.name}.broken"), 0
    while target.exists():
        copies += 1
        target = path.with_name(f"{path.name}.broken-{copies}")
    shutil.copyfile(path, target)
    text = f"{path}: {what}. It is kept as {target.name}; settings are tried again, trainings with a record are not"
    warnings.warn(text, JournalWarning, stacklevel=3)
