"""Canonical JSON, content keys, and files that are written whole (l3masking.whole says how)."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
from pathlib import Path

from l3masking import whole
from l3masking.errors import EnvironmentFault, InputError
from l3masking.whole import sweep, write_atomic

__all__ = [
    "KEY",
    "Place",
    "canonical",
    "check_key",
    "content_key",
    "file_digest",
    "open_plain",
    "sweep",
    "write_atomic",
    "write_new",
]

KEY = re.compile(r"[0-9a-f]{32}")
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
Place = Path | str  # where a study lies: a folder, or a URL (study.store.remote)


def canonical(value: object) -> bytes:
    """The one JSON text of `value`: keys sorted, no blanks, ASCII. A NaN or an infinity is a ValueError."""
    return json.dumps(value, sort_keys=True, allow_nan=False, separators=(",", ":")).encode("ascii")


def content_key(value: object) -> str:
    """32 hexadecimal digits that name `value`: BLAKE2b (16 bytes) of its canonical JSON; equal values, equal keys."""
    return hashlib.blake2b(canonical(value), digest_size=16).hexdigest()


def check_key(key: object) -> str:
    """`key` itself where it is 32 lower-case hexadecimal digits; only such keys ever become file names."""
    if not isinstance(key, str) or not KEY.fullmatch(key):
        raise InputError(f"key {key!r}: expected 32 hexadecimal digits, as the names of the files in records/ have")
    return key


def open_plain(path: str, flags: int) -> int:
    """For `open`: a link, which may lead out of the study, is an OSError, and a pipe does not wait for its writer."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def file_digest(path: Path) -> str:
    """BLAKE2b (32 hexadecimal digits) of a file, which is read in parts."""
    with open(path, "rb", opener=open_plain) as stream:
        return hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def write_new(path: Path, data: bytes) -> None:
    """Put `data` under `path` if nothing is there yet, else FileExistsError: of two writers the first one wins."""
    try:
        whole.write_new(path, data)
    except OSError as error:
        if error.errno in NO_HARD_LINKS:
            raise EnvironmentFault(
                f"{path.parent}: this file system has no hard links, which records need; choose another folder by --out"
            ) from error
        raise
