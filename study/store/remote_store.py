"""A study that is kept at a URL and worked on in a copy on this machine.

The URL is what lasts; every process that works on the study has a copy of the parts it needs, and so no two machines
need to share a folder. A record, a failure and a part of the scores are put at the URL by the process that made them,
before the trial counts as done; tables, figures and the MLflow database follow at the end of a run.

What somebody else has put at the URL wins over the copy. What is in the copy alone, or was changed here since it was
last equal (a run was killed, or could not reach the URL), is put there by the next run on this machine. A file that
had been put there and is gone was removed there on purpose: the copy of it is moved aside.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

from l3masking.errors import EnvironmentFault, InputError
from study.store.lease import lease
from study.store.newer import REMEDY
from study.store.record import Failure, NewRecord, Record
from study.store.remote import Remote, copy_of
from study.store.seal import DamagedError, NewerError, unseal
from study.store.store import MODELS, Store, whole_models
from study.store.whole_files import check_key, write_atomic

# written once and named by key or content, so that what is there already need not be fetched again
ONCE = re.compile(r"(.*/)?(records|conflicts|models)/.+|(.*/)?scores/.+\.parquet")
RECORD = re.compile(r"(?:(?P<part>.*)/)?records/(?P<key>[0-9a-f]{32})\.json")  # of the study, or of a search in it
RESULTS = re.compile(r"(.*/)?(records|failures|conflicts)/[^/]+")  # what other machines finish while a run goes on
ON_DEMAND = re.compile(r"(.*/)?(scores/.+\.parquet|models/.+|checkpoints/.+)")  # large; fetched where they are needed
# of one machine alone, hidden, or put there by `send`
NEVER = re.compile(r"(.*/)?(\.|quarantine/|checkpoints/).*|.+\.(lock|db-journal|db-wal|db-shm)")
HALF = ("-journal", "-wal", "-shm")  # behind the name of an SQLite file: what its next reader takes back or adds
PUT = ".put"  # what copy and URL had in common last: "<digest> <name>" per line, later lines over earlier ones
GONE = ".gone"  # copies of what was removed there


class RemoteStore(Store):
    """As a Store, for a study at a URL. EnvironmentFault where the URL cannot be read or written."""

    def __init__(self, url: str) -> None:
        super().__init__(copy_of(url))
        self.remote = Remote(url)
        # name -> size and time of the copy when it was last as at the URL
        self._equal = dict[str, tuple[int, int] | None]()

    @property
    def place(self) -> str:
        """The URL."""
        return self.remote.url

    def artefact_place(self, room: str, key: str) -> str:
        """URL of the artefact `key`."""
        return f"{self.place}/{room}/{check_key(key)}"

    def read(self, key: str) -> Record | None:
        """As Store.read; a record that the copy lacks is asked for at the URL."""
        found = super().read(key)
        return super().read(key) if found is None and self._fetch_record(key) else found

    def failure(self, key: str) -> Failure | None:
        """As Store.failure; the URL is asked first."""
        if (content := self.remote.read(f"failures/{check_key(key)}.json")) is not None:
            write_atomic(self._path("failures", key), content)
        return super().failure(key)

    def commit(self, record: NewRecord) -> None:
        """As Store.commit; durable at the URL when this returns. A record that is there already came first."""
        key = check_key(record.get("key"))
        there = self._fetch_record(key)
        super().commit(record)
        if not there:
            self._put(f"records/{key}.json")

    def fail(self, failure: Failure) -> None:
        """As Store.fail, at the URL as well."""
        key = check_key(failure.get("key"))
        if not self._fetch_record(key):
            super().fail(failure)
            self.push(f"failures/{key}.json")

    def clear_failure(self, key: str) -> None:
        """As Store.clear_failure, at the URL as well."""
        super().clear_failure(key)
        self.remote.remove(f"failures/{check_key(key)}.json")

    def models(self) -> set[str]:
        """As Store.models, here or at the URL."""
        return super().models() | whole_models(self.remote.names(MODELS))

    def has_model(self, key: str) -> bool:
        """As Store.has_model, here or at the URL."""
        return super().has_model(key) or key in whole_models(self.remote.names(f"{MODELS}/{check_key(key)}"))

    def artefacts(self, room: str) -> set[str]:
        """As Store.artefacts, here or at the URL."""
        return super().artefacts(room) | {name.split("/")[1] for name in self.remote.names(room)}

    def discard(self, room: str, key: str) -> None:
        """As Store.discard, at the URL as well."""
        super().discard(room, key)
        self.send(room, key)

    def send(self, room: str, key: str) -> None:
        """As Store.send, to the URL."""
        self.remote.send(self.root, f"{room}/{check_key(key)}")

    def pull(self) -> None:
        """Fetch records, failures and conflicts that other machines have put at the URL since."""
        self._fetch([name for name in self.remote.names() if RESULTS.fullmatch(name) and not self._has(name)])

    def push(self, under: str = "") -> None:
        """Put every file at `under`, or below it, at the URL that is not known to be there as it is here."""
        start = self.root / under
        for path in [start] if start.is_file() else sorted(start.rglob("*")):
            name = path.relative_to(self.root).as_posix()
            known = _apart(path, name) or self._equal.get(name) == _stamp(path)
            if not known and path.is_file() and not path.is_symlink():
                self._put(name)

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """As Store.lock, here and by a lease at the URL. The copy is brought up to date, and put there at the end.

        Where the backend has no conditional writes, two runs that begin within the same second may both get the lease.
        As with the lock, that costs double work and no record.
        """
        with super().lock(), lease(self.remote):
            self.refresh()
            self.push()  # what could not be put there by an earlier run
            ended = False
            try:
                yield
                ended = True
            finally:
                self._put_all(ended)

    def refresh(self) -> None:
        """Bring the copy up to date; no run may work on it meanwhile. What only the copy has stays."""
        self._equal.clear()
        there, common = self.remote.names(), self._common()
        gone = [name for name in sorted(common.keys() - there.keys()) if self._has(name)]
        for name in gone:
            self._set_aside(name)
        if any(ONCE.fullmatch(name) for name in gone):  # the rest is made again, and a failure goes with its success
            warnings.warn(f"files of {self.place} were removed there; copies are in {self.root / GONE}", stacklevel=2)
        for notes in self._notes():
            part = notes.parent.relative_to(self.root)
            kept = {name: digest for name, digest in _noted(notes).items() if (part / name).as_posix() in there}
            write_atomic(notes, "".join(f"{digest} {name}\n" for name, digest in kept.items()).encode())
        damaged = set[str]()
        for name in filter(self._has, filter(ONCE.fullmatch, there)):
            if name not in common and RECORD.fullmatch(name) and not self._fetch_at(name):  # made on two machines
                damaged.add(name)  # at the URL; `push` puts the copy in its place
            else:
                self._equal[name] = _stamp(self.root / name)
        missing = sorted(there.keys() - self._equal.keys() - damaged)
        self._fetch([name for name in missing if not ON_DEMAND.fullmatch(name)], common)

    def _put_all(self, ended: bool) -> None:
        try:
            self.push()
        except EnvironmentFault as fault:
            message = f"{fault}; all of the study is in {self.root}, and the next run on this machine puts it there"
            if ended:
                raise EnvironmentFault(message) from fault
            warnings.warn(message, stacklevel=3)  # what ended the run is on its way to the user

    def _fetch_record(self, key: str) -> bool:
        """Bring the record of `key` from the URL into the copy; whether there is one that verifies.

        Where both have one and they differ, that of the URL came first: the copy's goes to conflicts/.
        """
        name, path = f"records/{key}.json", self._path("records", key)
        content = self.remote.read(name)
        if content is None:
            if self._has(name) and name in self._common():
                self._set_aside(name)
            return False
        try:
            there = unseal(content, key)
        except NewerError as newer:
            raise InputError(f"{self.place}/{name}: {newer}: {REMEDY}") from None
        except DamagedError:
            return False  # a whole one takes its place as soon as there is one
        here = super().read(key)
        if here is not None and here["checksum"] != there["checksum"]:
            self._keep_conflict(there, here)
        if here is None or path.read_bytes() != content:  # equal results may differ in `run`
            write_atomic(path, content)
        self._agree(name, _digest(content), _stamp(path))
        return True

    def _fetch_at(self, name: str) -> bool:
        """As `_fetch_record`, for the name of a record, which may belong to the search within this study."""
        found = RECORD.fullmatch(name)
        part, key = found.group("part", "key") if found else (None, Path(name).stem)
        return (RemoteStore(f"{self.place}/{part}") if part else self)._fetch_record(key)

    def _keep_conflict(self, present: Record, newcomer: NewRecord) -> None:
        super()._keep_conflict(present, newcomer)
        self.push("conflicts")

    def _fetch(self, names: list[str], common: Mapping[str, str] | None = None) -> None:
        """Bring files into the copy, but for those that only this machine has changed since they were `common`."""
        for name, content in self.remote.read_all(names):
            path, digest = self.root / name, _digest(content)
            if path.is_file() and (common or {}).get(name) == digest:
                if _digest(path.read_bytes()) == digest:
                    self._equal[name] = _stamp(path)
                continue
            for suffix in HALF:  # it belongs to the file that is replaced now
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            write_atomic(path, content)
            self._agree(name, digest, _stamp(path))

    def _put(self, name: str) -> None:
        stamp = _stamp(path := self.root / name)  # before: a change in between is put again
        try:
            content = path.read_bytes()
            if not RECORD.fullmatch(name):
                self.remote.write_file(name, path)
            elif not self._put_first(name, content):
                self._equal[name] = _stamp(path)
                return
        except (FileNotFoundError, EnvironmentFault):
            if path.is_file():
                raise
            return  # removed in the meantime
        self._agree(name, _digest(content), stamp)

    def _put_first(self, name: str, content: bytes) -> bool:
        """Put a record where none verifies. Returns False if another one came first; the copy is now equal to that."""
        if self.remote.create(name, content):
            return True
        if self._fetch_at(name):
            return False
        self.remote.write(name, content)
        return True

    def _agree(self, name: str, digest: str, stamp: tuple[int, int] | None) -> None:
        """Note that a file of the copy is as at the URL."""
        self._equal[name] = stamp
        self.root.mkdir(parents=True, exist_ok=True)
        with open(self.root / PUT, "ab") as stream:
            stream.write(f"{digest} {name}\n".encode())

    def _common(self) -> dict[str, str]:
        """Name -> digest, when the copy of a file was last as at the URL. A search notes its records itself."""
        common: dict[str, str] = {}
        for notes in self._notes():
            part = notes.parent.relative_to(self.root)
            noted = {(part / name).as_posix(): digest for name, digest in _noted(notes).items()}
            common |= {name: digest for name, digest in noted.items() if part == Path() or RECORD.fullmatch(name)}
        return common

    def _notes(self) -> list[Path]:
        return [path for path in (*sorted(self.root.glob(f"*/{PUT}")), self.root / PUT) if path.is_file()]

    def _set_aside(self, name: str) -> None:
        target = self.root / GONE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.replace(self.root / name, target)

    def _has(self, name: str) -> bool:
        return (self.root / name).is_file()


def _apart(path: Path, name: str) -> bool:
    """Whether a file is of this machine alone, or a database in the middle of a change."""
    return bool(NEVER.fullmatch(name)) or path.with_name(path.name + HALF[0]).exists()


def _noted(notes: Path) -> dict[str, str]:
    """Name -> digest, as `_agree` notes them."""
    return {name: digest for digest, _, name in (line.partition(" ") for line in notes.read_text().splitlines())}


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _stamp(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        status = path.stat()
        return status.st_size, status.st_mtime_ns
    return None
