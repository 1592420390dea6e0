"""What to do about a store that takes nothing: by the message that it gives, and never "wait" if that is in vain."""

from __future__ import annotations

import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow_store import QUIET, client_of, empty_database, runs_of
from tracked_study import make_record

from study.tracking import database as mlflow_database
from study.tracking.advice import advice, known_fix
from study.tracking.database import resolve_uri, sqlite_path, sqlite_uri
from study.tracking.mirror import Mirror
from study.tracking.views import MAX_DESCRIPTION, MAX_VIEW, Page, opening

pytestmark = QUIET


def set_schema(database: Path, version: str) -> None:
    connection = sqlite3.connect(database)
    connection.execute("update alembic_version set version_num = ?", (version,))
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    ("version", "fix"),
    [
        ("451aebb31d03", "makes a new one from the records, or back it up and run `mlflow db upgrade sqlite:///"),
        ("ffffffffffff", "a newer MLflow has made this database: install that version, or rename "),
    ],
)
def test_a_database_of_another_mlflow_is_not_left_to_the_next_run(tmp_path: Path, caplog, version, fix) -> None:
    database = empty_database(tmp_path)
    set_schema(database, version)
    mirror = Mirror(tmp_path, "tiny")
    assert f"found version {version}" in str(mirror.close(60))
    assert fix in mirror.advice
    assert f"rename {database}, and `l3study sync {tmp_path}` makes a new one" in mirror.advice
    (said,) = [line.getMessage() for line in caplog.records if line.name == "study.tracking.mirror"]
    assert said.endswith(f"; the study goes on; {mirror.advice}")
    assert "next run" not in said


def test_a_locked_database_says_what_to_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mlflow_database, "BUSY_SECONDS", 0.1)
    holder = sqlite3.connect(empty_database(tmp_path), isolation_level=None)
    holder.execute("begin exclusive")
    try:
        mirror = Mirror(tmp_path, "tiny")
        assert "locked" in str(mirror.close(60))
    finally:
        holder.close()
    assert mirror.advice.startswith(f"end the program that holds {tmp_path}/mlflow.db; then the next run catches up")


def test_each_fault_has_its_fix(tmp_path: Path) -> None:
    own, other, server = resolve_uri(tmp_path, None), f"sqlite:///{tmp_path}/other.db", "http://u:secret@head:5000"
    renamed = f"rename {tmp_path}/mlflow.db, and `l3study sync {tmp_path}` makes a new one from the records"
    assert advice("DatabaseError: database disk image is malformed", tmp_path, own) == renamed
    assert known_fix("Can't locate revision identified by 'ffffffffffff'", tmp_path, own) == (
        f"a newer MLflow has made this database: install that version, or {renamed}"
    )
    assert advice("Detected out-of-date database schema", tmp_path, "postgresql://u:secret@db/x") == (
        "back it up and run `mlflow db upgrade 'postgresql://***@db/x'`"
    )
    assert "make room" in advice("database or disk is full", tmp_path, own)
    assert f"make {tmp_path} writable" in advice("attempt to write a readonly database", tmp_path, other)
    assert advice("INVALID_PARAMETER_VALUE: 'value' exceeds the maximum length", tmp_path, server) == (
        "MLflow refuses a value of this study, and would again; tables and records have all of it"
    )
    again = f"`l3study sync {tmp_path} --tracking-uri 'http://***@head:5000'`"
    assert advice("ConnectionError: refused", tmp_path, server) == (
        f"nothing is lost: the next run catches up, or {again} does"
    )
    assert known_fix("ConnectionError: refused", tmp_path, server) is None


def test_a_long_description_is_shortened_and_mirrored(tmp_path: Path) -> None:
    empty_database(tmp_path)
    mirror = Mirror(tmp_path, "tiny", description="word " * 10_000)
    assert mirror.close(60) is None
    note = client_of(tmp_path).get_experiment_by_name("tiny").tags["mlflow.note.content"]
    assert note.startswith("word word")
    assert "… (cut; the whole text is in space.yaml)" in note
    assert MAX_DESCRIPTION < len(note) < 8000


def test_a_view_that_mlflow_would_refuse_is_left_out() -> None:
    page = Page(objectives=("accuracy",), searched=tuple(f"section.parameter_{index}" for index in range(500)))
    assert "search" in page.views()
    tags = page.tags("1", "2")
    assert "mlflow.sharedViewState.cells" in tags
    assert "mlflow.sharedViewState.search" not in tags
    assert max(map(len, tags.values())) <= MAX_VIEW


ODD = ["p c", "p%20c", "p%2Fc", "q?x=1", "h#x", "ü@:&+x"]


@pytest.mark.parametrize("name", ODD)
def test_a_path_and_its_uri_are_the_same_file(tmp_path: Path, name: str) -> None:
    from sqlalchemy import make_url

    path = tmp_path / name / "x.db"
    assert sqlite_path(sqlite_uri(path)) == path
    assert make_url(sqlite_uri(path)).database == str(path)
    assert resolve_uri(tmp_path, sqlite_uri(path)) == sqlite_uri(path)
    assert opening(path.parent, resolve_uri(path.parent, None), None).startswith("l3study ui ")


@pytest.mark.parametrize("name", ODD[1:5])
def test_nothing_is_written_outside_the_study(tmp_path: Path, name: str) -> None:
    root = tmp_path / name
    root.mkdir()
    shutil.move(empty_database(tmp_path / "made"), root / "mlflow.db")
    (tmp_path / "made").rmdir()
    (root / "table.md").write_text("a table")
    mirror = Mirror(root, "tiny")
    mirror.add(make_record(0, "accuracy", key="0" * 32))
    mirror.artifacts([root / "table.md"])
    assert mirror.close(60) is None
    assert os.listdir(tmp_path) == [name]
    assert runs_of(root)["seed", "0" * 32].info.status == "FINISHED"
    assert len(list(root.glob("mlartifacts/*/artifacts/table.md"))) == 1


def test_a_database_is_made_under_an_odd_name(tmp_path: Path) -> None:
    """As above, by MLflow's migrations: once, as they take seconds."""
    root = tmp_path / "p%20c?x=1"
    root.mkdir()
    assert Mirror(root, "tiny").close(60) is None
    assert os.listdir(tmp_path) == [root.name]
    assert sorted(os.listdir(root)) == ["mlflow.db", "mlflow.db.lock"]
