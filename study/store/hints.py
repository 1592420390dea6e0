"""JSON files of a study that help and decide nothing, such as progress.json: a damaged or foreign one is as none."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from study.store.seal import verified
from study.store.whole_files import open_plain

T = TypeVar("T")


def read_hint(path: Path, make: Callable[[Any], T]) -> T | None:
    """What `make` reads from the JSON object in a file. Returns None if `make` raises, or there is no such file.

    Where the object has a checksum (`with_checksum`), it is verified.
    """
    try:
        with open(path, "rb", opener=open_plain) as stream:
            value = json.loads(stream.read())
        return make(value) if verified(value) else None
    except (OSError, ValueError, TypeError, LookupError, AttributeError, OverflowError, RecursionError):
        return None
