"""Which version of this program runs, as its records say."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tomllib
from functools import lru_cache
from pathlib import Path

DISTRIBUTION = "l3masking-study"  # as pyproject.toml names it
COMMIT = "L3STUDY_COMMIT"  # environment variable of a job: what was submitted, as .git does not travel


@lru_cache(maxsize=1)
def program_commit() -> str | None:
    """The commit of the checkout that this program runs from, "+" behind it where files are changed; None outside."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():  # installed elsewhere: a checkout around it is not this program's
        return os.environ.get(COMMIT) or None
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@lru_cache(maxsize=1)
def program_version() -> str | None:
    """Return the version in pyproject.toml of the checkout, else that of the installed distribution, else None.

    The file comes first: what pip noted at an editable installation may be older. A job may have the code alone.
    """
    file = Path(__file__).resolve().parent.parent / "pyproject.toml"
    if file.is_file():
        return str(tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"])
    try:
        return importlib.metadata.version(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return None
