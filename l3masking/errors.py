"""The ways in which a run can be refused, and the check of values from a fixed list.

The exceptions carry one line that names the value, the place and the fix.
"""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable
from typing import Any, get_args

LONG_LIST = 30  # names; longer ones are shown only where nothing is near


class InputError(ValueError):
    """Wrong input: a setting, a space file, a dataset or a text. The command line exits with 2."""


class EnvironmentFault(RuntimeError):
    """Something outside the input is missing: a network, a model, a device. The command line exits with 3."""


class Unavailable(EnvironmentFault):
    """An encoder or a dataset is in no cache here and cannot be fetched."""


class Interrupted(Exception):
    """A training was asked to end before it was finished. That is no failure: it goes on from its last snapshot."""


class DiskFull(OSError):
    """No room is left on a disk. What was written before is whole. The command line exits with 3."""

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}; free some space and run the study again, which continues it"


def disk_full(path: str, needed: int | None, free: int) -> DiskFull:
    """path: what was to be written. needed: bytes for it; None: not known. free: bytes on that disk."""
    wanted = "" if needed is None else f"{needed:,} bytes are needed, "
    return DiskFull(errno.ENOSPC, f"no space left on the disk ({wanted}{free:,} are free)", path)


def nearest(name: str, known: Iterable[str]) -> str:
    """ "nearest: ...; known: ..." for a name that is not among `known`; of a long list only what is near."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close and len(names) > LONG_LIST:
        return f"nearest: {', '.join(close)}"
    return (f"nearest: {', '.join(close)}; " if close else "") + f"known: {', '.join(names)}"


def check_choice(name: str, value: object, choices: Any) -> None:
    """Raise InputError unless `value` is one of `choices`, a Literal or a table of names. `name`: as users know it."""
    known = get_args(choices) or tuple(choices)
    if not isinstance(value, str) or value not in known:
        raise InputError(f"{name} is {value!r}: not a known value; {nearest(str(value), known)}")
