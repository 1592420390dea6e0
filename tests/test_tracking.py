"""The MLflow mirror: what is shown of a record, and that no state of the store loses, doubles or invents anything."""

import json
import math
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from l3masking.errors import InputError
from study import mlflow_database, mlflow_runs, tracking
from study.aggregate import Cell, cells
from study.mlflow_database import prepare_database, resolve_uri
from study.mlflow_session import PARENT, Session
from study.store import Store
from study.tracking import STALE, Mirror, sync

# One of MLflow 3.17's own migrations uses a loader that SQLAlchemy 2.1 deprecates; it runs when a database is made.
pytestmark = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def make_record(seed=0, objective="accuracy", method="l3masking", **changes):
    stl = method == "stl"
    loss = {"primary": 0.5} if stl else {"primary": 0.5, "mlm": 2.25}
    curve = [
        {"update": 30 * i, "epoch": 0.5 * i, "train_loss": loss, "task_weights": dict.fromkeys(loss, 0.5)}
        | {"validation": {"accuracy": 0.5 + 0.0625 * i, "macro_f1": 0.25, "loss": 1.5}}
        for i in (1, 2, 3)
    ]
    record = {
        "schema": 1,
        "key": "a" * 32,
        "trajectory": "f" * 32,
        "study": "tiny",
        "encoder": "bert",
        "dataset": "acl",
    }
    record |= {"method": method, "variant": None, "mask_mean": None if stl else 0.15, "objective": objective}
    record |= {
        "seed": seed,
        "revision": "abc",
        "data_hash": "def",
        "settings": {"optim": {"lr": 1e-4, "betas": [0.9, 0.98]}},
    }
    record |= {"labels": ["a", "b"], "test": {"accuracy": 0.75 + seed / 16, "macro_f1": 0.5}}
    record |= {"validation": {"accuracy": 0.6875, "macro_f1": 0.25}, "epochs_to_best": 1.5, "epochs_to_stop": 2.0}
    record |= {"updates": 90, "primary_examples": 640, "mlm_passes": 0.0 if stl else 2.0, "curve": curve}
    record["run"] = {"seconds": 12.5, "host": "h", "device": "cpu", "threads": 1, "commit": None, "attempts": 1}
    record["run"]["started"] = "2026-01-02T03:04:05+00:00"
    return record | changes


def make_failure(record, reason="loss is\nnan at update 7"):
    identity = ("key", "encoder", "dataset", "method", "variant", "mask_mean", "objective", "seed")
    return {name: record[name] for name in identity} | {"reason": reason, "traceback": "Traceback ...", "attempts": 2}


def make_cell(**changes):
    values = {"encoder": "bert", "dataset": "acl", "method": "rtm", "variant": None, "mask_mean": 0.15}
    values |= {"objective": "accuracy", "n": 2, "failed": 0, "wanted": 2, "mean": 0.5, "std": 0.125, "ci_low": 0.25}
    values |= {"ci_high": 0.75, "validation_mean": 0.5, "epochs_to_best_mean": 1.0, "epochs_to_stop_mean": 3.0}
    return Cell(**(values | {"values": {0: 0.5, 1: 0.5}} | changes))


RECORDS = [make_record(0, "accuracy", key="0" * 32), make_record(1, "accuracy", key="1" * 32)]
RECORDS += [make_record(0, "macro_f1", key="2" * 32), make_record(1, "macro_f1", key="3" * 32)]
RECORDS += [make_record(0, "accuracy", "stl", key="4" * 32), make_record(0, "macro_f1", "stl", key="5" * 32)]
FAILURES = [make_failure(make_record(1, "accuracy", "stl", key="6" * 32))]


# ---------------------------------------------------------------- what is shown of a record


def test_a_seed_run_shows_values_once_and_curves_by_update():
    view = mlflow_runs.seed_view(make_record(3))
    assert (view.role, view.key, view.status) == ("seed", "a" * 32, "FINISHED")
    expected = {"role": "seed", "trial_key": "a" * 32, "trajectory": "f" * 32, "objective": "accuracy", "seed": "3"}
    expected |= {"cell": "bert/acl/l3masking/mean=0.15", "encoder": "bert", "dataset": "acl", "method": "l3masking"}
    expected |= {
        "variant": "none",
        "mask_mean": "0.15",
        "commit": "none",
        "device": "cpu",
        "host": "h",
        "attempts": "1",
    }
    assert view.tags == expected
    assert view.params == {"optim.lr": "0.0001", "optim.betas": "[0.9, 0.98]", "revision": "abc", "data_hash": "def"}
    once = {"test_accuracy": 0.9375, "test_macro_f1": 0.5, "validation_best": 0.6875, "epochs_to_best": 1.5}
    once |= {"epochs_to_stop": 2.0, "updates": 90.0, "primary_examples": 640.0, "mlm_passes": 2.0, "seconds": 12.5}
    assert view.metrics == once
    accuracy = [(point.step, point.value) for point in view.curve if point.key == "validation_accuracy"]
    assert accuracy == [(30, 0.5625), (60, 0.625), (90, 0.6875)]
    names = {"epoch", "validation_accuracy", "validation_macro_f1", "validation_loss"}
    names |= {"train_loss_primary", "train_loss_mlm", "task_weight_primary", "task_weight_mlm"}
    assert {point.key for point in view.curve} == names
    assert view.start == 1767323045000
    assert view.end == view.start + 12500


def test_validation_best_is_of_the_objective():
    assert mlflow_runs.seed_view(make_record(objective="macro_f1")).metrics["validation_best"] == 0.25


def test_an_arm_without_masking_has_no_mlm_curve_and_no_mean():
    view = mlflow_runs.seed_view(make_record(method="stl"))
    assert not [point for point in view.curve if "mlm" in point.key]
    assert view.tags["mask_mean"] == "none"
    assert view.tags["cell"] == "bert/acl/stl"


def test_values_that_are_not_finite_are_left_out():
    curve = [{"update": 5, "epoch": 1.0, "validation": {"accuracy": math.nan, "loss": math.inf}, "train_loss": None}]
    view = mlflow_runs.seed_view(make_record(curve=curve, epochs_to_best=None, test={"accuracy": -math.inf}))
    assert [point.key for point in view.curve] == ["epoch"]
    assert not view.metrics.keys() & {"test_accuracy", "epochs_to_best"}


def test_settings_are_flattened_to_stable_text():
    settings = {"a": {"b": {"c": 1, "d": None}, "e": "x"}, "f": True, "g": {}, "h (i)": [1, "z"], "long": "y" * 7000}
    expected = {"a.b.c": "1", "a.b.d": "null", "a.e": "x", "f": "true", "g": "{}", "h _i_": '[1, "z"]'}
    flat = mlflow_runs.flatten(settings)
    assert flat == expected | {"long": "y" * 6000}
    assert mlflow_runs.flatten(json.loads(json.dumps(settings))) == flat


def test_a_failed_trial_has_a_reason_and_no_number():
    view = mlflow_runs.failure_view(FAILURES[0])
    assert (view.status, view.metrics, view.curve, view.params) == ("FAILED", {}, (), {})
    assert view.tags["reason"] == "loss is nan at update 7"
    assert view.tags["trial_key"] == "6" * 32
    assert "Traceback" not in str(view)


def test_cells_of_one_setting_share_a_run_and_a_missing_statistic_stays_missing():
    lone = make_cell(objective="macro_f1", n=1, wanted=1, std=None, ci_low=None, ci_high=None, epochs_to_stop_mean=9.0)
    first, other = mlflow_runs.cell_views([make_cell(), make_cell(variant="x"), lone])
    assert first.key == "bert/acl/rtm/mean=0.15"
    assert other.key == "bert/acl/rtm/x/mean=0.15"
    accuracy = {"mean": 0.5, "std": 0.125, "n": 2.0, "failed": 0.0, "wanted": 2.0, "ci_low": 0.25, "ci_high": 0.75}
    expected = {f"test_accuracy_{name}": value for name, value in accuracy.items()}
    expected |= {"test_macro_f1_mean": 0.5, "test_macro_f1_n": 1, "test_macro_f1_failed": 0, "test_macro_f1_wanted": 1}
    expected |= {"accuracy_epochs_to_best_mean": 1.0, "accuracy_epochs_to_stop_mean": 3.0, "epochs_to_best_mean": 1.0}
    expected |= {"macro_f1_epochs_to_best_mean": 1.0, "macro_f1_epochs_to_stop_mean": 9.0, "epochs_to_stop_mean": 3.0}
    assert first.metrics == expected | {"epochs_mean": 3.0}


@pytest.mark.parametrize(
    ("n", "failed", "status"),
    [(2, 0, "FINISHED"), (1, 1, "FAILED"), (0, 2, "FAILED"), (1, 0, "KILLED"), (0, 1, "KILLED")],
)
def test_the_status_of_a_cell_is_true(n, failed, status):
    assert mlflow_runs.cell_views([make_cell(n=n, failed=failed)])[0].status == status


def test_different_cells_have_different_names():
    settings = [{"variant": v, "mask_mean": m} for v in (None, "x") for m in (None, 0.15, 0.15000000000000002, 0.5)]
    names = {mlflow_runs.cell_name({"encoder": "e", "dataset": "d", "method": "m"} | setting) for setting in settings}
    assert len(names) == len(settings)


# ---------------------------------------------------------------- the store


def test_the_uri_is_resolved_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert resolve_uri(Path("s"), None) == f"sqlite:///{tmp_path}/s/mlflow.db"
    assert resolve_uri(Path("s"), "sqlite:///x.db") == f"sqlite:///{tmp_path}/x.db"
    assert resolve_uri(Path("s"), "http://127.0.0.1:5000") == "http://127.0.0.1:5000"
    with pytest.raises(InputError, match=r"'\./mlruns'.*expected sqlite:///"):
        resolve_uri(Path("s"), "./mlruns")


def test_importing_has_no_effect():
    code = "import os, sys; before = dict(os.environ); import study.tracking; assert dict(os.environ) == before; "
    code += "print(sorted({'mlflow', 'ray', 'sqlalchemy', 'pandas'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """Whatever the mirror sets is taken back afterwards."""
    for name in (*mlflow_database.ENVIRONMENT, "MLFLOW_SQLALCHEMYSTORE_POOLCLASS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


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


def client_of(folder):
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=resolve_uri(folder, None))


def runs_of(folder):
    """Runs by (role, key or name)."""
    client = client_of(folder)
    experiment = client.get_experiment_by_name("tiny")
    found = client.search_runs([experiment.experiment_id], max_results=1000)
    named = {(r.data.tags["role"], r.data.tags.get("trial_key", r.data.tags.get("cell", ""))): r for r in found}
    assert len(named) == len(found)
    return named


def rows(folder):
    """Every row of the database that a repetition could double."""
    tables = dict.fromkeys(("metrics", "latest_metrics", "params", "tags", "experiments", "experiment_tags"), "*")
    tables["runs"] = "run_uuid, name, status, start_time, lifecycle_stage"  # the study's end time moves
    reader = sqlite3.connect(folder / "mlflow.db")
    found = {table: sorted(map(repr, reader.execute(f"select {what} from {table}"))) for table, what in tables.items()}
    reader.close()
    return found


def test_three_levels_with_true_values_and_statuses(folder):
    table = folder / "tables" / "results.md"
    table.parent.mkdir()
    table.write_text("| a |")
    mirror_all(folder, paths=[table])
    runs = runs_of(folder)
    assert len(runs) == 1 + 2 + len(RECORDS) + len(FAILURES)
    study = runs["study", ""]
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
    assert client.get_experiment_by_name("tiny").tags["mlflow.note.content"] == "A *tiny* study"
    assert [file.path for file in client.list_artifacts(study.info.run_id, "tables")] == ["tables/results.md"]
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
    shutil.copy(template, folder / "mlflow.db")  # as empty as one made anew, and quicker
    assert sync(filled_store(folder), cells=cells(RECORDS, FAILURES, 2)) is None
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
    original = Session._set_status

    def die(session, run, *status):
        if run.tags["role"] == "seed":
            raise ConnectionError("the answer was lost")
        original(session, run, *status)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "_set_status", die)
        mirror = Mirror(folder, "tiny")
        mirror.add(RECORDS[0])
        assert "the answer was lost" in mirror.close(60)
    assert runs_of(folder)["seed", "0" * 32].info.status == "RUNNING"
    points = rows(folder)["metrics"]
    assert len(points) == 9 + 3 * 8  # once-logged values, evaluations × curves
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
    assert len([line for line in caplog.records if line.name == "study.tracking"]) == 1
    database.rmdir()
    shutil.copy(template, database)
    assert sync(store, cells=cells(RECORDS[:2], [], 2)) is None
    assert not (tmp_path / STALE).exists()
    assert len(runs_of(tmp_path)) == 1 + 1 + 2


def test_a_locked_database_is_waited_for_briefly_and_repaired_later(folder, monkeypatch):
    monkeypatch.setattr(mlflow_database, "BUSY_SECONDS", 0.1)
    store = filled_store(folder, RECORDS[:2], [])
    holder = sqlite3.connect(folder / "mlflow.db", isolation_level=None)
    holder.execute("begin exclusive")
    try:
        assert "locked" in sync(store, cells=[])
    finally:
        holder.close()
    assert (folder / STALE).exists()
    assert sync(store, cells=cells(RECORDS[:2], [], 2)) is None
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
    monkeypatch.setattr(tracking, "RETRY_SECONDS", 0.0)
    caplog.set_level("INFO", "study.tracking")
    original, down = Session.put, threading.Event()
    down.set()

    def put(session, *views):
        if down.is_set():
            raise ConnectionError("no route to http://me:secret@host/")
        original(session, *views)

    monkeypatch.setattr(Session, "put", put)
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
    messages = [line.getMessage() for line in caplog.records if line.name == "study.tracking"]
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
    assert "127.0.0.1" in mirror.close(60)
    mark = (tmp_path / STALE).read_text()
    assert mark.startswith("http://***@127.0.0.1:9 ")
    assert "secret" not in mark


def test_closing_waits_no_longer_than_it_is_told(folder, monkeypatch):
    original, gate = Session.put, threading.Event()

    def put(session, *views):
        gate.wait(60)
        original(session, *views)

    monkeypatch.setattr(Session, "put", put)
    mirror = Mirror(folder, "tiny")
    mirror.add(RECORDS[0])
    begin = time.monotonic()
    assert mirror.close(0.2) == "not drained within 0.2 s"
    assert time.monotonic() - begin < 5.0
    assert (folder / STALE).exists()
    gate.set()
    mirror._thread.join(60)
    assert not mirror._thread.is_alive()
    assert mirror.reason is None
    assert not (folder / STALE).exists()


def test_a_mark_of_another_store_stays(folder):
    (folder / STALE).write_text("http://elsewhere:5000 away\n")
    mirror_all(folder, RECORDS[:1], [])
    assert (folder / STALE).read_text() == "http://elsewhere:5000 away\n"
