"""What to do about an MLflow store that takes nothing: not every fault goes away by waiting for the next run."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

from study.tracking.database import redacted, resolve_uri, sqlite_path

FOUND = re.compile(r"(?:found version|identified by) '?([0-9a-f]{12})")
"""In the message of a database of another MLflow: its schema."""
NEWER = ("Can't locate revision",)
"""In the message of a database that a newer MLflow has made, where it does not say which schema it has."""
OLDER = ("out-of-date database schema", "Detected out-of-date", "no such column", "no such table")
"""In the message of a database of an older MLflow, or of one whose migrations were cut off."""
BROKEN = ("malformed", "not a database", "disk I/O error", "is a folder", "unfinished MLflow migrations")
LOCKED = ("database is locked", "The file lock")
REFUSALS = ("INVALID_PARAMETER_VALUE", "exceeds the maximum length", "exceeded length limit", "exceeds length limit")
"""In the message of a store that is there, and takes a value neither now nor later."""
FULL = ("No space left", "database or disk is full")
READ_ONLY = ("readonly database", "Permission denied", "unable to open database file", "Read-only file system")


def advice(message: str, folder: Path, uri: str) -> str:
    """What to do about an error of the store at `uri` of the study in `folder`: a clause for the end of a message."""
    return known_fix(message, folder, uri) or f"nothing is lost: the next run catches up, or {_again(folder, uri)} does"


def known_fix(message: str, folder: Path, uri: str) -> str | None:
    """The same for an error that is known here, else None."""
    path = sqlite_path(uri)
    store = shlex.quote(redacted(uri))
    again = _again(folder, uri)
    anew = f"rename {path}, and {again} makes a new one from the records" if path is not None else ""
    if _has(message, NEWER) or _unknown_schema(message):
        return "a newer MLflow has made this database: install that version" + (f", or {anew}" if anew else "")
    if _has(message, OLDER):
        return f"{anew}, or " * bool(anew) + f"back it up and run `mlflow db upgrade {store}`"
    if anew and _has(message, BROKEN):
        return anew
    if _has(message, LOCKED):
        return f"end the program that holds {path or store}; then the next run catches up, or {again} does it now"
    if _has(message, REFUSALS):
        return "MLflow refuses a value of this study, and would again; tables and records have all of it"
    if _has(message, FULL):
        return f"make room; then the next run catches up, or {again} does it now"
    if path is not None and _has(message, READ_ONLY):
        return f"make {path.parent} writable, or give --tracking-uri sqlite:///FILE on a disk of this machine"
    return None


def _again(folder: Path, uri: str) -> str:
    own = uri == resolve_uri(folder, None)
    elsewhere = "" if own else f" --tracking-uri {shlex.quote(redacted(uri))}"
    return f"`l3study sync {shlex.quote(str(folder))}{elsewhere}`"


def _unknown_schema(message: str) -> bool:
    """Whether a message names a schema that the installed MLflow has never heard of."""
    found, spec = FOUND.search(message), importlib.util.find_spec("mlflow")
    if found is None or spec is None or spec.origin is None:
        return False
    migrations = Path(spec.origin).parent / "store" / "db_migrations" / "versions"
    return migrations.is_dir() and not any(migrations.glob(f"{found[1]}_*.py"))


def _has(message: str, signs: tuple[str, ...]) -> bool:
    return any(sign.lower() in message.lower() for sign in signs)
