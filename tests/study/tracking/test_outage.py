"""A tracking server that is killed in the middle and comes back: nothing is lost, doubled or waited for."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request

import pytest
from mlflow_store import QUIET, clean_environment, contents, empty_database, runs_of
from tracked_study import make_failure, make_record, make_search_record

from study.results.aggregate import cells
from study.tracking import database as mlflow_database
from study.tracking import feed as mlflow_feed
from study.tracking.mirror import STALE, Mirror
from study.tracking.ui import environment, free_port

pytestmark = [QUIET, pytest.mark.slow]

RECORDS = [
    make_record(seed, objective, method, key=f"{number:032x}")
    for number, (seed, objective, method) in enumerate(
        (seed, objective, method)
        for seed in range(2)
        for method in ("stl", "rtm", "l3masking")
        for objective in ("accuracy", "macro_f1")
    )
]
FAILURE = make_failure(make_record(2, "accuracy", "stl", key="f" * 32))
SEARCHED = [make_search_record(seed, key=f"5{seed:031x}") for seed in (1_000_000, 1_000_001)]
WAIT = 5.0  # seconds that the driver may wait for a call at most (reliability.md F12)


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    clean_environment(monkeypatch)


class Server:
    """A real MLflow server on a database, as a team has one."""

    def __init__(self, folder, port):
        self.folder, self.port, self.uri = folder, port, f"http://127.0.0.1:{port}"

    def start(self):
        where = ["--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--artifacts-destination", "kept"]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *where, *place],
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + 300
        while not self._answers():
            assert self.process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.2)

    def kill(self):
        """At once, with all its children."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def _answers(self):
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=5):
                return True
        except OSError:
            return False


@pytest.fixture
def server(tmp_path):
    empty_database(tmp_path / "server")
    made = Server(tmp_path / "server", free_port(5700))
    made.start()
    yield made
    made.kill()


def timed(call, *words):
    begin = time.monotonic()
    call(*words)
    assert time.monotonic() - begin < WAIT


def awaited(condition):
    end = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_server_killed_in_the_middle_ends_up_as_if_nothing_had_been(server, tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_feed, "RETRY_SECONDS", 1.0)
    calm = tmp_path / "calm"
    empty_database(calm)
    undisturbed = Mirror(calm, "tiny", description="A study", records=RECORDS, searched=SEARCHED)
    undisturbed.add_failure(FAILURE)
    undisturbed.cells(cells(RECORDS, [FAILURE], 3))
    assert undisturbed.close(300) is None

    study = tmp_path / "study"
    study.mkdir()
    mirror = Mirror(study, "tiny", description="A study", uri=server.uri)
    half = len(RECORDS) // 2
    for record in RECORDS[:half]:
        timed(mirror.add, record)
    database = server.folder / "mlflow.db"
    awaited(lambda: _seeds(database) >= 3)  # in the middle of them
    server.kill()
    for record in RECORDS[half:-2]:
        timed(mirror.add, record)
    timed(mirror.add_failure, FAILURE)
    for record in SEARCHED:
        timed(mirror.add_search, record)
    awaited(lambda: mirror.reason is not None)
    assert (study / STALE).read_text().startswith(f"{server.uri} ")
    server.start()
    for record in RECORDS[-2:]:
        timed(mirror.add, record)
    timed(mirror.cells, cells(RECORDS, [FAILURE], 3))
    assert mirror.close(300) is None
    assert not (study / STALE).exists()
    held = contents(server.uri)
    assert held == contents(calm)
    assert sum(role == "seed" for role, _ in held) == len(RECORDS) + 1


def test_a_database_that_is_locked_for_a_while_costs_no_record(tmp_path, monkeypatch):
    monkeypatch.setattr(mlflow_feed, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(mlflow_database, "BUSY_SECONDS", 0.2)
    empty_database(tmp_path)
    mirror = Mirror(tmp_path, "tiny", records=RECORDS[:2])
    awaited(lambda: _seeds(tmp_path / "mlflow.db") == 2)
    holder = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None, timeout=30)
    holder.execute("begin exclusive")
    try:
        for record in RECORDS[2:]:
            timed(mirror.add, record)
        awaited(lambda: mirror.reason is not None)
        assert "locked" in mirror.reason
    finally:
        holder.close()
    awaited(lambda: mirror.reason is None)
    mirror.cells(cells(RECORDS, [], 2))
    assert mirror.close(120) is None
    statuses = [run.info.status for (role, _), run in runs_of(tmp_path).items() if role == "seed"]
    assert statuses == ["FINISHED"] * len(RECORDS)


def _seeds(database):
    """Seed runs in a database, as somebody else sees it."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5)) as reader:
            return reader.execute("select count(*) from tags where key = 'role' and value = 'seed'").fetchone()[0]
    except sqlite3.OperationalError:
        return 0
