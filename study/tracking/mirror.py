"""MLflow as a mirror of the records: written by the driver alone, in a thread of its own, never able to end a study.

The records are the truth and hold the curves, so there is no outbox on disk: a mirror that fell behind is marked by the
file `mlflow.stale` and made whole from the records by the next start or by `sync`. Importing this imports no mlflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.space.search_section import SEARCH_FOLDER
from study.store.record import Failure, Record
from study.store.store import Store
from study.tracking.cells import Places, Tally, cell_views, table
from study.tracking.database import resolve_uri, set_environment
from study.tracking.datasets import source_of
from study.tracking.feed import STALE as STALE  # looked for here
from study.tracking.feed import Feed, Job
from study.tracking.runs import (
    MirrorEntry,
    RunView,
    failed_search_view,
    failure_view,
    finding_view,
    search_view,
    seed_view,
)
from study.tracking.session import Session
from study.tracking.views import CELLS, TABLE, link

if TYPE_CHECKING:
    from l3masking.data.table import DataSpec
    from study.plan.trials import Trial
    from study.results.aggregate import Cell
    from study.space.spec import Generated


END_SECONDS = 60.0
"""How long the end of a run waits for MLflow at most. What is not written by then is written by `sync`."""
STOP_SECONDS = 10.0
"""The same for a run that was stopped, which has to end soon."""
COUNTS = ("n", "failed", "wanted")
"""Cell metrics that are summed on the study run."""


class Mirror:
    """What the driver tells MLflow. No method but the constructor raises; only `close` waits."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        description: str = "",
        uri: str | None = None,
        datasets: Mapping[str, DataSpec | Generated] | None = None,
        records: Iterable[Record] = (),
        failures: Iterable[Failure] = (),
        searched: Iterable[Record] = (),
        live: bool = True,
        warn: bool = True,
    ) -> None:
        """Start mirroring the study in `folder` (its root) as the experiment `name`.

        `records`, `failures`, `searched` (records of searches): all that the store holds now; what MLflow has already
        is found by one search and skipped. `datasets`: where the data came from, by name. `uri`: None for
        `<folder>/mlflow.db`; InputError for one that is no database and no server, EnvironmentFault for a database
        whose package is not installed. `live`: cell runs follow the records, once `plan` was
        called. `warn`: log one line when the store is away.
        Start it after the driver's other imports: the thread imports mlflow, and two threads that import the same heavy
        packages at once wait for each other.
        """
        self.uri = resolve_uri(folder, uri)
        self.page: str | None = None  # what opens the cells, from the root of a server; None until there are some
        self._folder, self._name = folder, name
        self._sources = {known: source_of(spec) for known, spec in (datasets or {}).items()}
        self._tally = Tally(description, live=live)
        self._cells: list[RunView] = []
        self._said: dict[str, Sequence[Job]] = {"page": [self._show]}  # last, of each kind that is not in the store
        self._feed = Feed(folder, self.uri, self._connect, self._tally, self._everything, warn=warn)
        set_environment(self.uri)  # not in the thread: others may be reading the environment by then
        self._feed.put(self._show)
        for record in records:
            self.add(record)
        for failure in failures:
            self.add_failure(failure)
        for record in searched:
            self.add_search(record)
        self._feed.start()

    @property
    def reason(self) -> str | None:
        """Why the mirror is behind; None while it is not."""
        return self._feed.reason

    @property
    def advice(self) -> str:
        """What to do about `reason`."""
        return self._feed.advice

    def add(self, record: Record) -> None:
        """Mirror one committed record."""
        self._feed.put(MirrorEntry("seed", record, seed_view))

    def add_failure(self, failure: Failure) -> None:
        """Mirror one failed trial: a status and a reason."""
        self._feed.put(MirrorEntry("seed", failure, failure_view))

    def add_search(self, record: Record) -> None:
        """Mirror one training of a search, beside the cells and never in them."""
        self._feed.put(MirrorEntry("search", record, search_view))

    def add_search_failure(self, failure: Failure) -> None:
        """Mirror one training of a search that failed."""
        self._feed.put(MirrorEntry("search", failure, failed_search_view))

    def findings(self, found: Iterable[Mapping[str, Any]]) -> None:
        """Note what searches have found, each with the fields of a `study.search.stage.Finding`."""
        views = [finding_view(finding) for finding in found]
        self._say("findings", lambda session: session.findings(views))

    def plan(self, trials: Iterable[Trial]) -> None:
        """Say which trials the study asks for. Cell runs then follow the records while trials go on, and what belongs
        to earlier settings is marked as not current."""
        places = Places(trials)
        self._tally.plan(places)
        self._feed.put(lambda session: session.plan(places))
        self._feed.put(self._show)

    def cells(self, cells: Sequence[Cell]) -> None:
        """Refresh the cell runs and their table; the study's status at the end follows from the last call."""
        self._cells = views = cell_views(cells)
        text, counts = table(cells), {f"records_{count}": sum(getattr(c, count) for c in cells) for count in COUNTS}
        self._tally.shown(cells)
        self._say(
            "cells",
            lambda session: session.cells(views),
            lambda session: session.count(counts),
            lambda session: session.table(text, TABLE),
            self._show,
        )

    def artifacts(self, paths: Iterable[Path]) -> None:
        """Attach tables and figures (files or folders, as they are when their turn comes) to the study run."""
        chosen = list(paths)
        self._say("artifacts", lambda session: session.artifacts(chosen))

    def close(self, timeout: float | None = END_SECONDS) -> str | None:
        """Drain, set the final statuses and stop, in at most `timeout` seconds. Why the mirror is stale, or None."""
        self._feed.put(lambda session: session.finish(self._cells))
        return self._feed.close(timeout)

    def _say(self, kind: str, *jobs: Job) -> None:
        self._said[kind] = jobs
        for job in jobs:
            self._feed.put(job)

    def _everything(self) -> list[Job]:
        """All that the study has said so far; what came of its trials from its records, in the feed's thread."""
        return [*_entries(self._folder), *(job for jobs in list(self._said.values()) for job in jobs)]

    def _connect(self) -> Session:
        session = Session(self._folder, self._name, self.uri, self._sources)
        if self._tally.places is not None:
            session.plan(self._tally.places)
        return session

    def _show(self, session: Session) -> None:
        """Say on the experiment's page what there is to see."""
        page = self._tally.page()
        session.show(page)
        self.page = link(session.experiment, CELLS) if page.objectives else None


def _entries(root: Path) -> Iterator[MirrorEntry]:
    """What came of the trials of a study and of its searches, as its folder holds it."""
    store, searched = Store(root), Store(root / SEARCH_FOLDER)
    yield from (MirrorEntry("seed", record, seed_view) for record in store.records())
    yield from (MirrorEntry("seed", failure, failure_view) for failure in store.failures())
    yield from (MirrorEntry("search", record, search_view) for record in searched.records())
    yield from (MirrorEntry("search", failure, failed_search_view) for failure in searched.failures())


def sync(
    store: Store,
    uri: str | None = None,
    *,
    cells: Sequence[Cell],
    name: str | None = None,
    trials: Iterable[Trial] | None = None,
    findings: Iterable[Mapping[str, Any]] = (),
    paths: Iterable[Path] = (),
    timeout: float | None = None,
    **more: Any,
) -> Mirror:
    """Rebuild the MLflow view of a study from its records; hold `store.lock()` around it. The mirror, closed.

    Its `reason` says why that failed, or None. `name`: experiment, by default the study named in the records, or the
    folder's name. `cells`, `trials`, `findings`, `paths`: as for the methods of `Mirror`, `more` as for its
    constructor. `timeout` in seconds, none: however long it takes.
    """
    if name is None:
        name = next((record["study"] for record in store.records()), store.root.resolve().name)
    mirror = Mirror(store.root, name, uri=uri, live=False, warn=False, **more)
    if trials is not None:
        mirror.plan(trials)
    for entry in _entries(store.root):
        mirror._feed.put(entry)
    mirror.findings(findings)
    mirror.cells(cells)
    mirror.artifacts(paths)
    mirror.close(timeout)
    return mirror
