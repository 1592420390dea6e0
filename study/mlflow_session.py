"""One connection to MLflow for one study: brings the store up, finds the runs that are there, writes what is missing.

Only `study.tracking` uses it, in its own thread; nothing here catches an error of the store. MLflow is imported by the
first `Session`, never by importing this module (it takes seconds).
"""

import math
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.mlflow_database import DATABASE, prepare_database
from study.mlflow_runs import RunView

PARENT = "mlflow.parentRunId"
PAGE = 1000
"""Runs per page of the one search that finds what is there."""


@dataclass(kw_only=True)
class Run:
    """What this session knows of one MLflow run."""

    run_id: str
    status: str
    tags: dict[str, str]
    metrics: dict[str, float]


class Session:
    """Writes run views. Every method may be repeated: what stands already is left alone, half a run is completed."""

    def __init__(self, folder: Path, name: str, description: str, uri: str) -> None:
        """`uri` as from `resolve_uri`; artifacts go to `<folder>/mlartifacts` unless a server keeps them."""
        from mlflow import MlflowClient

        self._folder = folder.resolve()
        path = uri.removeprefix("sqlite:///")
        if path != uri:
            prepare_database(Path(path), replace=Path(path) == self._folder / DATABASE)
        self._client: Any = MlflowClient(tracking_uri=uri, registry_uri=uri)
        self._experiment = self._open_experiment(name, description, uri)
        self._runs: dict[tuple[str, str], Run] = {}
        self._find_runs()
        self._study = self._ensure("study", name, "study", {"role": "study", "study": name}, parent=None)
        self._set_status(self._study, "RUNNING")

    def put(self, *views: RunView) -> None:
        """Write seed runs and cell runs. A record outweighs a failure of its key."""
        for view in views:
            if view.role == "cell":
                self._put_cell(view)
            else:
                self._put_seed(view)

    def artifacts(self, paths: Iterable[Path]) -> None:
        """Attach files or folders to the study run, under the folder they have in the study."""
        for path in paths:
            parent = path.resolve().parent
            inside = parent != self._folder and parent.is_relative_to(self._folder)
            place = parent.relative_to(self._folder).as_posix() if inside else None
            self._client.log_artifact(self._study.run_id, str(path), place)

    def finish(self, cells: Iterable[RunView]) -> None:
        """True statuses at the end: nothing is left RUNNING; the study is the worst of its `cells` (none: KILLED)."""
        statuses = {cell.status for cell in cells} or {"KILLED"}
        worst = next(status for status in ("KILLED", "FAILED", "FINISHED") if status in statuses)
        for run in self._runs.values():
            if run.status == "RUNNING":
                self._set_status(run, worst if run is self._study else "KILLED")

    def _put_seed(self, view: RunView) -> None:
        run = self._runs.get(("seed", view.key))
        cell = {name: view.tags[name] for name in ("cell", "encoder", "dataset", "method", "variant", "mask_mean")}
        parent = self._ensure("cell", cell["cell"], cell["cell"], {"role": "cell", **cell}, parent=self._study)
        run = self._ensure("seed", view.key, view.name, view.tags, parent=parent, start=view.start)
        if run.status == "FINISHED":
            return  # the status was set last, so the run is whole, and a record never changes
        if view.status == "FAILED" == run.status and view.tags.items() <= run.tags.items():
            return
        if view.status == "FINISHED" and "reason" in run.tags:
            self._client.delete_tag(run.run_id, "reason")
            del run.tags["reason"]
        self._log(run, view, view.tags, view.metrics)
        self._set_status(run, view.status, view.end)

    def _put_cell(self, view: RunView) -> None:
        """Log what changed, one step on. A value that is no more becomes NaN: MLflow cannot take a metric back."""
        run = self._ensure("cell", view.key, view.name, view.tags, parent=self._study)
        gone = dict.fromkeys(run.metrics.keys() - view.metrics.keys(), math.nan)
        wanted = {**gone, **view.metrics}
        changed = {name: value for name, value in wanted.items() if not _same(run.metrics.get(name), value)}
        if changed:  # the latest value is the one with the highest step, so the count and not the clock decides
            step = int(run.tags.get("refresh", "0")) + 1
            self._log(run, view, {**view.tags, "refresh": str(step)}, changed, step)
        self._set_status(run, view.status, view.end)

    def _log(self, run: Run, view: RunView, tags: dict[str, str], metrics: dict[str, float], step: int = 0) -> None:
        """Everything of one run in one batch call."""
        from mlflow.entities import Metric, Param, RunTag

        moment = view.end or time.time_ns() // 1_000_000
        values = [Metric(name, value, moment, step) for name, value in metrics.items()]
        values += [Metric(point.key, point.value, moment, point.step) for point in view.curve]
        params = [Param(name, value) for name, value in view.params.items()]
        new = [RunTag(name, value) for name, value in tags.items() if run.tags.get(name) != value]
        self._client.log_batch(run.run_id, metrics=values, params=params, tags=new)
        run.tags |= tags
        run.metrics |= metrics

    def _ensure(
        self, role: str, key: str, name: str, tags: dict[str, str], *, parent: Run | None, start: int | None = None
    ) -> Run:
        """The run of this identity, made if missing, hung under `parent` if its own was deleted."""
        run = self._runs.get((role, key))
        link = {PARENT: parent.run_id} if parent else {}
        if run is None:
            made = self._client.create_run(self._experiment, start_time=start, tags={**tags, **link}, run_name=name)
            run = Run(run_id=made.info.run_id, status="RUNNING", tags={**tags, **link}, metrics={})
            self._runs[role, key] = run
        elif parent and run.tags.get(PARENT) != parent.run_id:
            self._client.set_tag(run.run_id, PARENT, parent.run_id)
            run.tags |= link
        return run

    def _set_status(self, run: Run, status: str, end: int | None = None) -> None:
        if run.status != status:
            if status == "RUNNING":
                self._client.update_run(run.run_id, status=status)
            else:
                self._client.set_terminated(run.run_id, status=status, end_time=end)
            run.status = status

    def _open_experiment(self, name: str, description: str, uri: str) -> str:
        """The id of the study's experiment, made if missing, restored if deleted."""
        note = {"mlflow.note.content": description} if description else {}
        found = self._client.get_experiment_by_name(name)
        if found is None:
            place = None if uri.startswith("http") else (self._folder / "mlartifacts").as_uri()
            return self._client.create_experiment(name, artifact_location=place, tags=note)
        if found.lifecycle_stage == "deleted":
            self._client.restore_experiment(found.experiment_id)
        for tag, value in note.items():
            if found.tags.get(tag) != value:
                self._client.set_experiment_tag(found.experiment_id, tag, value)
        return found.experiment_id

    def _find_runs(self) -> None:
        """Index the runs by role and key. Of twins (a request that was sent again) the first finished one stays."""
        token: str | None = None
        while token != "":
            page = self._client.search_runs([self._experiment], max_results=PAGE, page_token=token)
            token = page.token or ""
            for found in page:
                tags, role = found.data.tags, found.data.tags.get("role", "")
                key = tags.get({"study": "study", "cell": "cell", "seed": "trial_key"}.get(role, ""))
                if key is None:
                    continue  # somebody else's run
                run = Run(run_id=found.info.run_id, status=found.info.status, tags=tags, metrics=found.data.metrics)
                twin = self._runs.setdefault((role, key), run)
                if twin is not run:
                    if run.status == "FINISHED" and twin.status != "FINISHED":
                        self._runs[role, key], run = run, twin
                    self._client.delete_run(run.run_id)


def _same(old: float | None, new: float) -> bool:
    return old is not None and (old == new or (math.isnan(old) and math.isnan(new)))
