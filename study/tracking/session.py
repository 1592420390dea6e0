"""What MLflow holds of one study, brought up to date: study, cell, seed and search runs, and the page that shows them.

Only `study.tracking.mirror` uses it, in its own thread; nothing here catches an error of the store. Every method may be
repeated: what stands already is left alone, half a run is completed.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from study.tracking.cells import Places, row_of
from study.tracking.client import PARENT, Client, StoredRun
from study.tracking.datasets import Source
from study.tracking.runs import CURRENT, MirrorEntry, RunView, cell_tags, parent_view
from study.tracking.views import Page

NOTE = "mlflow.note.content"
LOGGED = "mlflow.loggedArtifacts"
"""Tag of a run: which of its artifacts are tables."""
PARENTS = ("cell", "search-study")
"""Roles that other runs hang under."""


class Session:
    """One connection for one study."""

    def __init__(self, folder: Path, name: str, uri: str, sources: Mapping[str, Source]) -> None:
        """Bring the store up, find what is there and say that the study runs. `folder`: the study's root."""
        self._folder = folder.resolve()
        self._client = Client(self._folder, name, uri, sources)
        self._places: Places | None = None
        tags = {"role": "study", "study": name}
        self._view_of_study = RunView(role="study", key="study", name=name, tags=tags, status="RUNNING")
        self._study = self._client.ensure(self._view_of_study, None)
        self._client.set_status(self._study, "RUNNING")
        for (role, _), run in self._client.runs.items():
            if role in ("seed", "search") and run.status == "RUNNING":  # half a run, of a driver that died
                self._client.set_status(run, "KILLED")

    @property
    def keys(self) -> set[tuple[str, str]]:
        """Role and key of every run that is there."""
        return set(self._client.runs)

    @property
    def experiment(self) -> str:
        """The experiment's id."""
        return self._client.experiment

    def show(self, page: Page) -> None:
        """Set what the pages of the experiment and of the study run say."""
        self._client.set_experiment_tags(page.tags(self.experiment, self._study.run_id))
        self._client.set_tags(self._study, {NOTE: page.note(self.experiment, self._study.run_id)})

    def plan(self, places: Places) -> None:
        """Mark each seed run as belonging to the plan or not, under the cell that the plan has it in."""
        self._places = places
        for (role, key), run in list(self._client.runs.items()):
            if role != "seed":
                continue
            homes = [cell_tags(row_of(home)) for home in places.homes.get(key, ())]
            tags = {CURRENT: "yes" if homes else "no"}
            if homes and run.tags.get("cell") not in {home["cell"] for home in homes}:
                moved = RunView(role="seed", key=key, name="", tags={**homes[0], **tags}, status=run.status)
                tags = {**moved.tags, PARENT: self._parent(moved).run_id}
            self._client.set_tags(run, tags)

    def write(self, entries: Iterable[MirrorEntry]) -> None:
        """Write records and failures. A record outweighs a failure of its key, and is written once."""
        parents = {run.run_id for (role, _), run in self._client.runs.items() if role in PARENTS}
        fresh: dict[tuple[str, str], tuple[RunView, StoredRun]] = {}
        for entry in entries:
            place = entry.role, entry.record["key"]
            run = self._client.runs.get(place)
            if run is not None and run.status == "FINISHED" and run.tags.get(PARENT) in parents:
                continue  # the status is set last, so the run is whole, and a record never changes
            view = self._view(entry)
            parent = self._parent(view)
            if view.dataset is not None and view.role == "seed":
                self._client.list_dataset(parent, view.dataset)
            if run is not None or self._client.bulk is None:
                self._put(view, parent)
            elif place not in fresh or view.status == "FINISHED":
                fresh[place] = view, parent
        if fresh:
            self._client.insert(list(fresh.values()))

    def cells(self, views: Sequence[RunView]) -> None:
        """Refresh the cell runs; those that are not among `views` belong to earlier settings."""
        for view in views:
            self._refresh(view)
        keys = {view.key for view in views}
        for (role, key), run in self._client.runs.items():
            if role == "cell" and key not in keys:
                self._client.set_tags(run, {CURRENT: "no"})
                if run.status == "RUNNING":
                    self._client.set_status(run, "KILLED")

    def findings(self, views: Iterable[RunView]) -> None:
        """What searches have found, on the runs that their trainings hang under."""
        for view in views:
            self._refresh(view)

    def count(self, counts: Mapping[str, float]) -> None:
        """Show numbers on the study run."""
        self._client.refresh(self._study, replace(self._view_of_study, metrics=dict(counts)))

    def table(self, text: str, place: str) -> None:
        """Keep a table as MLflow's table viewer reads it, as an artifact of the study run."""
        self._client.api.log_text(self._study.run_id, text, place)
        self._client.set_tags(self._study, {LOGGED: f'[{{"path": "{place}", "type": "table"}}]'})

    def artifacts(self, paths: Iterable[Path]) -> None:
        """Attach files or folders to the study run, under the folder they have in the study."""
        for path in paths:
            parent = path.resolve().parent
            inside = parent != self._folder and parent.is_relative_to(self._folder)
            place = parent.relative_to(self._folder).as_posix() if inside else None
            self._client.api.log_artifact(self._study.run_id, str(path), place)

    def finish(self, cells: Iterable[RunView]) -> None:
        """True statuses at the end: nothing is left RUNNING; the study is the worst of its `cells` (none: KILLED)."""
        statuses = {cell.status for cell in cells} or {"KILLED"}
        worst = next(status for status in ("KILLED", "FAILED", "FINISHED") if status in statuses)
        for run in self._client.runs.values():
            if run.status == "RUNNING":
                self._client.set_status(run, worst if run is self._study else "KILLED")

    def _view(self, entry: MirrorEntry) -> RunView:
        """The run of an entry, under the cell that the plan has it in."""
        if entry.role != "seed":
            return entry.make(entry.record)
        known = self._places is None or entry.record["key"] in self._places.homes
        view = entry.make(self._places.placed(entry.record) if self._places else entry.record)
        view.tags[CURRENT] = "yes" if known else "no"
        return view

    def _parent(self, view: RunView) -> StoredRun:
        """The run that `view` hangs under, made if missing."""
        above = parent_view(view)
        run = self._client.runs.get((above.role, above.key))
        if run is None:
            run = self._client.ensure(above, self._study)
            self._client.log(run, above, {}, 0)
        return run

    def _put(self, view: RunView, parent: StoredRun) -> None:
        """One run through MLflow's client."""
        run = self._client.ensure(view, parent)
        if run.status == "FINISHED":
            return
        if view.status == "FAILED" == run.status and view.tags.items() <= run.tags.items():
            return
        if view.status == "FINISHED":
            self._client.drop_tag(run, "reason")
        self._client.log(run, view, view.metrics, view.end or 0)
        self._client.set_status(run, view.status, view.end)

    def _refresh(self, view: RunView) -> None:
        run = self._client.ensure(view, self._study)
        self._client.refresh(run, view)
        self._client.set_status(run, view.status, view.end)
