"""What the records say of the program's version."""

from __future__ import annotations

import importlib.metadata
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
    monkeypatch.delenv(checkout.COMMIT_VARIABLE, raising=False)
    asked = (checkout.program_commit, checkout.program_version)
    for function in asked:
        function.cache_clear()
    monkeypatch.setattr(checkout, "__file__", str(tmp_path / "study" / "checkout.py"))
    for name in (checkout.COMMIT_VARIABLE, checkout.CODE):
        monkeypatch.delenv(name, raising=False)
    checkout.program_commit.cache_clear()
    yield tmp_path
    for function in asked:
        function.cache_clear()


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
    monkeypatch.setenv(checkout.COMMIT_VARIABLE, "abc+")
    assert checkout.program_commit() == "abc+"


def test_a_broken_checkout_has_none(folder: Path) -> None:
    (folder / ".git").mkdir()
    assert checkout.program_commit() is None


def write_project(folder: Path, version: str) -> None:
    (folder / "pyproject.toml").write_text(f'[project]\nname = "l3masking-study"\nversion = "{version}"\n')


def test_the_version_is_that_of_pyproject_or_of_the_installed_distribution(folder: Path, monkeypatch) -> None:
    installed = {"l3masking-study": "1.2.3"}

    def version(name: str) -> str:
        if name not in installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(importlib.metadata, "version", version)
    assert checkout.program_version() == "1.2.3"
    write_project(folder, "1.3.0")
    checkout.program_version.cache_clear()
    assert checkout.program_version() == "1.3.0", "the checkout is newer than what pip noted"
    (folder / "pyproject.toml").unlink()
    installed.clear()
    checkout.program_version.cache_clear()
    assert checkout.program_version() is None


def write_code(folder: Path, text: str = "") -> Path:
    for name in checkout.OWN_PACKAGES:
        (folder / name / "deep").mkdir(parents=True, exist_ok=True)
        (folder / name / "__init__.py").write_text("")
        (folder / name / "deep" / "module.py").write_text(text)
    return folder


def test_the_hash_of_code_is_of_names_and_contents_of_python_files(tmp_path: Path) -> None:
    one, two = write_code(tmp_path / "one"), write_code(tmp_path / "two" / "elsewhere")
    before = checkout.code_hash(one)
    assert re.fullmatch("[0-9a-f]{16}", before)
    assert checkout.code_hash(two) == before
    (two / "study" / "notes.txt").write_text("no code")
    (two / "study" / "__pycache__").mkdir()
    (two / "study" / "__pycache__" / "module.cpython-311.pyc").write_bytes(b"x")
    (two / "study" / ".#module.py").symlink_to("nowhere")
    (two / "other.py").write_text("another package's")
    assert checkout.code_hash(two) == before
    (two / "study" / "deep" / "module.py").rename(two / "study" / "deep" / "renamed.py")
    assert checkout.code_hash(two) != before
    assert checkout.code_hash(write_code(tmp_path / "one", "x = 1")) != before


def test_a_job_names_the_commit_of_the_code_that_travels(folder: Path, tmp_path: Path, monkeypatch) -> None:
    """Not that of the program that submits it, where the working directory holds another checkout."""
    monkeypatch.setenv(checkout.COMMIT_VARIABLE, "mine")
    other = write_code(tmp_path / "other", "x = 1")
    write_code(folder)
    assert checkout.travelling_code(tmp_path) == {
        checkout.COMMIT_VARIABLE: "mine",
        checkout.CODE: checkout.code_hash(folder),
    }
    assert checkout.travelling_code(other) == {checkout.COMMIT_VARIABLE: "", checkout.CODE: checkout.code_hash(other)}
    git(other, "init", "-q")
    git(other, "add", ".")
    git(other, "commit", "-qm", "first")
    assert checkout.travelling_code(other)[checkout.COMMIT_VARIABLE] == git(other, "rev-parse", "HEAD")


def test_the_commit_of_a_job_holds_for_the_code_that_was_submitted_alone(folder: Path, monkeypatch) -> None:
    write_code(folder)
    monkeypatch.setenv(checkout.COMMIT_VARIABLE, "abc")
    monkeypatch.setenv(checkout.CODE, checkout.code_hash(folder))
    assert checkout.program_commit() == "abc"
    checkout.program_commit.cache_clear()
    write_code(folder, "x = 1")
    assert checkout.program_commit() is None
