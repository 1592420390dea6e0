"""Paths in the encoders, datasets and corpora of a space file: absolute, so that nothing depends on where it is."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from l3masking.data.files import absolute

DATA_FILES = ("train", "validation", "test", "mlm")


def encoder_at(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """An encoder's entry with its folder made absolute; a relative one starts at `folder`."""
    path = entry.get("path")
    return entry | {"path": os.path.abspath(folder / os.path.expanduser(path))} if isinstance(path, str) else entry


def dataset_at(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """A dataset's entry with its file names and patterns made absolute; what is none of these stays as it is."""
    local = [key for key in DATA_FILES if key in entry and (key == "mlm" or entry.get("hub") is None)]
    found = entry | {key: _file_at(folder, entry[key], key) for key in local}
    if isinstance(sets := entry.get("evaluation_sets"), dict):
        inner = {name: dataset_at(folder, one) if isinstance(one, dict) else one for name, one in sets.items()}
        found["evaluation_sets"] = inner
    return found


def corpus_at(folder: Path, entry: dict[str, Any]) -> dict[str, Any]:
    """A corpus's entry with its file names and patterns made absolute."""
    return entry | {"files": _file_at(folder, entry["files"], "files")} if "files" in entry else entry


def _file_at(folder: Path, value: Any, key: str) -> Any:
    if isinstance(value, list):
        return [_file_at(folder, inner, key) if isinstance(inner, str) else inner for inner in value]
    if not isinstance(value, str) or value.startswith(("http://", "https://")) or (key, value) == ("mlm", "instance"):
        return value
    return absolute(value, folder)
