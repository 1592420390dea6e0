"""From the bytes of a file to its text: unpacked, UTF-8, nothing in it that says that the file is something else."""

from __future__ import annotations

import gzip
import zlib

from l3masking.data.files import is_packed
from l3masking.errors import InputError


def unpack(content: bytes, name: str, place: str) -> bytes:
    """`content` without gzip, where the name ends in .gz. InputError for what is no whole gzip file."""
    if not is_packed(name):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{place}: not a whole gzip file ({error}); compress or copy it again") from None


def decode(content: bytes, place: str) -> str:
    """UTF-8 text, a byte-order mark dropped; InputError with the line of the first byte that is not UTF-8."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        byte = content[error.start]
        raise InputError(f"{place} line {line}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None
