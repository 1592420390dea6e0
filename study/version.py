"""Which version of this program runs, as its records say, and whether another process runs the same."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import tomllib
from functools import lru_cache
from pathlib import Path

DISTRIBUTION = "l3masking-study"  # as pyproject.toml names it
COMMIT_VARIABLE = "L3STUDY_COMMIT"  # environment variable of a job: what was submitted, as .git does not travel
CODE = "L3STUDY_CODE"  # the same: code_hash of what was submitted, for which alone the commit holds
OWN_PACKAGES = ("l3masking", "study")


def code_folder() -> Path:
    """The folder that holds the packages of this program: a checkout, or where they are installed."""
    return Path(__file__).resolve().parent.parent


@lru_cache(maxsize=1)
def program_commit() -> str | None:
    """The commit of the checkout that this program runs from, "+" behind it where files are changed; None outside.

    In a job: the commit that was submitted, if this is the code that was.
    """
    folder = code_folder()
    if (folder / ".git").exists():
        return commit_of(folder)
    sent = os.environ.get(CODE)  # installed elsewhere: a checkout around it is not this program's
    return os.environ.get(COMMIT_VARIABLE) or None if not sent or sent == code_hash(folder) else None


def commit_of(folder: Path) -> str | None:
    """The commit of a checkout, "+" behind it where files are changed; None if there is none."""
    if not (folder / ".git").exists():
        return None
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


def travelling_code(folder: Path) -> dict[str, str]:
    """COMMIT and CODE for a job whose working directory is `folder`: of the packages in it, else of this program."""
    runs = folder if all((folder / name / "__init__.py").is_file() for name in OWN_PACKAGES) else code_folder()
    commit = program_commit() if runs.resolve() == code_folder() else commit_of(runs)
    return {COMMIT_VARIABLE: commit or "", CODE: code_hash(runs)}


def imported_code() -> tuple[list[str], str]:
    """The folders that this process imports the packages from, and the hash of their code ("mixed": of several).

    Workers of a cluster are sent this function itself, as they may have another program under its name.
    """
    found = [importlib.util.find_spec(name) for name in OWN_PACKAGES]
    files = [Path(spec.origin).resolve() if spec is not None and spec.origin else None for spec in found]
    folders = [file.parent.parent if file is not None else None for file in files]
    names = [str(folder) if folder is not None else "nowhere" for folder in folders]
    return names, code_hash(folders[0]) if folders[0] is not None and len(set(folders)) == 1 else "mixed"


def code_hash(folder: Path) -> str:
    """16 hexadecimal digits over the names and contents of the Python files of both packages in `folder`."""
    digest = hashlib.blake2b(digest_size=8)
    for package in OWN_PACKAGES:
        for file in sorted((folder / package).rglob("*.py"), key=lambda file: file.relative_to(folder).as_posix()):
            if file.is_file() and not file.name.startswith("."):
                digest.update(f"{file.relative_to(folder).as_posix()}\0".encode())
                digest.update(hashlib.blake2b(file.read_bytes()).digest())
    return digest.hexdigest()
