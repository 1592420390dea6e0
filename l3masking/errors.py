"""The ways in which a run can be refused, and the check of values from a fixed list.

The exceptions carry one line that names the value, the place and the fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any, get_args

LONG_LIST = 30  # names; longer ones are shown only where nothing is near


class InputError(ValueError):
    """Wrong input: a setting, a space file, a dataset or a text. The command line exits with 2."""


class EnvironmentFault(RuntimeError):
    """Something outside the input is missing: a network, a model, a device. The command line exits with 3."""


class Unavailable(EnvironmentFault):
    """An encoder or a dataset is in no cache here and cannot be fetched."""


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
