"""Runs written straight into a local database are those that MLflow's own client would have written."""

import sqlite3

import pytest
from mlflow_store import QUIET, client_of, contents, empty_database, rows
from tracked_study import make_failure, make_record, make_search_record

from study.results.aggregate import cells
from study.tracking.bulk import REVISION, open_bulk
from study.tracking.client import Client
from study.tracking.mirror import Mirror

pytestmark = QUIET

RECORDS = [make_record(seed, objective) for seed in range(3) for objective in ("accuracy", "macro_f1")]
RECORDS = [record | {"key": f"{number:032x}"} for number, record in enumerate(RECORDS)]
RECORDS[1]["curve"] = [RECORDS[1]["curve"][0] | {"update": update, "epoch": 0.25} for update in (0, 30, 60)]
FAILURE = make_failure(make_record(1, "accuracy", "stl", key="6" * 32))
SEARCHED = [make_search_record(seed, key=f"{seed:032x}") for seed in (1_000_000, 1_000_001)]


def mirror_all(folder):
    empty_database(folder)
    mirror = Mirror(folder, "tiny", records=RECORDS, failures=[FAILURE], searched=SEARCHED)
    mirror.cells(cells(RECORDS, [FAILURE], 3))
    assert mirror.close(120) is None
    return folder


def test_every_table_holds_what_the_client_writes(tmp_path, monkeypatch):
    inserted = mirror_all(tmp_path / "bulk")
    with monkeypatch.context() as patch:
        patch.setattr("study.tracking.client.open_bulk", lambda *_: None)
        called = mirror_all(tmp_path / "client")
    assert contents(inserted) == contents(called)
    ours, theirs = columns(inserted), columns(called)
    assert ours.keys() == theirs.keys()
    for table, values in ours.items():
        assert values == theirs[table], table


def columns(folder):
    """Per table and column: the number of values, of nulls, and the values where they are no ids, times or places."""
    varying = {"run_uuid", "dataset_uuid", "input_uuid", "source_id", "destination_id", "artifact_uri", "timestamp"}
    varying |= {"start_time", "end_time", "creation_time", "last_update_time", "artifact_location"}
    links = {"mlflow.note.content", "mlflow.parentRunId", "refreshed"}
    found = {}
    with sqlite3.connect(folder / "mlflow.db") as reader:
        names = [name for (name,) in reader.execute("select name from sqlite_master where type = 'table'")]
        for table in names:
            cursor = reader.execute(f"select * from {table}")
            heads = [head[0] for head in cursor.description]
            for row in cursor:
                entry = dict(zip(heads, row, strict=True))
                if entry.get("key") in links:
                    entry["value"] = "..."
                shown = {k: (v is None, type(v).__name__) if k in varying else v for k, v in entry.items()}
                found.setdefault(table, []).append(repr(shown))
    reader.close()
    return {table: sorted(values) for table, values in found.items()}


def test_the_schema_is_the_one_that_this_mlflow_makes(tmp_path):
    path = empty_database(tmp_path)
    with sqlite3.connect(path) as reader:
        assert reader.execute("select version_num from alembic_version").fetchall() == [(REVISION,)]
    reader.close()


def test_a_database_of_another_schema_and_a_server_are_left_to_the_client(tmp_path):
    path = empty_database(tmp_path)
    assert open_bulk(f"sqlite:///{path}", "1", "file:///a", {}) is not None
    assert open_bulk("http://127.0.0.1:9", "1", "mlflow-artifacts:/1", {}) is None
    with sqlite3.connect(path) as writer:
        writer.execute("update alembic_version set version_num = 'another'")
    writer.close()
    assert open_bulk(f"sqlite:///{path}", "1", "file:///a", {}) is None


def test_all_of_a_batch_or_nothing_is_written(tmp_path, monkeypatch):
    empty_database(tmp_path)
    mirror = Mirror(tmp_path, "tiny")
    assert mirror.close(60) is None
    before = rows(tmp_path)["runs"]
    client = Client(tmp_path, "tiny", f"sqlite:///{tmp_path}/mlflow.db", {})
    from study.tracking.runs import parent_view, seed_view

    view = seed_view(RECORDS[0])
    cell = client.ensure(parent_view(view), None)
    broken = seed_view(RECORDS[1])
    broken.params["bad"] = None
    with pytest.raises(sqlite3.IntegrityError):
        client.insert([(view, cell), (broken, cell)])
    assert len(rows(tmp_path)["runs"]) == len(before) + 1  # the cell
    assert len(client_of(tmp_path).search_runs(["1"], "tags.role = 'seed'")) == 0
