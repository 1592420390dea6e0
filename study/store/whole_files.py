"""Whole files or none: canonical JSON, content keys, and writes that no crash can tear.

A file is written under a temporary name in its own folder, synced, and only then given its name; the folder is synced
after that. So a file that can be seen under its final name is complete, whatever was killed and whenever. The sweep of
forgotten temporaries may hit one that is still in use (a worker that outlived its driver): the writer then starts over.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path

from l3masking.errors import EnvironmentFault, InputError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
KEY = re.compile(r"[0-9a-f]{32}")
NO_HARD_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
Place = Path | str  # where a study lies: a folder, or a URL (study.store.remote)
ATTEMPTS = 5  # each repeat needs another run to start its sweep within the same few milliseconds


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


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` under `path`, in place of whatever was there: a reader sees the old file or the new, never a part."""
    _place(path, data, os.replace)


def write_new(path: Path, data: bytes) -> None:
    """Put `data` under `path` if nothing is there yet, else FileExistsError: of two writers the first one wins."""
    try:
        _place(path, data, os.link)
    except OSError as error:
        if error.errno in NO_HARD_LINKS:
            raise EnvironmentFault(
                f"{path.parent}: this file system has no hard links, which records need; choose another folder by --out"
            ) from error
        raise


def sweep(folder: Path) -> None:
    """Remove the temporaries that killed writers left in `folder`."""
    if folder.is_dir():
        for entry in os.scandir(folder):
            if TEMPORARY.fullmatch(entry.name):
                if entry.is_dir(follow_symlinks=False):  # a model that was being saved
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)


def _place(path: Path, data: bytes, give_name: Callable[[Path, Path], None]) -> None:
    _make_folder(path.parent)
    for attempt in range(1, ATTEMPTS + 1):
        temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
        try:
            _write_synced(temporary, data)
            give_name(temporary, path)
            return
        except FileNotFoundError:  # swept away between the two calls
            if attempt == ATTEMPTS or not path.parent.is_dir():
                raise
        finally:
            temporary.unlink(missing_ok=True)
            _sync_folder(path.parent)


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "xb") as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    if not folder.is_dir():
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
