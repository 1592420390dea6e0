"""Files that help and decide nothing: whatever somebody writes into them, the study is read as without them."""

from __future__ import annotations

import copy
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from study.estimate import fit, timing_file
from study.report.drawing import DRAWN_FILE, _read_index, _unchanged
from study.report.tag_tables import tag_lines
from study.results.looks import LOOKS_FILE, read_looks, warnings_of
from study.status.progress import PROGRESS_FILE, born, read_view
from study.status.status import Standing, driver_line
from study.store.hints import read_hint
from study.store.seal import with_checksum
from study.store.store import Store

ODD = (None, -1, 0, 10**400, 1e18, math.inf, math.nan, True, "", "\x1b[31m", [], [1], {}, {"a": 1})
KEY = "0" * 32


def of_progress(root: Path) -> object:
    """As `status` reads it."""
    view = read_view(root)
    if view is None:
        return None
    running = {entry.key: max(0.0, time.time() - entry.since) for entry in view.running}
    summary: Any = None
    return running, driver_line(
        Standing(summary=summary, view=view, alive=view.alive(), now=time.time(), counts={}, running=(), failures=())
    )


class Hint(NamedTuple):
    """A file of a study and how it is used; the result is true where it helps."""

    name: str
    value: Any
    used: Callable[[Path], object]


HINTS = [
    Hint(
        PROGRESS_FILE,
        {
            "schema": 1,
            "pid": os.getpid(),
            "born": born(os.getpid()),
            "host": os.uname().nodename,
            "state": "running",
            "stage": {"name": "scoring", "done": 1, "total": 2},
            "running": [{"key": KEY, "cell": ["tiny", "words", "stl", None], "seed": 0, "since": 1e9}],
            **dict.fromkeys(("most", "done", "failed", "left"), 1),
            **dict.fromkeys(("started", "updated"), 1e9),
        },
        of_progress,
    ),
    Hint(
        LOOKS_FILE,
        {"looks": [{"seeds": 2, "of": 2, "complete": 1, "planned": 1}]},
        lambda root: (looks := read_looks(root)) and (looks, warnings_of(looks, [])),
    ),
    Hint(fit.FITS_FILE, {"schema": 1, "peaks": {KEY: 5}}, lambda root: fit.Fits(root)._peaks),
    Hint(
        timing_file.TIMING_FILE,
        {
            "schema": 1,
            "entries": {
                KEY: {
                    **dict.fromkeys(("update_seconds", "plain_update_seconds", "evaluation_seconds"), 0.1),
                    "scoring_seconds": None,
                    "updates": 3,
                    "host": "here",
                    "device": "cpu",
                }
            },
        },
        lambda root: timing_file.read_calibration(root, lambda *_: pytest.fail("not asked for")),
    ),
    Hint(
        DRAWN_FILE,
        {"results": ["of", "png", "svg"]},
        lambda root: (
            (index := _read_index(root))
            and [index, *(_unchanged((root / "a.png", root / "a.svg"), known, "of") for known in index.values())]
        ),
    ),
    Hint(
        "tables/pos_words.json",
        {
            "tagger": "textblob",
            "wanted_mean": 0.15,
            "columns": [
                {
                    "encoder": "tiny",
                    "policy": "l3",
                    "weighting": None,
                    "tags": [{"tag": f"T{number}", "mean": 0.1} for number in range(8)],
                }
            ],
        },
        lambda root: tag_lines(root, ["words"]),
    ),
    Hint(
        ".lock.holder",
        {"pid": 1, "host": "here", "since": "now"},
        lambda root: (said := Store(root)._holder()) != "its process is not known yet" and said,
    ),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    yield path
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    ):
        yield from places(inner, (*path, name))


def foreign(value: Any) -> Iterator[bytes]:
    """The same with something odd in one place, with one entry left out, or cut off; and what is no JSON."""
    for *path, last in filter(None, places(value)):
        for odd in ODD:
            whole = copy.deepcopy(value)
            inner = whole
            for name in path:
                inner = inner[name]
            inner[last] = odd
            yield json.dumps(whole).encode()
        del inner[last]
        yield json.dumps(whole).encode()
    text = json.dumps(value).encode()
    yield from (json.dumps(odd).encode() for odd in ODD)
    yield from (text[:length] for length in range(0, len(text), 9))
    yield from (b"[" * 100_000, b'{"a":' * 100_000, bytes(40), b"\xff\xfe")


@pytest.mark.parametrize("hint", HINTS, ids=lambda hint: hint.name)
def test_whatever_stands_in_it_ends_nothing(hint: Hint, tmp_path: Path) -> None:
    assert not hint.used(tmp_path)
    path = tmp_path / hint.name
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(hint.value))
    assert hint.used(tmp_path)
    for content in foreign(hint.value):
        path.write_bytes(content)
        hint.used(tmp_path)
    path.unlink()
    os.mkfifo(path)  # which nobody writes to
    assert not hint.used(tmp_path)


def test_a_checksum_is_verified_where_there_is_one(tmp_path: Path) -> None:
    path, value = tmp_path / "hint.json", with_checksum({"a": 1})
    for content, wanted in (({"a": 1}, {"a": 1}), (value, value), (value | {"a": 2}, None)):
        path.write_text(json.dumps(content))
        assert read_hint(path, dict) == wanted
