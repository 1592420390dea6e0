"""Faults of the store while a study goes on: no point is lost or doubled, and no trial waits."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest
from driven_mirror import LONGEST_WAIT, Driver, Made, awaited, seeds_in, sync_of
from late_servers import LateServer
from mlflow_store import QUIET, client_of, contents, empty_database, runs_of

from study.tracking import database as mlflow_database
from study.tracking import feed as mlflow_feed
from study.tracking.client import PARENT
from study.tracking.mirror import STALE

pytestmark = QUIET

# long: the first two cases of the test that uses it
LONG = pytest.mark.long


@pytest.mark.parametrize(
    ("kind", "left"),
    [
        ("deleted", 3),
        ("of before", 0),
        pytest.param("deleted", 0, marks=LONG),
        pytest.param("emptied", 0, marks=LONG),
        pytest.param("emptied", 3, marks=LONG),
        pytest.param("of before", 3, marks=LONG),
    ],
)
def test_a_database_that_is_lost_while_a_run_goes_on_is_whole_at_its_end(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, left: int
) -> None:
    """Also where it is lost after the last trial: what was there already is put there again."""
    template = empty_database(tmp_path / "template")
    monkeypatch.setattr(mlflow_database, "_create_database", lambda path: shutil.copy(template, path))
    monkeypatch.setattr(mlflow_feed, "RETRY_SECONDS", 0.2)
    root = tmp_path / "study"
    empty_database(root)
    driver = Driver(made, root)
    driver.trials_end(early := len(driver.left) - left)
    database = root / "mlflow.db"
    awaited(lambda: seeds_in(database) == early)
    if kind == "deleted":
        database.unlink()
    elif kind == "emptied":
        os.truncate(database, 0)
    else:
        shutil.copy(template, database)
    assert driver.finish() is None
    assert contents(root, "tracked") == made.held
    assert not (root / STALE).exists()
    assert driver.longest < LONGEST_WAIT


def test_what_a_killed_driver_left_running_is_closed_by_the_next_start(made: Made, tmp_path: Path) -> None:
    root = tmp_path / "study"
    empty_database(root)
    first = Driver(made, root)
    first.trials_end(len(first.left))
    assert first.mirror.close(60) is None
    client, runs = client_of(root), runs_of(root, "tracked")
    half = next(run for (role, _), run in runs.items() if role == "seed")
    for run in (half, runs["study", "study"]):  # as a SIGKILL leaves them
        client.update_run(run.info.run_id, status="RUNNING")
    tags = {"role": "seed", "trial_key": "9" * 32, "cell": "gone", PARENT: half.data.tags[PARENT]}
    dead = client.create_run(half.info.experiment_id, tags=tags)
    again = Driver(made, root)
    awaited(lambda: client.get_run(dead.info.run_id).info.status == "KILLED")
    assert client.get_run(runs["study", "study"].info.run_id).info.status == "RUNNING"
    assert again.finish() is None
    assert client.get_run(half.info.run_id).info.status == "FINISHED"
    client.delete_run(dead.info.run_id)
    assert contents(root, "tracked") == made.held


def test_a_server_that_answers_too_slowly_holds_up_no_trial_and_loses_no_point(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")  # instead of 5
    server = LateServer()
    with server.serving():
        driver = Driver(made, tmp_path / "study", server.uri)
        begin = time.monotonic()
        reason = driver.finish(10.0)
        waited = time.monotonic() - begin
    assert reason is not None
    assert server.asked > 0
    assert waited < 12
    assert driver.longest < 1.0
    assert (driver.root / STALE).read_text().startswith(f"{server.uri} ")
    empty_database(driver.root)
    assert sync_of(driver.root, driver.resolved).reason is None
    assert contents(driver.root, "tracked") == made.held
