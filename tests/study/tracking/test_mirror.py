"""The MLflow mirror: what is shown of a record, and that no state of the store loses, doubles or invents anything."""

import math
import os
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from mlflow_store import QUIET, client_of, rows, runs_of
from tracked_study import make_failure, make_record

from l3masking.errors import EnvironmentFault, InputError
from study.results.aggregate import cells
from study.store.store import Store
from study.tracking import database as mlflow_database
from study.tracking import feed as mlflow_feed
from study.tracking.client import PARENT, Client
from study.tracking.database import prepare_database, resolve_uri
from study.tracking.mirror import STALE, Mirror, sync
from study.tracking.session import Session

pytestmark = QUIET


RECORDS = [make_record(0, "accuracy", key="0" * 32), make_record(1, "accuracy", key="1" * 32)]
RECORDS += [make_record(0, "macro_f1", key="2" * 32), make_record(1, "macro_f1", key="3" * 32)]
RECORDS += [make_record(0, "accuracy", "stl", key="4" * 32), make_record(0, "macro_f1", "stl", key="5" * 32)]
FAILURES = [make_failure(make_record(1, "accuracy", "stl", key="6" * 32))]


# ---------------------------------------------------------------- the store


def test_the_uri_is_resolved_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(Path("s"), None) == f"sqlite:///{tmp_path}/s/mlflow.db"
    assert resolve_uri(Path("s"), "sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert resolve_uri(Path("s"), "http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    assert resolve_uri(Path("s"), "sqlite:///x%20y.db?timeout=5") == f"sqlite:///{tmp_path}/x y.db?timeout=5"
    with pytest.raises(InputError, match="what follows a `\\?` is no part of the path; write %3F"):
        resolve_uri(Path("s"), "sqlite:///q?x=1/m.db")
    with pytest.raises(InputError, match=r"'\./mlruns'.*expected sqlite:///"):
        resolve_uri(Path("s"), "./mlruns")


@pytest.mark.parametrize(
    ("uri", "package"),
    [("postgresql://me:secret@db/x", "psycopg[binary]"), ("mysql+nodriver://db/x", "nodriver")],
)
def test_a_database_whose_package_is_missing_is_named_at_once(tmp_path, monkeypatch, uri, package):
    monkeypatch.setattr(mlflow_database.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EnvironmentFault, match=re.escape(f"pip install '{package}'")) as error:
        resolve_uri(tmp_path, uri)
    assert "secret" not in str(error.value)
    monkeypatch.setattr(mlflow_database.importlib.util, "find_spec", lambda name: object())
    assert resolve_uri(tmp_path, uri) == uri


def test_the_module_of_a_database_is_the_one_that_sqlalchemy_takes():
    from sqlalchemy.engine import make_url

    named = {scheme: make_url(f"{scheme}://host/db").get_driver_name() for scheme in mlflow_database.DRIVERS}
    assert {scheme: module.lower() for scheme, module in mlflow_database.DRIVERS.items()} == named


def test_importing_has_no_effect():
    code = (
        "import os, sys; before = dict(os.environ); import study.tracking.mirror; assert dict(os.environ) == before; "
    )
    code += "print(sorted({'mlflow', 'ray', 'sqlalchemy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """An empty MLflow database, made once as the mirror makes it, and by two callers at the same time."""
    path = tmp_path_factory.mktemp("template") / "mlflow.db"
    faults = []

    def prepare():
        try:
            prepare_database(path, replace=False)
        except (OSError, sqlite3.Error) as error:
            faults.append(error)

    threads = [threading.Thread(target=prepare) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults
    return path


@pytest.fixture
def folder(tmp_path, template):
    """A study folder whose database is up already, to save the seconds of its creation."""
    shutil.copy(template, tmp_path / "mlflow.db")
    return tmp_path


def mirror_all(folder, records=RECORDS, failures=FAILURES, wanted=2, paths=()):
    mirror = Mirror(folder, "tiny", description="A *tiny* study")
    for record in records:
        mirror.add(record)
    for failure in failures:
        mirror.add_failure(failure)
    mirror.cells(cells(records, failures, wanted))
    mirror.artifacts(paths)
    reason = mirror.close(60)
    assert (reason, mirror.reason) == (None, None)


def filled_store(folder, records=RECORDS, failures=FAILURES):
    store = Store(folder)
    for record in records:
        store.commit(record)
    for failure in failures:
        store.fail(failure)
    return store


def test_three_levels_with_true_values_and_statuses(folder):
    table = folder / "tables" / "results.md"
    table.parent.mkdir()
    table.write_text("| a |")
    mirror_all(folder, paths=[table])
    runs = runs_of(folder)
    assert len(runs) == 1 + 2 + len(RECORDS) + len(FAILURES)
    study = runs["study", "study"]
    masked, plain = runs["cell", "bert/acl/l3masking/mean=0.15"], runs["cell", "bert/acl/stl"]
    assert [masked.data.tags[PARENT], plain.data.tags[PARENT]] == [study.info.run_id] * 2
    for record in RECORDS:
        run = runs["seed", record["key"]]
        assert run.data.tags[PARENT] == (plain if record["method"] == "stl" else masked).info.run_id
        assert run.info.status == "FINISHED"
        assert run.info.end_time - run.info.start_time == 12500
        assert run.data.metrics["test_accuracy"] == record["test"]["accuracy"]
        assert run.data.params["optim.lr"] == "0.0001"
    failed = runs["seed", "6" * 32]
    assert (failed.info.status, failed.data.metrics) == ("FAILED", {})
    assert failed.data.tags["reason"] == "loss is nan at update 7"
    assert failed.data.tags[PARENT] == plain.info.run_id
    assert masked.info.status == "FINISHED"
    assert masked.data.metrics["test_accuracy_mean"] == 0.78125
    assert masked.data.metrics["test_accuracy_std"] == pytest.approx(0.0625 / math.sqrt(2), rel=1e-12)
    assert masked.data.metrics["test_macro_f1_n"] == 2
    assert masked.data.metrics["epochs_mean"] == 2.0
    assert plain.info.status == "KILLED"  # its second macro-F1 seed has not run
    assert plain.data.metrics["test_accuracy_failed"] == 1
    assert "test_accuracy_std" not in plain.data.metrics
    assert study.info.status == "KILLED"
    client = client_of(folder)
    history = client.get_metric_history(runs["seed", "0" * 32].info.run_id, "validation_accuracy")
    assert [(point.step, point.value) for point in history] == [(30, 0.5625), (60, 0.625), (90, 0.6875)]
    assert client.get_experiment_by_name("tiny").tags["mlflow.note.content"].startswith("A *tiny* study\n\n")
    assert [file.path for file in client.list_artifacts(study.info.run_id, "tables")] == [
        "tables/results.md",
        "tables/results_table.json",
    ]
    assert list((folder / "mlartifacts").rglob("results.md"))
    assert not (folder / STALE).exists()


def test_nothing_global_is_touched_and_telemetry_is_off(folder):
    mirror_all(folder, RECORDS[:1], [])
    import mlflow
    from mlflow.telemetry import get_telemetry_client

    assert "MLFLOW_TRACKING_URI" not in os.environ
    assert str(folder) not in mlflow.get_tracking_uri()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert get_telemetry_client() is None


def test_mirroring_again_doubles_nothing_and_a_deleted_database_comes_back(folder, template):
    mirror_all(folder)
    before, values = rows(folder), {key: run.data.metrics for key, run in runs_of(folder).items()}
    mirror = Mirror(folder, "tiny", description="A *tiny* study", records=RECORDS, failures=FAILURES)
    mirror.add(RECORDS[0])
    mirror.cells(cells(RECORDS, FAILURES, 2))
    assert mirror.close(60) is None
    assert rows(folder) == before
    (folder / "mlflow.db").unlink()
    shutil.copy(template, folder / "mlflow.db")  # as empty as one made again, and quicker
    assert sync(filled_store(folder), cells=cells(RECORDS, FAILURES, 2)).reason is None
    assert {key: run.data.metrics for key, run in runs_of(folder).items()} == values


def test_a_cell_logs_only_what_changed_and_what_is_gone_becomes_nan(folder, monkeypatch):
    mirror_all(folder, RECORDS[:2], [], wanted=2)
    name = ("cell", "bert/acl/l3masking/mean=0.15")
    run = runs_of(folder)[name]
    assert run.info.status == "FINISHED"
    with monkeypatch.context() as patch:
        patch.setattr(time, "time_ns", lambda: 10**18)  # the newest value wins though the clock went back to 2001
        mirror_all(folder, RECORDS[:1], [], wanted=1)
    client, again = client_of(folder), runs_of(folder)[name]
    assert again.info.run_id == run.info.run_id
    lengths = {m: len(client.get_metric_history(run.info.run_id, m)) for m in again.data.metrics}
    changed = {"n", "wanted", "mean", "std", "ci_low", "ci_high"}
    assert {m for m, length in lengths.items() if length == 2} == {f"test_accuracy_{stat}" for stat in changed}
    assert set(lengths.values()) == {1, 2}
    assert again.data.metrics["test_accuracy_mean"] == 0.75
    assert math.isnan(again.data.metrics["test_accuracy_std"])
    before = rows(folder)["metrics"]
    mirror_all(folder, RECORDS[:1], [], wanted=1)
    assert rows(folder)["metrics"] == before


def test_a_trial_that_failed_and_then_succeeded_is_one_finished_run(folder):
    record = RECORDS[0]
    mirror_all(folder, [], [make_failure(record)])
    failed = runs_of(folder)["seed", record["key"]]
    assert (failed.info.status, failed.data.metrics) == ("FAILED", {})
    mirror_all(folder, [], [make_failure(record, "out of memory")])
    assert runs_of(folder)["seed", record["key"]].data.tags["reason"] == "out of memory"
    mirror_all(folder, [record], [])
    done = runs_of(folder)["seed", record["key"]]
    assert done.info.run_id == failed.info.run_id
    assert done.info.status == "FINISHED"
    assert done.data.metrics["test_accuracy"] == 0.75
    assert "reason" not in done.data.tags
    mirror_all(folder, [], [make_failure(record)])
    assert runs_of(folder)["seed", record["key"]].info.status == "FINISHED"


def test_a_batch_whose_answer_was_lost_is_sent_again_without_doubling_a_point(folder, monkeypatch):
    original = Client.set_status

    def die(client, run, *status):
        if run.tags["role"] == "seed":
            raise ConnectionError("the answer was lost")
        original(client, run, *status)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "set_status", die)
        patch.setattr("study.tracking.client.open_bulk", lambda *_: None)  # as with a server
        mirror = Mirror(folder, "tiny")
        mirror.add(RECORDS[0])
        assert "the answer was lost" in mirror.close(60)
    assert runs_of(folder)["seed", "0" * 32].info.status == "RUNNING"
    points = rows(folder)["metrics"]
    assert len(points) == 10 + 3 * 8  # once-logged values, evaluations × curves
    mirror = Mirror(folder, "tiny", records=RECORDS[:1])
    assert mirror.close(60) is None
    assert rows(folder)["metrics"] == points
    assert runs_of(folder)["seed", "0" * 32].info.status == "FINISHED"


def test_twins_and_deleted_parents_are_mended(folder):
    mirror_all(folder, RECORDS[:1], [], wanted=1)
    client, first = client_of(folder), runs_of(folder)["seed", "0" * 32]
    client.create_run(first.info.experiment_id, tags={"role": "seed", "trial_key": "0" * 32})
    client.delete_run(first.data.tags[PARENT])
    mirror_all(folder, RECORDS[:1], [], wanted=1)
    runs = runs_of(folder)  # which also asserts that there is one run per key
    again, cell = runs["seed", "0" * 32], runs["cell", "bert/acl/l3masking/mean=0.15"]
    assert again.info.run_id == first.info.run_id
    assert again.data.tags[PARENT] == cell.info.run_id != first.data.tags[PARENT]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}


# ---------------------------------------------------------------- a store that is away, broken or slow


def test_a_store_that_cannot_be_opened_leaves_a_mark_and_sync_repairs(tmp_path, template, caplog):
    store, database = filled_store(tmp_path, RECORDS[:2], []), tmp_path / "mlflow.db"
    database.mkdir()
    mirror = Mirror(tmp_path, "tiny")
    for record in RECORDS[:2]:
        mirror.add(record)
    mirror.cells(cells(RECORDS[:2], [], 2))
    assert "is a folder" in mirror.close(60)
    mark = (tmp_path / STALE).read_text()
    assert mark.startswith(f"sqlite:///{database} ")
    assert "is a folder" in mark
    assert mark.count("\n") == 1
    assert len([line for line in caplog.records if line.name == "study.tracking.mirror"]) == 1
    database.rmdir()
    shutil.copy(template, database)
    assert sync(store, cells=cells(RECORDS[:2], [], 2)).reason is None
    assert not (tmp_path / STALE).exists()
    assert len(runs_of(tmp_path)) == 1 + 1 + 2


def test_a_locked_database_is_waited_for_briefly_and_repaired_later(folder, monkeypatch):
    monkeypatch.setattr(mlflow_database, "BUSY_SECONDS", 0.1)
    store = filled_store(folder, RECORDS[:2], [])
    holder = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        assert "locked" in sync(store, cells=[]).reason
    finally:
        holder.close()
    assert (folder / STALE).exists()
    assert sync(store, cells=cells(RECORDS[:2], [], 2)).reason is None
    assert not (folder / STALE).exists()
    assert runs_of(folder)["seed", "1" * 32].info.status == "FINISHED"


@pytest.mark.parametrize("kind", ["text", "unfinished"])
def test_a_file_that_is_no_mlflow_database_is_set_aside(tmp_path, template, monkeypatch, kind):
    monkeypatch.setattr(mlflow_database, "_create_database", lambda path: shutil.copy(template, path))
    database = tmp_path / "mlflow.db"
    if kind == "text":
        database.write_text("this is no database, and long enough to have a header of its own: " * 20)
    else:
        half = sqlite3.connect(database)
        half.execute("create table metrics (step integer)")
        half.commit()
        half.close()
    content = database.read_bytes()
    (tmp_path / "mlflow.db.broken").write_text("an earlier one")
    mirror_all(tmp_path, RECORDS[:1], [], wanted=1)
    assert (tmp_path / "mlflow.db.broken-1").read_bytes() == content
    assert (tmp_path / "mlflow.db.broken").read_text() == "an earlier one"
    assert runs_of(tmp_path)["seed", "0" * 32].info.status == "FINISHED"


def test_a_foreign_file_is_never_moved(tmp_path):
    foreign = tmp_path / "elsewhere.db"
    foreign.write_text("somebody's notes " * 100)
    study = tmp_path / "study"
    mirror = Mirror(study, "tiny", uri=f"sqlite:///{foreign}")
    mirror.add(RECORDS[0])
    assert "not a database" in mirror.close(60)
    assert foreign.read_text() == "somebody's notes " * 100


def test_an_outage_is_caught_up_before_the_end(folder, monkeypatch, caplog):
    monkeypatch.setattr(mlflow_feed, "RETRY_SECONDS", 0.0)
    caplog.set_level("INFO", "study.tracking.mirror")
    original, down = Session.write, threading.Event()
    down.set()

    def write(session, entries):
        if down.is_set():
            raise ConnectionError("no route to http://me:secret@host/")
        original(session, entries)

    monkeypatch.setattr(Session, "write", write)
    mirror = Mirror(folder, "tiny")
    for record in RECORDS[:2]:
        mirror.add(record)
    deadline = time.monotonic() + 60
    while not (folder / STALE).exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert "secret" not in (folder / STALE).read_text()
    down.clear()
    for record in RECORDS[2:4]:
        mirror.add(record)
    mirror.cells(cells(RECORDS[:4], [], 2))
    assert mirror.close(60) is None
    assert not (folder / STALE).exists()
    assert {run.info.status for (role, _), run in runs_of(folder).items() if role == "seed"} == {"FINISHED"}
    assert len(runs_of(folder)) == 1 + 1 + 4
    messages = [line.getMessage() for line in caplog.records if line.name == "study.tracking.mirror"]
    assert len(messages) == 2
    assert "secret" not in messages[0]
    assert messages[1] == "MLflow mirror has caught up"


def test_one_job_in_trouble_holds_up_no_other(folder):
    mirror = Mirror(folder, "tiny")
    mirror.artifacts([folder / "missing.png"])
    for record in RECORDS[:2]:
        mirror.add(record)
    assert "missing.png" in mirror.close(60)
    assert {run.info.status for (role, _), run in runs_of(folder).items() if role == "seed"} == {"FINISHED"}
    assert "missing.png" in (folder / STALE).read_text()


def test_a_server_that_is_away_costs_the_trials_nothing(tmp_path):
    mirror = Mirror(tmp_path, "tiny", uri="http://me:secret@127.0.0.1:9")
    begin = time.monotonic()
    for record in RECORDS:
        mirror.add(record)
    assert time.monotonic() - begin < 1.0
    assert "the server does not answer" in mirror.close(60)
    assert "127.0.0.1:9" in mirror.advice
    mark = (tmp_path / STALE).read_text()
    assert mark.startswith("http://***@127.0.0.1:9 ")
    assert "secret" not in mark


def test_closing_waits_no_longer_than_it_is_told(folder, monkeypatch):
    original, gate = Session.write, threading.Event()

    def write(session, entries):
        gate.wait(60)
        original(session, entries)

    monkeypatch.setattr(Session, "write", write)
    mirror = Mirror(folder, "tiny")
    mirror.add(RECORDS[0])
    begin = time.monotonic()
    assert mirror.close(0.2) == "not drained within 0.2 s"
    assert time.monotonic() - begin < 5.0
    assert (folder / STALE).exists()
    gate.set()
    mirror._feed._thread.join(60)
    assert not mirror._feed._thread.is_alive()
    assert mirror.reason is None
    assert not (folder / STALE).exists()


def test_a_mark_of_another_store_stays(folder):
    (folder / STALE).write_text("http://elsewhere:5000 away\n")
    mirror_all(folder, RECORDS[:1], [])
    assert (folder / STALE).read_text() == "http://elsewhere:5000 away\n"
