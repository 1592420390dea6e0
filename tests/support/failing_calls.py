"""Calls of the system that fail: the n-th of all that write, as on a full or broken disk.

Counted are opening for writing, writing, syncing, linking, renaming, removing and making folders, below one folder. A
write that fails has written the first half. Tensors are written by a library in Rust, in one call.
"""

from __future__ import annotations

import builtins
import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import safetensors.torch
from safetensors import SafetensorError

BY_NAME = ("open", "link", "replace", "rename", "unlink", "mkdir")  # functions of `os` whose first argument is a path


class Calls:
    """Counts the calls below a folder; the `last` one fails with `error`, a number of errno. 0: none does."""

    def __init__(self, root: Path, last: int, error: int) -> None:
        self.root, self.last, self.error, self.made = str(root), last, error, list[str]()

    @property
    def failed(self) -> bool:
        """Whether it has come so far."""
        return 0 < self.last <= len(self.made)

    def counted(self, name: str, path: object = None, before: Callable[[], None] = lambda: None) -> None:
        """Note a call, and let it fail where it is the one; `before` is done first then."""
        self.made.append(name)
        if len(self.made) == self.last:
            before()
            raise OSError(self.error, os.strerror(self.error), *([] if path is None else [str(path)]))

    def below(self, path: object) -> bool:
        return isinstance(path, str | os.PathLike) and str(path).startswith(self.root)

    def by_name(self, name: str) -> Callable[..., Any]:
        """A function of `os` that counts."""
        real = getattr(os, name)

        def called(path: Any, *given: Any, **options: Any) -> Any:
            written = name != "open" or bool((given[0] if given else 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
            if self.below(path) and written:
                self.counted(name, path)
            return real(path, *given, **options)

        return called

    def open(self, path: Any, mode: str = "r", *given: Any, **options: Any) -> Any:
        """As the builtin `open`; its streams count their writes."""
        written = self.below(path) and not {*mode}.isdisjoint("wxa+")
        if written and options.get("opener") is None:
            self.counted("open", path)
        stream = REAL_OPEN(path, mode, *given, **options)
        return Stream(stream, self) if written else stream

    def fsync(self, descriptor: int) -> None:
        self.counted("fsync folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "fsync")
        REAL_FSYNC(descriptor)

    def save_file(self, tensors: Any, path: Any, *given: Any, **options: Any) -> None:
        REAL_SAVE(tensors, path, *given, **options)
        try:
            self.counted("write", before=lambda: os.truncate(path, os.path.getsize(path) // 2))
        except OSError as error:
            raise SafetensorError(f"Error: I/O error: {error.strerror} (os error {error.errno})") from None


REAL_OPEN, REAL_FSYNC, REAL_SAVE = builtins.open, os.fsync, safetensors.torch.save_file


class Stream:
    """A stream whose writes count."""

    def __init__(self, stream: Any, calls: Calls) -> None:
        self._stream, self._calls = stream, calls

    def write(self, data: Any) -> int:
        def half() -> None:
            self._stream.write(data[: len(data) // 2])
            self._stream.flush()

        self._calls.counted("write", before=half)
        return int(self._stream.write(data))

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def failing(root: Path, last: int, error: int = 0) -> Iterator[Calls]:
    """Inside, the `last` call fails."""
    calls = Calls(root, last, error)
    with ExitStack() as stack:
        for name in BY_NAME:
            stack.enter_context(mock.patch.object(os, name, calls.by_name(name)))
        stack.enter_context(mock.patch.object(os, "fsync", calls.fsync))
        for module in (builtins, io):
            stack.enter_context(mock.patch.object(module, "open", calls.open))
        stack.enter_context(mock.patch.object(safetensors.torch, "save_file", calls.save_file))
        yield calls
