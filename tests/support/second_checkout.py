"""Another checkout of this program, and files of a user, that a worker must not import."""

from __future__ import annotations

import shutil
from pathlib import Path

from small_study import PROJECT

from study.version import OWN_PACKAGES


def second_checkout(folder: Path) -> Path:
    """A copy of the program that gives other scores."""
    for name in OWN_PACKAGES:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    changed = folder / "l3masking" / "scoring" / "vocabulary.py"
    text = changed.read_text()
    changed.write_text(text.replace(".clamp(max=0)", ".clamp(max=0) - 100"))
    assert changed.read_text() != text
    return folder


def with_traps(folder: Path) -> Path:
    """The same folder, with files that are named as packages and cannot be imported."""
    for name in ("tokenizers", "torch", "ray", "numpy", "filelock"):
        (folder / f"{name}.py").write_text("raise ImportError('a file of the user')\n")
    return folder
