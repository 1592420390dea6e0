"""Files at a URL, by any protocol that fsspec knows (s3://, gs://, file://, ...).

A file that can be seen under its name is complete: an object store shows an object when it is whole, and elsewhere a
file is put under a temporary name and renamed. `Remote.create` puts a file only where nothing is yet. Where the backend
can decide that (S3, Google, Azure, a local file system), exactly one of two simultaneous writers succeeds.
"""

from __future__ import annotations

import errno
import re
import time
import urllib.parse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from l3masking.data.sources import cache_folder
from l3masking.errors import EnvironmentFault, InputError
from l3masking.whole import temporary_name
from study.store.whole_files import NO_HARD_LINKS

T = TypeVar("T")

OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "oci", "oss", "tos", "memory"}
# whose package passes mode="create" of fsspec on to the store: s3fs, gcsfs, adlfs
CONDITIONAL = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "memory"}
WAITS = (1.0, 2.0, 4.0)  # seconds before each further try; the backends of the large stores have tries of their own
READ_BATCH = 64  # files that are asked for at a time
NAME_PART = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]*")  # of a name: never hidden, never upwards
IN_VAIN = (FileNotFoundError, PermissionError, NotImplementedError)  # another try would end as this one


class _TakenError(Exception):
    """A file was to be created, and there is one of that name."""


def is_url(place: object) -> bool:
    """Whether `place` is a URL and no folder."""
    return "://" in str(place)


def copy_of(url: str) -> Path:
    """Where this machine keeps its copy of a URL: below the cache directory, one folder per part of the URL."""
    protocol, _, rest = check_url(url).partition("://")
    return cache_folder().joinpath(
        "copies", protocol, *(urllib.parse.quote(part, safe="@=+") for part in rest.split("/") if part)
    )


class Remote:
    """The files below one URL, by their names relative to it ("records/<key>.json")."""

    def __init__(self, url: str) -> None:
        """Opens nothing yet. InputError for an unknown protocol; EnvironmentFault where its package is missing."""
        import fsspec.core

        self.url = check_url(url)
        try:
            self._files, base = fsspec.core.url_to_fs(self.url)
        except ImportError as error:
            raise EnvironmentFault(f"{self.url}: {error}, here and on every node") from error
        except ValueError as error:
            raise InputError(f"{self.url}: {error}; give a folder or a URL that fsspec knows, as s3://") from error
        self._base = base.rstrip("/")
        given = self._files.protocol
        protocols = {given} if isinstance(given, str) else set(given)
        self._objects, self._conditional = bool(OBJECT_STORES & protocols), bool(CONDITIONAL & protocols)

    def names(self, under: str = "") -> dict[str, int]:
        """What there is below a folder: name -> bytes. Hidden files and foreign names are left out."""
        try:
            found = self._ask("list", self._find, self._path(under))
        except FileNotFoundError:
            return {}
        sizes = {path[len(self._base) :].lstrip("/"): int(entry.get("size") or 0) for path, entry in found.items()}
        return {name: size for name, size in sorted(sizes.items()) if all(map(NAME_PART.fullmatch, name.split("/")))}

    def read(self, name: str) -> bytes | None:
        """The content of a file, or None if there is none."""
        try:
            return self._ask("read", self._read, self._path(name))
        except FileNotFoundError:
            return None

    def read_all(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Names and contents of many files, fetched side by side where the backend can; a vanished one is left out."""
        for start in range(0, len(names), READ_BATCH):
            paths = {self._path(name): name for name in names[start : start + READ_BATCH]}
            contents = self._ask("read", self._read_many, list(paths))
            yield from ((paths[path], content) for path, content in contents.items())

    def write(self, name: str, content: bytes) -> None:
        """Put `content` under `name`, in place of what was there."""
        self._put(name, lambda path: self._files.pipe_file(path, content))

    def write_file(self, name: str, source: Path) -> None:
        """The same with the content of a local file, which may be larger than memory."""
        self._put(name, lambda path: self._files.put_file(str(source), path))

    def send(self, root: Path, under: str) -> None:
        """Put the files of a local folder below `under` that are not there yet, JSON last; remove those it lacks."""
        paths = (root / under).rglob("[!.]*")
        here = {path.relative_to(root).as_posix() for path in paths if path.is_file()}
        there = self.names(under).keys()
        for name in sorted(here - there, key=lambda name: (name.endswith(".json"), name)):
            self.write_file(name, root / name)
        for name in there - here:
            self.remove(name)

    def create(self, name: str, content: bytes) -> bool:
        """Put `content` under `name` unless there is a file already. Returns whether the file there has this content.

        Where the backend has no conditional writes, this looks first; of two writers that do so within the same moment
        the later one wins, and both are told that they succeeded.
        """

        def write(path: str) -> None:
            self._files.pipe_file(path, content)

        try:
            if self._objects:
                self._put(name, lambda path: self._create_object(path, content))
            else:
                self._put(name, write, self._give_new_name)
        except _TakenError:
            return self.read(name) == content  # true if an answer was lost and the request was repeated
        return True

    def remove(self, name: str) -> None:
        """Take a file away, if it is there."""
        try:
            self._ask("remove", self._files.rm_file, self._path(name))
        except FileNotFoundError:
            return

    def _put(
        self, name: str, write: Callable[[str], None], give_name: Callable[[str, str], None] | None = None
    ) -> None:
        path = self._path(name)
        folder, _, last = path.rpartition("/")
        temporary = f"{folder}/{temporary_name(last)}"

        def renamed() -> None:
            self._files.makedirs(folder, exist_ok=True)
            write(temporary)
            (give_name or self._files.mv)(temporary, path)

        try:
            self._ask("write", *((write, path) if self._objects else (renamed,)))
        except FileNotFoundError as error:
            raise EnvironmentFault(
                f"{self.url}: there is no such place to write to; make it, or correct the URL"
            ) from error

    def _create_object(self, path: str, content: bytes) -> None:
        if self._conditional:
            try:
                self._files.pipe_file(path, content, mode="create")
                return
            except FileExistsError:
                raise _TakenError from None
            except OSError as error:
                if error.errno != errno.ENOSYS:  # HTTP 501: this server has no conditional writes
                    raise
        self._check_free(path)
        self._files.pipe_file(path, content)

    def _give_new_name(self, temporary: str, path: str) -> None:
        link = getattr(self._files, "link", None)
        try:
            if link is not None and self._linked(link, temporary, path):
                return
            self._check_free(path)
            self._files.mv(temporary, path)
        finally:
            if self._files.exists(temporary):
                self._files.rm_file(temporary)

    @staticmethod
    def _linked(link: Callable[[str, str], None], temporary: str, path: str) -> bool:
        try:
            link(temporary, path)
        except FileExistsError:
            raise _TakenError from None
        except OSError as error:
            if error.errno not in NO_HARD_LINKS:
                raise
            return False
        return True

    def _check_free(self, path: str) -> None:
        self._files.invalidate_cache()
        if self._files.exists(path):
            raise _TakenError

    def _find(self, path: str) -> dict[str, Any]:
        self._files.invalidate_cache()  # listings are kept for ever otherwise
        return self._files.find(path, detail=True)

    def _read(self, path: str) -> bytes:
        self._files.invalidate_cache()
        return self._files.cat_file(path)

    def _read_many(self, paths: list[str]) -> dict[str, bytes]:
        contents = self._files.cat_ranges(paths, None, None, on_error="return")  # `cat` takes "[1]" for a pattern
        for content in contents:
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                raise content
        return {path: content for path, content in zip(paths, contents, strict=True) if isinstance(content, bytes)}

    def _path(self, name: str) -> str:
        return f"{self._base}/{name}" if name else self._base

    def _ask(self, what: str, call: Callable[..., T], *arguments: object) -> T:
        """Call a backend, several times if need be. Each one raises what it likes, so this is the place for all."""
        for wait in (*WAITS, None):
            try:
                return call(*arguments)
            except (FileNotFoundError, _TakenError):
                raise
            except Exception as error:
                if wait is None or isinstance(error, IN_VAIN):
                    said = (str(error).strip() or "no message").splitlines()[0]
                    raise EnvironmentFault(
                        f"{self.url}: cannot {what} there ({type(error).__name__}: {said})"
                    ) from error
                time.sleep(wait)
        raise AssertionError("unreachable")


def check_url(url: str) -> str:
    """`url` without slashes at its end. InputError for one that holds a password or leads upwards."""
    parts = urllib.parse.urlsplit(url)
    if parts.password is not None:
        raise InputError(f"{parts.scheme}://...@{parts.hostname}: no passwords in a URL, they would show in logs; "
                         "give them as the protocol's package reads them from the environment")  # fmt: skip
    if ".." in url.split("/") or not url.partition("://")[2].strip("/"):
        raise InputError(f"{url}: expected a URL with a path and without `..`, as s3://bucket/study")
    return url.rstrip("/")
