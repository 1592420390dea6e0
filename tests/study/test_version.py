"""What the records say of the program's version."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from study import version as checkout


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """The program lies there."""
    (tmp_path / "study").mkdir()
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "study" / "version.py"))
    monkeypatch.delenv(checkout.COMMIT, raising=False)
    checkout.program_commit.cache_clear()
    yield tmp_path
    checkout.program_commit.cache_clear()


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    done = subprocess.run(["git", "-C", str(folder), *who, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_checkout_names_its_commit_and_whether_it_is_changed(folder: Path) -> None:
    git(folder, "init", "-q")
    (folder / "file").write_text("one")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    commit = git(folder, "rev-parse", "HEAD")
    assert re.fullmatch("[0-9a-f]{40}", commit)
    assert checkout.program_commit() == commit
    (folder / "file").write_text("two")
    checkout.program_commit.cache_clear()
    assert checkout.program_commit() == f"{commit}+"


def test_elsewhere_it_is_what_the_job_was_told(folder: Path, monkeypatch) -> None:
    assert checkout.program_commit() is None
    checkout.program_commit.cache_clear()
    monkeypatch.setenv(checkout.COMMIT, "abc+")
    assert checkout.program_commit() == "abc+"


def test_a_broken_checkout_has_none(folder: Path) -> None:
    (folder / ".git").mkdir()
    assert checkout.program_commit() is None
