"""MLflow as a mirror of the records: written by the driver alone, in a thread of its own, never able to end a study.

The records are the truth and hold the curves, so there is no outbox on disk: a mirror that fell behind is marked by the
file `mlflow.stale` and made whole from the records by the next start or by `sync`. Importing this imports no mlflow.
"""

import logging
import queue
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.files import write_atomic
from study.mlflow_database import resolve_uri, set_environment
from study.mlflow_runs import RunView, cell_views, failure_view, seed_view
from study.mlflow_session import Session

if TYPE_CHECKING:
    from study.aggregate import Cell
    from study.store import Store

RETRY_SECONDS = 30.0
"""Rest between two attempts while the store is away; the end of the study makes one more at once."""
STALE = "mlflow.stale"
"""File in the study folder: one line with the store and what went wrong. Gone once the mirror is whole."""

Job = Callable[[Session], None]
Record = Mapping[str, Any]
log = logging.getLogger(__name__)


class Mirror:
    """A queue and the thread that empties it into MLflow. No method but the constructor raises; only `close` waits."""

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        description: str = "",
        uri: str | None = None,
        records: Iterable[Record] = (),
        failures: Iterable[Record] = (),
    ) -> None:
        """Start mirroring the study in `folder` (its root) as the experiment `name`.

        `records`, `failures`: all that the store holds now; what MLflow has already is found by one search and skipped.
        `uri`: None for `<folder>/mlflow.db`; InputError for one that is no database and no server.
        Start it after the driver's other imports: the thread imports mlflow, and two threads that import the same heavy
        packages at once wait for each other.
        """
        self.uri = resolve_uri(folder, uri)
        self.reason: str | None = None  # why the mirror is behind; None while it is not
        self._mark = folder.resolve() / STALE
        self._open = lambda: Session(folder, name, description, self.uri)
        self._cells: list[RunView] = []
        self._session: Session | None = None
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._retry_at = -float("inf")  # monotonic seconds
        set_environment(self.uri)  # not in the thread: others may be reading the environment by then
        self._jobs.put(_open_only)
        for record in records:
            self.add(record)
        for failure in failures:
            self.add_failure(failure)
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)
        self._thread.start()

    def add(self, record: Record) -> None:
        """Mirror one committed record."""
        self._jobs.put(lambda session: session.put(seed_view(record)))

    def add_failure(self, failure: Record) -> None:
        """Mirror one failed trial: a status and a reason."""
        self._jobs.put(lambda session: session.put(failure_view(failure)))

    def cells(self, cells: Sequence["Cell"]) -> None:
        """Refresh the cell runs; the study's status at the end follows from the last call."""
        self._cells = cell_views(cells)
        self._jobs.put(lambda session: session.put(*self._cells))

    def artifacts(self, paths: Iterable[Path]) -> None:
        """Attach tables and figures (files or folders, as they are when their turn comes) to the study run."""
        chosen = list(paths)
        self._jobs.put(lambda session: session.artifacts(chosen))

    def close(self, timeout: float = 60.0) -> str | None:
        """Drain, set the final statuses and stop, in at most `timeout` seconds. Why the mirror is stale, or None."""
        self._jobs.put(lambda session: session.finish(self._cells))
        self._jobs.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._behind(f"not drained within {timeout:g} s")
        return self.reason

    def _run(self) -> None:
        backlog: list[Job] = []
        whole = False
        try:
            while (job := self._jobs.get()) is not None:
                backlog.append(job)
                if time.monotonic() >= self._retry_at:
                    backlog = self._attempt(backlog)
            whole = not self._attempt(backlog)
        finally:  # also where a defect of ours ends the thread
            if not whole and self.reason is None:
                self._behind("the mirror's thread ended early")

    def _attempt(self, backlog: list[Job]) -> list[Job]:
        """Do the jobs in order; returns those still to be done.

        After an error the session is opened anew, which searches MLflow again: a request whose answer was lost is then
        not repeated. If that fails too, the store is away and the rest waits; else it was that job's own trouble.
        """
        left: list[Job] = []
        for position, job in enumerate(backlog):
            try:
                self._session = self._session or self._open()
            except _tracking_errors() as error:
                self._fault(error)
                return left + backlog[position:]
            try:
                job(self._session)
            except _tracking_errors() as error:
                self._fault(error)
                left.append(job)
        if not left:
            self._caught_up()
        return left

    def _fault(self, error: Exception) -> None:
        self._session = None
        self._retry_at = time.monotonic() + RETRY_SECONDS
        message = str(error).partition("[SQL:")[0]  # SQLAlchemy appends the statement and its values
        self._behind(f"{type(error).__name__}: {message}")

    def _behind(self, reason: str) -> None:
        """Mark the mirror stale; one line per outage."""
        reason = _redacted(reason)[:300]
        if self.reason is None:
            log.warning("MLflow mirror is behind (%s); the study goes on, the next run catches up", reason)
        self.reason = reason
        try:
            write_atomic(self._mark, f"{_redacted(self.uri)} {reason}\n".encode())
        except OSError as error:
            log.warning("%s cannot be written (%s)", self._mark, error.strerror)

    def _caught_up(self) -> None:
        """Everything asked for is in MLflow: take the mark away, if it speaks of this store."""
        if self.reason is not None:
            log.info("MLflow mirror has caught up")
        self.reason = None
        try:
            if self._mark.read_text().startswith(f"{_redacted(self.uri)} "):
                self._mark.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s cannot be removed (%s)", self._mark, error.strerror)


def sync(
    store: "Store",
    uri: str | None = None,
    *,
    name: str | None = None,
    description: str = "",
    cells: Sequence["Cell"],
    paths: Iterable[Path] = (),
    timeout: float = 600.0,
) -> str | None:
    """Rebuild the MLflow view of a study from its records; hold `store.lock()` around it. Why it failed, or None.

    `name`: experiment, by default the study named in the records, or the folder's name. `cells`, `paths`: as for
    `Mirror.cells` and `Mirror.artifacts`. `timeout` in seconds.
    """
    records = store.records()
    if name is None:
        name = records[0]["study"] if records else store.root.resolve().name
    mirror = Mirror(store.root, name, description=description, uri=uri, records=records, failures=store.failures())
    mirror.cells(cells)
    mirror.artifacts(paths)
    return mirror.close(timeout)


def _open_only(session: Session) -> None:
    """First job: bring the database up while the first trials train."""


def _redacted(text: str) -> str:
    """`text` on one line, without the user and password of any URL in it."""
    return re.sub(r"//[^/@\s]+@", "//***@", " ".join(text.split()))


def _tracking_errors() -> tuple[type[Exception], ...]:
    """What a store that is down, locked, full, broken or of another version raises. Evaluated once something was."""
    ours: tuple[type[Exception], ...] = (OSError, ImportError, sqlite3.Error)  # OSError: requests and filelock too
    try:
        from alembic.util import CommandError
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError
    except ImportError:
        return ours
    return (*ours, MlflowException, SQLAlchemyError, CommandError)
