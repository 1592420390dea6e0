"""A tracking server that is killed in the middle and comes back: nothing is lost, doubled or waited for."""

import sqlite3
import time

import pytest
from driven_mirror import awaited, seeds_in
from mlflow_store import QUIET, contents, empty_database, runs_of
from tracked_study import make_failure, make_record, make_search_record
from tracking_server import TrackingServer

from study.results.aggregate import cells
from study.tracking import database as mlflow_database
from study.tracking import feed as mlflow_feed
from study.tracking.mirror import STALE, Mirror
from study.tracking.ui import free_port

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


@pytest.fixture
def server(tmp_path):
    empty_database(tmp_path / "server")
    made = TrackingServer(tmp_path / "server", free_port(5700))
    made.start()
    yield made
    made.kill()


def timed(call, *words):
    begin = time.monotonic()
    call(*words)
    assert time.monotonic() - begin < WAIT


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
    awaited(lambda: seeds_in(database) >= 3)  # in the middle of them
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
    awaited(lambda: seeds_in(tmp_path / "mlflow.db") == 2)
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
