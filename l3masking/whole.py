"""Whole files and folders or none: the one place that writes under a temporary name and then gives the name.

A file is written beside its place, synced, and only then given its name; the folder is synced after that. So a file
that can be seen under its final name is complete, whatever was killed and whenever. `sweep` removes what killed
writers left. It may hit a temporary file that is still in use; the writer then starts over.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from l3masking.errors import DiskFull, disk_full

FULL_ERRNOS = (errno.ENOSPC, errno.EDQUOT)
NO_SPACE = os.strerror(errno.ENOSPC)
TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{32}\.tmp")
ATTEMPTS = 5  # each repeat needs another sweep to start within the same few milliseconds


def temporary_name(name: str) -> str:
    """A hidden name that no other process uses and that `sweep` knows."""
    return f".{name}.{uuid.uuid4().hex}.tmp"


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`, over whatever was there: a reader sees the old file or the new one, never a part."""
    _write(path, data, os.replace, 0o666)


def write_new(path: Path, data: bytes, *, mode: int = 0o666) -> None:
    """Write `data` to `path` if nothing is there yet, else FileExistsError: of two writers the first one wins.

    mode: permissions of the file, less the process's umask. OSError on a file system without hard links.
    """
    _write(path, data, os.link, mode)


@contextmanager
def made_whole(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """A temporary place for a file or folder that the body makes; it gets the name `path` if the body raises nothing.

    For what is made by other libraries. durable: it is synced, as by the functions above; else a power cut may take it.
    """
    temporary = path.with_name(temporary_name(path.name))
    with in_words(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            for inside in [temporary, *temporary.rglob("*")] if durable else []:
                _sync(inside)
            os.replace(temporary, path)
            if durable:
                _sync(path.parent)
        finally:
            _remove(temporary)


@contextmanager
def in_words(path: Path, needed: int | None = None) -> Iterator[None]:
    """Let an error of the system name the file that is written, and on a full disk what is free (`needed`: bytes)."""
    try:
        yield
    except DiskFull:
        raise
    except Exception as error:  # safetensors and torch have errors of their own
        number = error.errno if isinstance(error, OSError) else _number_of(error)
        if number in FULL_ERRNOS or NO_SPACE in str(error):
            raise disk_full(str(path), needed, free_space(path)) from error
        if number is None or getattr(error, "filename", None) is not None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error


def _number_of(error: Exception) -> int | None:
    """The number of the system's error in a message of a library in Rust, such as safetensors."""
    found = re.search(r"\(os error (\d+)\)", str(error))
    return int(found[1]) if found else None


def free_space(path: Path) -> int:
    """Bytes that are free on the disk of `path`, which need not exist yet; no limit where a disk does not tell."""
    there = next(folder for folder in (path.absolute(), *path.absolute().parents) if folder.exists())
    usage = shutil.disk_usage(there)
    return usage.free if usage.total else sys.maxsize


def sweep(folder: Path, name: str | None = None) -> None:
    """Remove the temporary files and folders that killed writers left in `folder`.

    name: only those of this file or folder, with what a library put beside them under a longer name.
    """
    if not folder.is_dir():
        return
    for entry in os.scandir(folder):
        found = TEMPORARY.fullmatch(entry.name) if name is None else TEMPORARY.match(entry.name)
        if found and name in (None, found[1]):
            _remove(Path(entry.path))


def _write(path: Path, data: bytes, give_name: Callable[[Path, Path], None], mode: int) -> None:
    with in_words(path, len(data)):
        _make_folder(path.parent)
        for attempt in range(1, ATTEMPTS + 1):
            temporary = path.with_name(temporary_name(path.name))
            try:
                _write_synced(temporary, data, mode)
                give_name(temporary, path)
                return
            except FileNotFoundError:  # swept away between the two calls
                if attempt == ATTEMPTS or not path.parent.is_dir():
                    raise
            finally:
                temporary.unlink(missing_ok=True)
                _sync(path.parent)


def _write_synced(path: Path, data: bytes, mode: int) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as stream:
        stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())


def _make_folder(folder: Path) -> None:
    if not folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        _sync(folder.parent)


def _sync(path: Path) -> None:
    """A file or a folder, where it is there."""
    if not path.exists():
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
