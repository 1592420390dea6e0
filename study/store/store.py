"""The records of a study on disk: one checksummed file per trial and objective, written once and never changed.

A record that is present is complete; a trial without one is still to be done. Nothing else (a scheduler's state, the
tracker) decides what is finished. Everything in a record but `run` is deterministic and stands under its checksum, so
two writers of one key must agree: the first one's file stays, and a twin that differs is kept apart and reported.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar, cast

import filelock

from l3masking.errors import DiskFull, EnvironmentFault, InputError
from study.store.hints import read_hint
from study.store.newer import REMEDY
from study.store.record import SCHEMA, Failure, NewRecord, Record
from study.store.seal import (
    APART,
    CHECKSUM,
    DamagedError,
    NewerError,
    checksum,
    parse,
    seal,
    unseal,
    verified,
    with_checksum,
)
from study.store.whole_files import (
    KEY,
    Place,
    canonical,
    check_key,
    content_key,
    file_digest,
    open_plain,
    sweep,
    write_atomic,
    write_new,
)

T = TypeVar("T")
MODELS = "models"  # folder of the kept models
KEPT_WEIGHTS = ("model.safetensors", "classifier.safetensors")  # in each of them
MODEL_FILES = ("config.json", *KEPT_WEIGHTS, "labels.json")

__all__ = ["SCHEMA", "NondeterminismWarning", "QuarantineWarning", "Store", "check_key", "content_key", "write_atomic"]


class QuarantineWarning(UserWarning):
    """A file of the store could not be trusted and was moved to quarantine/."""


class NondeterminismWarning(UserWarning):
    """The same key was computed twice with different results."""


class Store:
    """The folder of one study. Reading creates nothing; writers create the folders that they need.

    Every read verifies. A file that fails is moved to quarantine/ and named in a `QuarantineWarning`, and its trial
    counts as not done. A record of a newer schema is an InputError and stays.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    @property
    def place(self) -> Place:
        """What opens this study again, in any process (study.store.remote.open_store): here its folder."""
        return self.root

    def records(self) -> list[Record]:
        """All records that verify, sorted by key."""
        return [record for key in self._keys("records") if (record := self.read(key)) is not None]

    def read(self, key: str) -> Record | None:
        """The record of `key`, or None if there is none that verifies."""
        return self._load(self._path("records", key), unseal)

    def has(self, key: str) -> bool:
        """Whether the trial and objective of `key` are done."""
        return self.read(key) is not None

    def failure(self, key: str) -> Failure | None:
        """Why `key` failed last, or None."""
        return self._load(self._path("failures", key), _failure)

    def failures(self) -> list[Failure]:
        """What failed and has not succeeded since, sorted by key."""
        keys = [key for key in self._keys("failures") if not self._path("records", key).is_file()]
        return [failure for key in keys if (failure := self._load(self._path("failures", key), _failure)) is not None]

    def commit(self, record: NewRecord) -> None:
        """Add the checksum and write the record, durably when this returns; a failure of the same key is cleared.

        An equal record that is there already is left alone. A different one stays too: the newcomer goes to
        conflicts/ with a `NondeterminismWarning`. ValueError where the record holds a NaN or an infinity.
        """
        key = check_key(record.get("key"))
        if record.get("schema") != SCHEMA:
            raise ValueError(f"record {key}: schema {record.get('schema')!r}, expected {SCHEMA}")
        sealed = seal(record)
        path = self._path("records", key)
        try:
            write_new(path, sealed)
        except FileExistsError:
            present = self.read(key)
            if present is None:  # what was in the way did not verify; the reading has moved it aside
                write_atomic(path, sealed)
            elif present["checksum"] != checksum(record):
                self._keep_conflict(present, record)
        self.clear_failure(key)

    def fail(self, failure: Failure) -> None:
        """Write down why a trial failed, over an earlier failure of it; nothing happens where a record exists.

        Without space for it the trial is as one that has not run, which a warning says.
        """
        key = check_key(failure.get("key"))
        if not self._path("records", key).is_file():
            try:
                write_atomic(self._path("failures", key), canonical(with_checksum(failure)))
            except DiskFull as full:
                warnings.warn(f"a failure was not written down: {full}", stacklevel=2)

    def clear_failure(self, key: str) -> None:
        """Forget that `key` failed, because it is to be tried again or has succeeded."""
        self._path("failures", key).unlink(missing_ok=True)

    def artefact_dir(self, room: str, key: str) -> Path:
        """Where the artefact `key` lies, such as scores/<key>; not created here."""
        return self.root / room / check_key(key)

    def artefact_place(self, room: str, key: str) -> Place:
        """The same as a place, for other processes."""
        return self.artefact_dir(room, key)

    def models(self) -> set[str]:
        """The keys of the records whose model is kept, whole, in models/<key>."""
        return whole_models(path.relative_to(self.root).as_posix() for path in self.root.glob("models/*/*"))

    def has_model(self, key: str) -> bool:
        """Whether the model of the record `key` is kept, whole."""
        folder = self.root / MODELS / check_key(key)
        return all((folder / name).is_file() for name in MODEL_FILES)

    def weights(self, key: str) -> dict[str, str]:
        """File -> BLAKE2b (32 hexadecimal digits) of the kept model of the record `key`."""
        folder = self.root / MODELS / check_key(key)
        return {name: file_digest(folder / name) for name in KEPT_WEIGHTS}

    def discard(self, room: str, key: str) -> None:
        """Remove an artefact that nothing needs any more."""
        shutil.rmtree(self.artefact_dir(room, key), ignore_errors=True)

    def artefacts(self, room: str) -> set[str]:
        """The keys of the artefacts in a room, whole or not."""
        return {path.name for path in (self.root / room).glob("*") if KEY.fullmatch(path.name)}

    def send(self, room: str, key: str) -> None:
        """Let other machines have an artefact as it is here now. In a folder they do already."""

    def pull(self) -> None:
        """Take in what other machines have finished. Nothing to do for a folder, which they write to themselves."""

    def push(self, under: str = "") -> None:
        """Make the files below `under` last that were not written by this class. In a folder they do already."""

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the study for one run and remove what killed writers left; InputError where another run holds it.

        The lock saves double work and nothing more: some network file systems grant it to everybody, and the records
        come out right even then.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = filelock.FileLock(self.root / ".lock", timeout=0)
            lock.acquire()
        except filelock.Timeout:
            raise InputError(
                f"{self.place}: another run works on this study ({self._holder()}); wait for it, or choose another "
                "--out"
            ) from None
        except OSError as error:
            raise EnvironmentFault(
                f"{self.root}: cannot write here ({error.strerror}); choose another --out"
            ) from error
        holder = self.root / ".lock.holder"
        try:
            since = datetime.datetime.now(datetime.UTC).isoformat(" ", timespec="seconds")
            write_atomic(holder, canonical({"host": socket.gethostname(), "pid": os.getpid(), "since": since}))
            for folder in (self.root, *self.root.glob("*/"), *self.root.glob("scores/*/")):
                sweep(folder)
            yield
        finally:
            holder.unlink(missing_ok=True)
            lock.release()

    def _holder(self) -> str:
        said = read_hint(
            self.root / ".lock.holder",
            lambda holder: f"process {holder['pid']} on {holder['host']}, since {holder['since']}",
        )
        return said or "its process is not known yet"

    def _path(self, folder: str, key: str) -> Path:
        return self.root / folder / f"{check_key(key)}.json"

    def _keys(self, folder: str) -> list[str]:
        """The keys of the files in `folder`; a file whose name is none is foreign and moved aside."""
        keys = []
        for path in sorted((self.root / folder).glob("[!.]*.json")):
            try:
                keys.append(check_key(path.stem))
            except InputError:
                self.quarantine(path, "its name is no key")
        return keys

    def _load(self, path: Path, verified: Callable[[bytes, str], T]) -> T | None:
        try:
            return verified(_bytes_of(path), path.stem)
        except FileNotFoundError:
            return None
        except NewerError as newer:
            raise InputError(f"{path}: {newer}: {REMEDY}") from None
        except DamagedError as damage:
            self.quarantine(path, str(damage))
            return None

    def quarantine(self, path: Path, reason: str, so: str = "not used, and to be computed again") -> None:
        """Move a file that cannot be trusted to quarantine/, and say so. so: what it means for the study."""
        folder = self.root / "quarantine"
        target, copies = folder / path.name, 0
        while target.exists() or target.is_symlink():
            copies += 1
            target = folder / f"{path.name}.{copies}"
        try:
            folder.mkdir(exist_ok=True)
            path.rename(target)
            fate = f"moved to {target}"
        except FileNotFoundError:
            return  # another reader was quicker, and has said so
        except OSError as error:
            fate = f"cannot be moved to {folder} ({error.strerror})"
        message = f"{path}: {reason}; {fate}, {so}"
        warnings.warn(message, QuarantineWarning, stacklevel=2)

    def _keep_conflict(self, present: Record, newcomer: NewRecord) -> None:
        key = newcomer["key"]
        path = self.root / "conflicts" / f"{key}.{checksum(newcomer)}.json"
        write_atomic(path, seal(newcomer))
        names = sorted(present.keys() | newcomer.keys())
        differ = [n for n in names if n not in APART and present.get(n) != newcomer.get(n)]
        warnings.warn(
            f"record {key} was computed twice and differs in {', '.join(differ)}; the first stays, the other is {path}",
            NondeterminismWarning,
            stacklevel=3,
        )


def whole_models(names: Iterable[str]) -> set[str]:
    """The keys of the models of which all files are among these names, such as models/<key>/config.json."""
    found: dict[str, set[str]] = {}
    for name in names:
        room, _, rest = name.partition("/")
        key, _, file = rest.partition("/")
        if room == MODELS and KEY.fullmatch(key):
            found.setdefault(key, set()).add(file)
    return {key for key, files in found.items() if files.issuperset(MODEL_FILES)}


def _failure(raw: bytes, key: str) -> Failure:
    found = parse(raw, key)
    if not verified(found):
        raise DamagedError("its checksum does not match its content")
    found.pop(CHECKSUM, None)
    return cast(Failure, found)


def _bytes_of(path: Path) -> bytes:
    try:
        with open(path, "rb", opener=open_plain) as stream:
            return stream.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        if path.is_symlink() or path.is_dir():
            raise DamagedError("not a plain file") from error
        raise EnvironmentFault(f"{path}: cannot be read ({error.strerror})") from error
