"""The local MLflow store after a kill."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from study.tracking.database import prepare_database

KILLED = """
import os, signal, sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("pragma cache_size = 1")  # pages go to the file before the transaction ends
database.execute("begin")
for number in range(200):
    database.execute("insert into params values (?, ?)", (number, "x" * 2000))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Path:
    """A store whose writer was killed in the middle of a transaction."""
    path = tmp_path / "mlflow.db"
    with contextlib.closing(sqlite3.connect(path)) as database, database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('head')")
        database.execute("create table params (number integer, value text)")
    subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert path.with_name("mlflow.db-journal").stat().st_size > 0, "nothing is left half-done: the test tests nothing"
    return path


def test_what_a_killed_writer_left_is_taken_back(killed: Path) -> None:
    prepare_database(killed, replace=True)
    assert not list(killed.parent.glob("*.broken*"))
    with contextlib.closing(sqlite3.connect(killed)) as database:
        assert database.execute("select count(*) from params").fetchone() == (0,)
