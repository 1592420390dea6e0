"""A terminal for tests: a process under a pseudo terminal of a given size, and the screen that it leaves."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

TOKEN = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b\][^\x07]*\x07|(\r)|(\n)|([^\x1b\r\n])")


def under_terminal(
    code: str, *, columns: int, rows: int = 24, seconds: float = 60, heard: Callable[[str], None] | None = None
) -> tuple[str, int]:
    """What a Python program writes to its terminal, and its exit code. `heard` is told all that it has said so far."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=Path(__file__).resolve().parents[2],
        env={**environment, "TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parent)},
    )
    os.close(slave)
    said, end = b"", time.monotonic() + seconds
    try:
        while time.monotonic() < end:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    part = os.read(master, 65536)
                except OSError:  # the other side is closed
                    break
                if not part:
                    break
                said += part
                if heard:
                    heard(said.decode(errors="replace"))
            elif process.poll() is not None:
                break
        return said.decode(), process.wait(10)
    finally:
        process.kill()
        process.wait()
        os.close(master)


def screen(said: str, columns: int) -> list[str]:
    """The lines that stand on an endless terminal of so many columns in the end. Lines wrap as on a real one."""
    lines, row, column = [[]], 0, 0  # type: ignore[var-annotated]
    for token in TOKEN.finditer(said):
        count, kind, back, down, character = token.groups()
        if back:
            column = 0
        elif down:
            row += 1
        elif character:
            if column == columns:
                row, column = row + 1, 0
            _grow(lines, row)
            lines[row] += [" "] * (column + 1 - len(lines[row]))
            lines[row][column] = character
            column += 1
        elif kind == "A":
            row = max(0, row - int(count or 1))
        elif kind == "K":
            assert count == "2", "erases whole lines"
            _grow(lines, row)
            lines[row] = []
        else:
            assert kind in ("m", "h", "l"), f"a sequence that this terminal does not know: {token[0]!r}"
        _grow(lines, row)
    return ["".join(line).rstrip() for line in lines]


def _grow(lines: list[list[str]], row: int) -> None:
    while len(lines) <= row:
        lines.append([])
