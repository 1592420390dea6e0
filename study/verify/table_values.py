"""How two versions of a table differ: not at all, by rounding, or in what both of them hold."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

CLOSE = 1e-9  # relative difference that another processor or version of numpy may give
ANY_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
NEVER_REWORDED = (
    "encoder",
    "dataset",
    "method",
    "variant",
    "objective",
    "seed",
    "first_method",
    "second_method",
)  # in any version of the program


def differ_by_rounding(first: bytes, second: bytes) -> bool:
    """Whether two texts differ only in numbers, and each by no more than CLOSE of itself."""
    if ANY_NUMBER.sub(b"", first) != ANY_NUMBER.sub(b"", second):
        return False
    pairs = zip(ANY_NUMBER.findall(first), ANY_NUMBER.findall(second), strict=True)
    return all(a == b or _close(float(a), float(b)) for a, b in pairs)


def first_difference(found: bytes, wanted: bytes) -> str:
    """The first line in which a file differs from what the records give, in words."""
    lines, again = found.splitlines(), wanted.splitlines()
    for number, (line, other) in enumerate(zip(lines, again, strict=False), 1):
        if line != other:
            start = next((at for at, (a, b) in enumerate(zip(line, other, strict=False)) if a != b), 0)
            return f"line {number} has {_part(line, start)}, where they give {_part(other, start)}"
    return f"it has {len(lines)} lines, they give {len(again)}"


def shared_difference(ending: str, found: bytes, wanted: bytes) -> str | None:
    """The first number or name in which two tables disagree that two versions of the program made; None without any.

    Compared are the columns (CSV) and fields (JSON) that both have. Texts may be worded otherwise, so a table of
    another kind is not compared.
    """
    if ending not in ("csv", "json"):
        return None
    try:
        pairs = _csv_pairs(found, wanted) if ending == "csv" else _json_pairs(json.loads(found), json.loads(wanted), "")
        return next((text for text in pairs), None)
    except (ValueError, RecursionError, csv.Error):
        return "it cannot be read"


def _csv_pairs(found: bytes, wanted: bytes) -> Iterator[str]:
    there, again = (list(csv.DictReader(io.StringIO(text.decode()))) for text in (found, wanted))
    if len(there) != len(again):
        yield f"it has {len(there)} rows, they give {len(again)}"
    for number, (row, other) in enumerate(zip(there, again, strict=False), 2):
        for name in row.keys() & other.keys():
            if not _agree(name, _number(row[name]), _number(other[name])):
                yield f"line {number}, {name}: {row[name]!r}, where they give {other[name]!r}"


def _json_pairs(found: Any, wanted: Any, place: str) -> Iterator[str]:
    if isinstance(found, dict) and isinstance(wanted, dict):
        for name in found.keys() & wanted.keys():
            yield from _json_pairs(found[name], wanted[name], f"{place}.{name}")
    elif isinstance(found, list) and isinstance(wanted, list):
        if place.rpartition(".")[2] in ("remarks", "notes"):
            return
        if len(found) != len(wanted):
            yield f"{place[1:] or 'the list'} has {len(found)} entries, they give {len(wanted)}"
        for number, (one, other) in enumerate(zip(found, wanted, strict=False)):
            yield from _json_pairs(one, other, f"{place}[{number}]")
    elif not _agree(place.rpartition(".")[2], found, wanted):
        yield f"{place[1:]}: {found!r}, where they give {wanted!r}"


def _agree(name: str, one: Any, other: Any) -> bool:
    """Whether two values are equal as far as they are names, numbers, true, false or null; texts may differ."""
    if isinstance(one, str) and isinstance(other, str):
        return one == other or name not in NEVER_REWORDED
    if isinstance(one, bool) or isinstance(other, bool) or not (_is_number(one) and _is_number(other)):
        return bool(one == other)
    return one == other or _close(one, other)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def _number(text: str | None) -> Any:
    try:
        return float(text or "")
    except ValueError:
        return text


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= CLOSE * max(abs(one), abs(other))


def _part(line: bytes, start: int) -> str:
    return repr(line[max(start - 12, 0) : start + 12].decode("utf-8", "replace"))
