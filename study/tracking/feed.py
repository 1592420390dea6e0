"""The thread that feeds a session: jobs in order, outages marked and waited out, never an exception to the outside."""

import logging
import queue
import re
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from study.store.whole_files import write_atomic
from study.tracking.advice import advice
from study.tracking.cells import Tally
from study.tracking.database import redacted
from study.tracking.runs import MirrorEntry
from study.tracking.session import Session

RETRY_SECONDS = 30.0
"""Rest between two attempts while the store is away; the end of the study makes one more at once."""
CELLS_SECONDS = 60.0
"""Least time between two refreshes of the cell runs while trials go on."""
BATCH = 200
"""Records that are written at once, where the store takes several at once."""
STALE = "mlflow.stale"
"""File in the study folder: one line with the store and what went wrong. Gone once the mirror is whole."""

UNREACHABLE = re.compile(r"Failed to (?:establish a new connection: |resolve )([^\"]+)")
"""In the message of a request that found no server: the reason, behind addresses and attempts."""

Job = Callable[[Session], None] | MirrorEntry
log = logging.getLogger("study.tracking.mirror")


class Feed:
    """A queue and the thread that empties it. `put` returns at once; only `close` waits."""

    def __init__(
        self,
        folder: Path,
        uri: str,
        connect: Callable[[], Session],
        tally: Tally,
        again: Callable[[], Iterable[Job]],
        *,
        warn: bool = True,
    ) -> None:
        """`folder`: the study's root; `connect` opens a session, in the thread; `tally` hears of every record.

        `again`: everything so far, for a store that has lost runs. `warn`: say so when the store is away; else the
        caller does, from `reason`.
        """
        self.reason: str | None = None  # why the mirror is behind; None while it is not
        self.advice = ""  # what to do about that
        self._advise = lambda message: advice(message, folder.resolve(), uri)
        self._uri, self._connect, self._tally, self._again = redacted(uri), connect, tally, again
        self._level = logging.WARNING if warn else logging.DEBUG
        self._mark = folder.resolve() / STALE
        self._session: Session | None = None
        self._seen: set[tuple[str, str]] = set()  # runs of earlier sessions
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._retry_at = self._refresh_at = -float("inf")  # monotonic seconds
        self._thread = threading.Thread(target=self._run, name="mlflow-mirror", daemon=True)

    def start(self) -> None:
        """Begin with what is in the queue."""
        self._thread.start()

    def put(self, job: Job) -> None:
        """To be done when its turn comes."""
        self._jobs.put(job)

    def close(self, timeout: float | None) -> str | None:
        """Do all that is left, in at most `timeout` seconds (none: no limit); why it is behind, or None."""
        self._jobs.put(None)
        self._thread.join(timeout)
        if self._thread.is_alive():
            self._behind(f"not drained within {timeout:g} s")
        return self.reason

    def _run(self) -> None:
        backlog: list[Job] = []
        ended = whole = False
        try:
            while not ended:
                taken = self._take(bool(backlog))
                ended = None in taken
                for job in taken:
                    if isinstance(job, MirrorEntry):
                        self._tally.add(job)
                backlog += [job for job in taken if job is not None]
                if ended or time.monotonic() >= self._retry_at:
                    backlog = self._attempt(backlog)
                if not ended and not backlog and self._tally.changed and time.monotonic() >= self._refresh_at:
                    backlog = self._attempt(self._cells())
            whole = not backlog
        finally:  # also where a defect of ours ends the thread
            if not whole and self.reason is None:
                self._behind("the mirror's thread ended early")

    def _take(self, waiting: bool) -> list[Job | None]:
        """All jobs there are, at least one unless it is time to try those that are `waiting`, or to refresh."""
        due = [self._refresh_at] * self._tally.changed
        moments = [self._retry_at] if waiting else due  # what waits comes before a refresh
        taken: list[Job | None] = []
        try:
            taken.append(self._jobs.get(timeout=max(0.0, min(moments) - time.monotonic()) if moments else None))
            while True:
                taken.append(self._jobs.get_nowait())
        except queue.Empty:
            return taken

    def _cells(self) -> list[Job]:
        """The cell runs as the records so far have them."""
        self._refresh_at = time.monotonic() + CELLS_SECONDS
        views = self._tally.views()

        def refresh(session: Session) -> None:
            session.cells(views)

        return [refresh] if views else []

    def _attempt(self, backlog: Sequence[Job]) -> list[Job]:
        """Do the jobs in order, neighbouring records at once; returns those still to be done.

        After an error the session is opened anew, which searches MLflow again: a request whose answer was lost is then
        not repeated, and a store that was deleted is filled again. If that fails too, the store is away and the rest
        waits. A job that fails in a new session is itself the trouble; it is looked for among records that were written
        at once.
        """
        left: list[Job] = []
        groups = deque(_grouped(backlog))
        new = False
        while groups:
            try:
                if self._session is None:
                    self._session, new = self._connect(), True
                    if not self._seen <= self._session.keys:  # deleted, or an older copy was put in its place
                        self._seen.clear()
                        groups = deque(_grouped([*self._again(), *(job for group in groups for job in group)]))
            except _tracking_errors() as error:
                self._fault(error)
                return left + [job for group in groups for job in group]
            group = groups.popleft()
            try:
                _do(group, self._session)
            except _tracking_errors() as error:
                self._fault(error)
                if not new:
                    groups.appendleft(group)
                elif len(group) > 1:
                    groups.extendleft([job] for job in reversed(group))
                else:
                    left += group
        if backlog and not left:
            self._caught_up()
        return left

    def _fault(self, error: Exception) -> None:
        if self._session is not None:
            self._seen |= self._session.keys
        self._session = None
        self._retry_at = time.monotonic() + RETRY_SECONDS
        self._behind(_said(error))

    def _behind(self, reason: str) -> None:
        """Mark the mirror stale; one line per outage."""
        self.advice = self._advise(reason)
        reason = redacted(reason)[:300]
        if self.reason is None:
            log.log(self._level, "the MLflow mirror is behind (%s); the study goes on; %s", reason, self.advice)
        try:
            write_atomic(self._mark, f"{self._uri} {reason}\n".encode())
        except OSError as error:
            log.warning("%s cannot be written (%s)", self._mark, error.strerror)
        self.reason = reason  # last: who sees it finds the mark

    def _caught_up(self) -> None:
        """Everything asked for is in MLflow: take the mark away, if it speaks of this store."""
        if self.reason is not None:
            log.info("MLflow mirror has caught up")
        try:
            if self._mark.read_text(encoding="utf-8").startswith(f"{self._uri} "):
                self._mark.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            log.warning("%s cannot be removed (%s)", self._mark, error.strerror)
        self.reason = None  # last, as above


def _said(error: Exception) -> str:
    """What an error says, without what libraries wrap around it."""
    message = str(error)
    if unreachable := UNREACHABLE.search(message):
        return f"the server does not answer: {unreachable[1]}"
    return f"{type(error).__name__}: {message.partition('[SQL:')[0]}"  # SQLAlchemy appends the statement and its values


def _grouped(backlog: Iterable[Job]) -> Iterable[list[Job]]:
    """Neighbouring records together, at most BATCH of them; everything else alone."""
    group: list[Job] = []
    for job in backlog:
        if group and not (isinstance(job, MirrorEntry) and isinstance(group[0], MirrorEntry) and len(group) < BATCH):
            yield group
            group = []
        group.append(job)
    if group:
        yield group


def _do(group: Sequence[Job], session: Session) -> None:
    """A group is one job, or records."""
    entries = [job for job in group if isinstance(job, MirrorEntry)]
    if entries:
        session.write(entries)
    for job in group:
        if not isinstance(job, MirrorEntry):
            job(session)


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
