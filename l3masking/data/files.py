"""Names of data files: which format a name says, and which files a pattern means."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path

from l3masking.errors import InputError

FILE_FORMATS = (".jsonl", ".json", ".csv", ".tsv", ".parquet")  # of labelled texts; each may be compressed: .jsonl.gz
PACKED = ".gz"


def format_of(name: str) -> str:
    """The suffix that says the format, in lower case and without .gz: ".jsonl" of "train.jsonl.gz"."""
    lower = name.lower()
    return Path(lower[: -len(PACKED)] if is_packed(name) else lower).suffix


def is_packed(name: str) -> bool:
    """Whether the name says gzip."""
    return name.lower().endswith(PACKED)


def absolute(source: str, folder: Path) -> str:
    """A path or pattern made absolute. A pattern keeps its meaning where the folder's name has brackets."""
    path = folder / os.path.expanduser(source)
    if not _is_pattern(source, path):
        return os.path.abspath(path)
    return os.path.abspath(os.path.join(glob.escape(str(folder)), os.path.expanduser(source)))


def matching(source: str, folder: Path) -> list[Path] | None:
    """The files that a pattern (*, ?, [a-z], ** for folders in folders) means, sorted by path; None for a plain path.

    The name of a file that exists is never a pattern. Raises InputError where nothing matches.
    """
    if not _is_pattern(source, folder / os.path.expanduser(source)):
        return None
    found = [Path(name) for name in glob.glob(absolute(source, folder), recursive=True)]
    files = sorted(path for path in found if path.is_file())
    if not files:
        raise InputError(f"no file matches the pattern {source}; relative paths start at the space file's folder")
    return files


def _is_pattern(source: str, path: Path) -> bool:
    return re.search(r"[*?\[]", source) is not None and not path.exists()
