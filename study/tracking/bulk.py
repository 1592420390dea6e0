"""Many finished runs into a local MLflow database at once: one transaction instead of half a dozen for each run.

MLflow's client needs several commits and a tenth of a second per run, which at ten thousand records is half an hour.
The rows here are those that its client writes (a test compares every table); where the database is of another schema
than the one known, `open_bulk` says None and the client does the work.
"""

from __future__ import annotations

import contextlib
import sqlite3
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from study.tracking.database import open_database, sqlite_path
from study.tracking.datasets import DATA_CONTEXT, DATA_SCHEMA, UNKNOWN_SOURCE, DatasetView, Source
from study.tracking.runs import RunView

REVISION = "dc11669786a5"
"""Of MLflow's schema (3.17). With another one: run tests/test_mlflow_bulk.py against it, then change this."""

TABLE_COLUMNS = {  # table -> what is written into it
    "datasets": "dataset_uuid experiment_id name digest dataset_source_type dataset_source dataset_schema",
    "runs": "run_uuid name source_type source_name entry_point_name user_id status start_time end_time source_version "
    "lifecycle_stage artifact_uri experiment_id",
    "tags": "key value run_uuid",
    "params": "key value run_uuid",
    "metrics": "key value timestamp run_uuid step is_nan",
    "latest_metrics": "key value timestamp step is_nan run_uuid",
    "inputs": "input_uuid source_type source_id destination_type destination_id step",
    "input_tags": "input_uuid name value",
}


class NewRun(NamedTuple):
    """A run to be written."""

    run_id: str  # 32 hex digits
    view: RunView
    tags: dict[str, str]  # of the view and of MLflow: run name, parent


class Bulk:
    """Writes runs that are not there yet."""

    def __init__(self, path: Path, experiment: str, artifacts: str, sources: Mapping[str, Source]) -> None:
        """`experiment`: its id; `artifacts`: its artifact location; `sources`: of datasets, by name."""
        self._path, self._experiment, self._artifacts = path, int(experiment), artifacts.rstrip("/")
        self._sources = sources

    def insert(self, runs: Sequence[NewRun]) -> None:
        """All of them, or none: sqlite3.Error where the database is away, locked, full or broken."""
        now = time.time_ns() // 1_000_000
        with contextlib.closing(open_database(self._path, "rw")) as connection, connection:
            connection.execute("begin immediate")
            datasets = self._datasets(connection, runs)
            rows: dict[str, list[tuple[Any, ...]]] = {table: [] for table in TABLE_COLUMNS if table != "datasets"}
            for run in runs:
                self._add(rows, run, now)
                if run.view.dataset is not None:
                    link = uuid.uuid4().hex
                    rows["inputs"].append((link, "DATASET", datasets[run.view.dataset], "RUN", run.run_id, 0))
                    rows["input_tags"].append((link, *DATA_CONTEXT))
            for table, values in rows.items():
                connection.executemany(_insert(table), values)

    def _add(self, rows: dict[str, list[tuple[Any, ...]]], run: NewRun, now: int) -> None:
        """The rows of one run but for its dataset."""
        view, key = run.view, run.run_id
        start, end = (now if moment is None else moment for moment in (view.start, view.end))
        place = f"{self._artifacts}/{key}/artifacts"
        who = (key, view.name, "UNKNOWN", "", "", "unknown", view.status, start, end, "", "active", place)
        rows["runs"].append((*who, self._experiment))
        rows["tags"] += [(name, value, key) for name, value in run.tags.items()]
        rows["params"] += [(name, value, key) for name, value in view.params.items()]
        points = {(name, 0, value) for name, value in view.metrics.items()}
        points |= {(point.key, point.step, point.value) for point in view.curve}
        latest = {}
        for name, step, value in sorted(points):  # the last of a name is its latest: MLflow's order
            rows["metrics"].append((name, value, end, key, step, 0))
            latest[name] = (name, value, end, step, 0, key)
        rows["latest_metrics"] += latest.values()

    def _datasets(self, connection: sqlite3.Connection, runs: Sequence[NewRun]) -> dict[DatasetView, str]:
        """The ids of the datasets, which are made where they are missing."""
        where = "select dataset_uuid from datasets where experiment_id = ? and name = ? and digest = ?"
        ids = {}
        for data in dict.fromkeys(run.view.dataset for run in runs):
            if data is not None:
                source = self._sources.get(data.name, UNKNOWN_SOURCE)
                row = (uuid.uuid4().hex, self._experiment, *data, *source, DATA_SCHEMA)
                connection.execute(_insert("datasets", "insert or ignore"), row)
                ids[data] = connection.execute(where, (self._experiment, *data)).fetchone()[0]
        return ids


def open_bulk(uri: str, experiment: str, artifacts: str, sources: Mapping[str, Source]) -> Bulk | None:
    """For a sqlite store of the known schema; None for any other."""
    path = sqlite_path(uri)
    if path is None or {"?", "#"} & {*uri, *artifacts}:
        return None
    with contextlib.closing(open_database(path, "ro")) as connection:
        known = connection.execute("select version_num from alembic_version").fetchall() == [(REVISION,)]
    return Bulk(path, experiment, artifacts, sources) if known else None


def _insert(table: str, verb: str = "insert") -> str:
    columns = TABLE_COLUMNS[table].split()
    return f"{verb} into {table} ({', '.join(columns)}) values ({', '.join('?' * len(columns))})"
