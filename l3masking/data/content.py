"""From the bytes of a file to its text: every data file is read here, labelled rows and plain text alike."""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from types import UnionType

from l3masking.data.files import is_packed
from l3masking.errors import InputError

GZIP = b"\x1f\x8b"  # what every gzip file starts with
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # byte-order marks; one of UTF-32 starts like the first
MOST_UNPACKED = 2**31  # of one file, unpacked
HEAD = 4096  # bytes in which UTF-16 without a mark is looked for
LINES = 20  # of a plain text that are tried as JSON
WRITE_PLAIN = "write one text per line into a .txt file, or say mlm: instance"


def unpack(content: bytes, name: str, place: str) -> bytes:
    """`content` without gzip, where the name ends in .gz.

    InputError for what is no whole gzip file, and for more than MOST_UNPACKED, which a small file may hold.
    """
    if not is_packed(name):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            unpacked = file.read(MOST_UNPACKED + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{place}: not a whole gzip file ({error}); compress or copy it again") from None
    check_size(len(unpacked), place)
    return unpacked


def check_size(size: int, place: str) -> None:
    """Raise InputError where what a file unpacks to would not fit into memory. size: in bytes."""
    if size > MOST_UNPACKED:
        raise InputError(f"{place} unpacks to more than {MOST_UNPACKED / 2**30:g} GiB; cut it into several files")


def decode(content: bytes, place: str) -> str:
    """UTF-8 text, a byte-order mark dropped.

    InputError, with the line where there is one, for other encodings, NUL bytes, gzip and a mark further down.
    """
    if content.startswith(GZIP):
        raise InputError(f"{place} is compressed with gzip: let its name end in .gz")
    if content.startswith(UTF_16):
        byte = content[0]
        raise InputError(f"{place} line 1: byte 0x{byte:02x} is not UTF-8, it starts UTF-16; save the file as UTF-8")
    if _is_utf16(content[:HEAD]):
        raise InputError(f"{place} has a NUL byte after every letter, as UTF-16 has; save the file as UTF-8")
    if (at := content.find(b"\0")) >= 0:
        line = _line(content, at)
        raise InputError(f"{place} line {line}: a NUL byte; the file is damaged or no text in UTF-8, write it again")
    try:
        decoded = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = _line(content, error.start), content[error.start]
        raise InputError(f"{place} line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
    if "\ufeff" in decoded and (mark := re.search(r"^\ufeff", decoded, re.MULTILINE)):
        line = decoded.count("\n", 0, mark.start()) + 1
        raise InputError(f"{place} line {line} starts with a byte-order mark, as after joining two files; remove it")
    return decoded


def text_lines(content: bytes, place: str, column: str) -> list[str]:
    """Non-blank lines of a plain text. InputError for none, and for rows of a table, whose syntax would be masked.

    `column` is what the column of texts is called in tables of this dataset.
    """
    decoded = decode(content, place)
    lines = [line.rstrip("\r") for line in decoded.split("\n") if line.strip()]
    if not lines:
        raise InputError(f"{place} holds no line of text: {WRITE_PLAIN}")
    head = lines[:LINES]
    objects = sum(_is_json(line, dict) for line in head)
    if decoded.lstrip()[0] in "[{" and (_is_json(decoded, dict | list) or 2 * objects > len(head)):
        raise InputError(f"{place} is JSON, and its braces, keys and labels would be masked as text; {WRITE_PLAIN}")
    if _is_header(lines[0], column):
        raise InputError(
            f"{place} starts with the header {lines[0][:60]!r} of a table, whose separators and labels would be masked "
            f"as text; {WRITE_PLAIN}"
        )
    return lines


def _line(content: bytes, at: int) -> int:
    return content.count(b"\n", 0, at) + 1


def _is_utf16(head: bytes) -> bool:
    """Whether every other byte of about half the letters or more is NUL."""
    even, odd = head[::2].count(0), head[1::2].count(0)
    return max(even, odd) * 4 >= len(head) > 1 and min(even, odd) * 8 <= max(even, odd)


def _is_json(text: str, kind: type | UnionType) -> bool:
    """Whether this is a JSON value of a kind, with something in it."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, kind) and bool(value)


def _is_header(line: str, column: str) -> bool:
    """Whether these are names between separators, one of them that of the column of texts."""
    for separator in (",", "\t", ";"):
        cells = [cell.strip('"') for cell in line.split(separator)]
        if len(cells) > 1 and column in cells and all(re.fullmatch(r"[\w.-]+", cell) for cell in cells):
            return True
    return False
