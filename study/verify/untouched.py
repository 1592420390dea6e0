"""Reads the plain files of a folder that somebody else made. No link is followed, and nothing is written."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

from study.store.seal import DamagedError
from study.store.whole_files import file_digest

MOST_BYTES = 1 << 30  # of a file that is read as a whole; larger ones are damaged or hostile


class Untouched:
    """The folder of a study. All names are below it, with "/"."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def names(self, folder: str, ending: str = "") -> list[str]:
        """The visible entries of a folder whose names end so, sorted; empty if there is no such folder."""
        if not self._is_plain(folder):
            return []
        with os.scandir(self.root / folder) as entries:
            found = [entry.name for entry in entries if entry.name.endswith(ending) and not entry.name.startswith(".")]
        return [f"{folder}/{name}" for name in sorted(found)]

    def has(self, name: str) -> bool:
        """Whether there is anything at a name, be it a link."""
        return os.path.lexists(self.root / name)

    def is_folder(self, name: str) -> bool:
        """Whether there is a folder at a name, and no link on the way to it."""
        return self._is_plain(name)

    def read(self, name: str) -> bytes:
        """A whole file. DamagedError where it is missing, no plain file, or cannot be read."""
        folder = name.rpartition("/")[0]
        if folder and not self._is_plain(folder):
            raise DamagedError("its folder is missing or a link")
        try:
            handle = os.open(self.root / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError as error:
            raise DamagedError("missing") from error
        except OSError as error:
            raise DamagedError("not a plain file" if self._is_link(name) else f"{error.strerror}") from error
        with open(handle, "rb") as stream:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise DamagedError("not a plain file")
            if state.st_size > MOST_BYTES:
                raise DamagedError(f"{state.st_size} bytes, more than a file of a study has")
            try:
                return stream.read()
            except OSError as error:
                raise DamagedError(f"cannot be read ({error.strerror})") from error

    def digest(self, name: str) -> str:
        """BLAKE2b of a file of any size. DamagedError as in `read`."""
        if not self._is_plain(name.rpartition("/")[0]) or not (self.root / name).is_file() or self._is_link(name):
            raise DamagedError("missing or not a plain file")
        try:
            return file_digest(self.root / name)
        except OSError as error:
            raise DamagedError(f"cannot be read ({error.strerror})") from error

    def read_json(self, name: str) -> dict[str, Any]:
        """A file that holds one JSON object, else DamagedError."""
        try:
            value = json.loads(self.read(name))
        except (ValueError, RecursionError) as error:
            raise DamagedError("not whole JSON: it is cut off or overwritten") from error
        if not isinstance(value, dict):
            raise DamagedError("not a JSON object")
        return value

    def _is_plain(self, folder: str) -> bool:
        path = self.root
        for part in folder.split("/"):
            path = path / part
            if path.is_symlink() or not path.is_dir():
                return False
        return True

    def _is_link(self, name: str) -> bool:
        path = self.root / name
        return path.is_symlink() or path.is_dir()
