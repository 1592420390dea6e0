"""MLflow stores for tests: an empty one in no time, and what a store holds, so that two of them can be compared."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest

from study.tracking.client import PARENT, REFRESHED, ROLE_KEYS
from study.tracking.database import ENVIRONMENT, prepare_database, resolve_uri

# One of MLflow 3.17's own migrations uses a loader that SQLAlchemy 2.1 deprecates; it runs when a database is made.
QUIET = pytest.mark.filterwarnings("ignore:The ``noload`` loader strategy:DeprecationWarning")


def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the mirror sets is taken back after the test, and nothing of the caller's is there."""
    for name in (*ENVIRONMENT, "MLFLOW_SQLALCHEMYSTORE_POOLCLASS", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@lru_cache(maxsize=1)
def _template() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory()
    prepare_database(Path(folder.name) / "mlflow.db", replace=False)
    return folder


def empty_database(folder: Path) -> Path:
    """An empty database in a study's folder, as one made again, and quicker."""
    folder.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(Path(_template().name) / "mlflow.db", folder / "mlflow.db"))


def client_of(place: Path | str) -> Any:
    """A client of the database of a study's folder, or of a URI."""
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=resolve_uri(place, None) if isinstance(place, Path) else place)


def runs_of(place: Path | str, name: str = "tiny") -> dict[tuple[str, str], Any]:
    """Runs by role and key; one of each."""
    client = client_of(place)
    experiment = client.get_experiment_by_name(name)
    found = client.search_runs([experiment.experiment_id], max_results=5000)
    named = {(run.data.tags["role"], run.data.tags[ROLE_KEYS[run.data.tags["role"]]]): run for run in found}
    assert len(named) == len(found)
    return named


def contents(place: Path | str, name: str = "tiny") -> dict[tuple[str, str], Any]:
    """All that a store holds of a study, without ids and clock readings."""
    client, runs = client_of(place), runs_of(place, name)
    keys = {run.info.run_id: key for key, run in runs.items()}
    held = {}
    for key, run in runs.items():
        tags = {tag: value for tag, value in run.data.tags.items() if tag not in (PARENT, REFRESHED)}
        tags = {tag: value for tag, value in tags.items() if tag != "mlflow.note.content"}  # its links hold ids
        curves = {
            metric: [(point.step, point.value) for point in client.get_metric_history(run.info.run_id, metric)]
            for metric in run.data.metrics
        }
        if key[0] in ("cell", "study", "search-study"):  # how often they were refreshed is not compared
            curves = {metric: points[-1:] for metric, points in curves.items()}
        data = [(given.dataset.name, given.dataset.digest) for given in run.inputs.dataset_inputs]
        above = keys.get(run.data.tags.get(PARENT, ""))
        shown = run.info.run_name, run.info.status, run.data.params, run.data.metrics
        held[key] = (*shown, tags, {metric: sorted(points) for metric, points in curves.items()}, data, above)
    return held


def rows(folder: Path) -> dict[str, list[str]]:
    """Every row of a database that a repetition could double."""
    tables = dict.fromkeys(("metrics", "latest_metrics", "params", "tags", "experiments", "experiment_tags"), "*")
    tables |= dict.fromkeys(("datasets", "inputs", "input_tags"), "*")
    tables["runs"] = "run_uuid, name, status, start_time, lifecycle_stage"  # the study's end time moves
    reader = sqlite3.connect(folder / "mlflow.db")
    found = {table: sorted(map(repr, reader.execute(f"select {what} from {table}"))) for table, what in tables.items()}
    reader.close()
    return found
