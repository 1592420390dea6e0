"""Which version of this program runs, as its records say."""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path

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
