"""One experiment in an MLflow store: the runs that are there, by role and key, and the calls that change them.

Only `study.tracking.session` uses it; nothing here catches an error of the store. MLflow is imported by the first
`Client`, never by importing this module (it takes seconds).
"""

import math
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from study.tracking.bulk import NewRun, open_bulk
from study.tracking.database import DATABASE, prepare_database, relocate, sqlite_path
from study.tracking.datasets import DATA_CONTEXT, DATA_SCHEMA, UNKNOWN_SOURCE, DatasetView, Source
from study.tracking.runs import RunView

PARENT = "mlflow.parentRunId"
REFRESHED = "refreshed"
"""Tag of a run whose values change: timestamp of the newest, milliseconds."""
ROLE_KEYS = {"study": "role", "cell": "cell", "seed": "trial_key", "search-study": "cell", "search": "trial_key"}
"""Role -> the tag that identifies a run within it."""
PAGE_SIZE = 1000
"""Runs per page of the one search that finds what is there."""


@dataclass(kw_only=True)
class StoredRun:
    """What is known of one MLflow run."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]
    params: set[str] = field(default_factory=set)
    """Names of those that are set."""


class Client:
    """Calls to MLflow that know what they have written."""

    def __init__(self, folder: Path, name: str, uri: str, sources: Mapping[str, Source]) -> None:
        """`uri` as from `resolve_uri`; artifacts go to `<folder>/mlartifacts` unless a server keeps them."""
        from mlflow import MlflowClient

        self._artifacts = None if uri.startswith("http") else (folder / "mlartifacts").as_uri()
        path = sqlite_path(uri)
        if path is not None:
            own = path == folder / DATABASE
            prepare_database(path, replace=own)
            if own and self._artifacts:
                relocate(path, self._artifacts)
        self.api: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._sources = sources
        found = self._open_experiment(name)
        self.experiment: str = found.experiment_id
        self._tags: dict[str, str] = dict(found.tags)
        self.bulk = open_bulk(uri, self.experiment, found.artifact_location, sources)
        self.runs: dict[tuple[str, str], StoredRun] = {}
        self._listed: set[tuple[str, DatasetView]] = set()
        self._find_runs()

    def ensure(self, view: RunView, parent: StoredRun | None) -> StoredRun:
        """The run of this identity, made if missing, hung under `parent` if its own was deleted."""
        run = self.runs.get((view.role, view.key))
        link = {PARENT: parent.run_id} if parent else {}
        if run is None:
            tags = {**view.tags, **link}
            made = self.api.create_run(self.experiment, start_time=view.start, tags=tags, run_name=view.name)
            run = StoredRun(run_id=made.info.run_id, status="RUNNING", tags=tags, metrics={})
            self.runs[view.role, view.key] = run
        else:
            self.set_tags(run, link)
        return run

    def insert(self, views: Sequence[tuple[RunView, StoredRun]]) -> None:
        """Write runs with their parents that are not there yet, all at once; only where there is `bulk`."""
        assert self.bulk is not None
        new = [
            NewRun(uuid.uuid4().hex, view, {**view.tags, PARENT: parent.run_id, "mlflow.runName": view.name})
            for view, parent in views
        ]
        if new:
            self.bulk.insert(new)
        for run in new:
            known = StoredRun(run_id=run.run_id, status=run.view.status, tags=run.tags, metrics={})
            self.runs[run.view.role, run.view.key] = known

    def log(self, run: StoredRun, view: RunView, metrics: Mapping[str, float], moment: int) -> None:
        """Everything of one run in one batch call. Params that are set already stay: MLflow refuses to change them."""
        from mlflow.entities import Metric, Param, RunTag

        values = [Metric(name, value, moment, 0) for name, value in metrics.items()]
        values += [Metric(point.key, point.value, moment, point.step) for point in view.curve]
        params = [Param(name, value) for name, value in view.params.items() if name not in run.params]
        new = [RunTag(name, value) for name, value in view.tags.items() if run.tags.get(name) != value]
        if values or params or new:
            self.api.log_batch(run.run_id, metrics=values, params=params, tags=new)
        run.tags |= view.tags
        run.params |= view.params.keys()
        run.metrics |= metrics
        if view.dataset is not None:
            self.list_dataset(run, view.dataset)

    def refresh(self, run: StoredRun, view: RunView) -> None:
        """Log what changed of a run whose values change. One that is no more becomes NaN: MLflow takes none back.

        All values have step 0, so that they are drawn as bars; of several the one with the highest timestamp counts.
        """
        gone = dict.fromkeys(run.metrics.keys() - view.metrics.keys(), math.nan)
        wanted = {**gone, **view.metrics}
        changed = {name: value for name, value in wanted.items() if not _same(run.metrics.get(name), value)}
        moment = max(time.time_ns() // 1_000_000, int(run.tags.get(REFRESHED, "0")) + 1)  # clocks go back
        tags = {**view.tags, REFRESHED: str(moment)} if changed else view.tags
        self.log(run, replace(view, tags=tags), changed, moment)

    def list_dataset(self, run: StoredRun, data: DatasetView) -> None:
        """Note that a run read a dataset; again does nothing."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        if (run.run_id, data) in self._listed:
            return
        source = self._sources.get(data.name, UNKNOWN_SOURCE)
        what = Dataset(data.name, data.digest, source.kind, source.place, DATA_SCHEMA)
        self.api.log_inputs(run.run_id, datasets=[DatasetInput(what, [InputTag(*DATA_CONTEXT)])])
        self._listed.add((run.run_id, data))

    def set_tags(self, run: StoredRun, tags: Mapping[str, str]) -> None:
        """Set the tags that differ."""
        for name, value in tags.items():
            if run.tags.get(name) != value:
                self.api.set_tag(run.run_id, name, value)
                run.tags[name] = value

    def drop_tag(self, run: StoredRun, name: str) -> None:
        """Take a tag away, where it is."""
        if name in run.tags:
            self.api.delete_tag(run.run_id, name)
            del run.tags[name]

    def set_status(self, run: StoredRun, status: str, end: int | None = None) -> None:
        """Set the status if it differs; `end` in milliseconds, none: now."""
        if run.status == status:
            return
        if status == "RUNNING":
            self.api.update_run(run.run_id, status=status)
        else:
            self.api.set_terminated(run.run_id, status=status, end_time=end)
        run.status = status

    def set_experiment_tags(self, tags: Mapping[str, str]) -> None:
        """Set the tags of the experiment that differ."""
        for name, value in tags.items():
            if self._tags.get(name) != value:
                self.api.set_experiment_tag(self.experiment, name, value)
                self._tags[name] = value

    def _open_experiment(self, name: str) -> Any:
        """The study's experiment, made if missing, restored if deleted."""
        found = self.api.get_experiment_by_name(name)
        if found is None:
            return self.api.get_experiment(self.api.create_experiment(name, artifact_location=self._artifacts))
        if found.lifecycle_stage == "deleted":
            self.api.restore_experiment(found.experiment_id)
        return found

    def _find_runs(self) -> None:
        """Index the runs by role and key. Of twins (a request that was sent again) the first finished one stays."""
        token: str | None = None
        while token != "":
            page = self.api.search_runs([self.experiment], max_results=PAGE_SIZE, page_token=token)
            token = page.token or ""
            for found in page:
                tags, role = found.data.tags, found.data.tags.get("role", "")
                key = tags.get(ROLE_KEYS.get(role, ""))
                if key is None:
                    continue  # somebody else's run
                values = {} if role in ("seed", "search") else found.data.metrics  # those are never refreshed
                run = StoredRun(run_id=found.info.run_id, status=found.info.status, tags=tags, metrics=values)
                run.params = set() if run.status == "FINISHED" and not values else set(found.data.params)
                twin = self.runs.setdefault((role, key), run)
                if twin is not run:
                    if run.status == "FINISHED" and twin.status != "FINISHED":
                        self.runs[role, key], run = run, twin
                    self.api.delete_run(run.run_id)


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))
