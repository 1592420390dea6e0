"""Workers that make shards: who gets which, and what becomes of the shards of one that dies, hangs or loses its GPU.

Nothing of Ray here. A worker that is lost is replaced; its shards go to whoever is free. Each loss is counted against
the shard that was under way, so that one which ends every worker ends the run, and a bad day of a machine does not.
"""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from l3masking.errors import EnvironmentFault
from study.artefacts import Done, Work
from study.gpu import GpuLost
from study.work.patience import NO_SIGN, Patience, Sign

RETRIES = 3  # of a shard whose worker was lost, and of a worker that does not start
AHEAD = 2  # shards that a worker has, the one under way included
STAYS = "what is done stays"
log = logging.getLogger(__name__)


class WorkerLost(Exception):
    """The process of a worker has ended."""

    def __init__(self, what: str, advice: str) -> None:
        """what: "a worker ...", as a sentence goes on. advice: what somebody may do if it happens again and again."""
        super().__init__(what)
        self.what, self.advice = what, advice


class Hands(Protocol):
    """Starts and ends workers and gives them shards. Workers and tickets are numbers."""

    def slots(self) -> int:
        """Workers for which there is room. EnvironmentFault where there is none."""
        ...

    def start(self) -> tuple[int, int]:
        """A new worker, and the ticket of its start."""
        ...

    def give(self, worker: int, work: Work) -> int:
        """The ticket of a shard."""
        ...

    def wait(self, tickets: Sequence[int], seconds: float) -> int | None:
        """The first of the tickets that is done, or None if none is after some seconds."""
        ...

    def result(self, ticket: int) -> Done | None:
        """Of a shard; None of a start. Raises WorkerLost, or what the worker raised."""
        ...

    def signs(self) -> Mapping[int, Sign] | None:
        """What was last heard of workers; None if that cannot be told now."""
        ...

    def end(self, worker: int) -> None:
        """End a worker, whatever it is doing. Its tickets raise WorkerLost, but for what was done before."""
        ...

    def kill(self, worker: int) -> None:
        """The same for one that answers nobody."""
        ...


class Crew:
    """A number of workers, until all shards are made."""

    def __init__(self, hands: Hands, works: Iterator[Work], size: int, patience: Patience[int]) -> None:
        self._hands, self._works, self._size, self._patience = hands, works, size, patience
        self._again: deque[Work] = deque()  # shards of workers that were lost
        self._flight: dict[int, tuple[int, Work | None]] = {}  # ticket -> its worker, its shard; None: a start
        self._members: set[int] = set()
        self._ready: set[int] = set()  # members that have started
        self._losses: Counter[tuple[str, int] | None] = Counter()  # by shard; None: in starts, since the last good one
        self._hung: dict[int, WorkerLost] = {}  # workers that were ended from here, and why

    def run(self) -> Iterator[Done]:
        """Make all shards; yields each as it is done."""
        try:
            for _ in range(self._size):
                self._start()
            while self._feed() or any(work for _, work in self._flight.values()):
                ticket = self._hands.wait(list(self._flight), self._patience.look_every)
                done = None if ticket is None else self._take_in(ticket)
                if self._patience.due():
                    self._look()
                if done is not None:
                    yield done
        finally:
            for worker in self._members:
                self._hands.end(worker)

    def _start(self) -> None:
        worker, ticket = self._hands.start()
        self._members.add(worker)
        self._flight[ticket] = worker, None

    def _feed(self) -> bool:
        """Give shards to all workers that have too few. Whether some may be left that nobody has."""
        load = Counter(worker for worker, _ in self._flight.values())
        while free := [worker for worker in self._ready if load[worker] < AHEAD]:
            work = self._again.popleft() if self._again else next(self._works, None)
            if work is None:
                return False
            worker = min(free, key=lambda one: (load[one], one))
            load[worker] += 1
            self._flight[self._hands.give(worker, work)] = worker, work
        return True

    def _take_in(self, ticket: int) -> Done | None:
        """What a ticket gives; a shard whose worker was lost is waiting again."""
        worker, work = self._flight.pop(ticket)
        try:
            done = self._hands.result(ticket)
        except (WorkerLost, GpuLost) as error:
            if work is not None:
                self._again.append(work)
            if worker in self._members:  # else its other shard has told
                self._replace(worker, work, error)
            return None
        if work is None:
            self._ready.add(worker)
            del self._losses[None]
        return done

    def _replace(self, worker: int, work: Work | None, error: WorkerLost | GpuLost) -> None:
        self._members.discard(worker)
        self._ready.discard(worker)
        self._hands.end(worker)
        if isinstance(error, GpuLost):
            error = WorkerLost(f"a worker lost its GPU ({error.said})", "`nvidia-smi` and the system's log may say why")
        lost = self._hung.pop(worker, error)
        shard = None if work is None else (work.job.key, work.shard.number)
        self._losses[shard] += 1
        name = "starting workers" if work is None else work.job.name
        if self._losses[shard] > RETRIES:
            raise EnvironmentFault(f"{name}: {lost.what}, {RETRIES + 1} times: {lost.advice}; {STAYS}") from error
        log.warning("%s: %s; another one goes on", name, lost.what)
        if len(self._members) < min(self._size, self._hands.slots()):
            self._start()

    def _look(self) -> None:
        """End the workers that hang; their tickets tell of it."""
        signs = self._hands.signs()
        if signs is None:
            return
        busy = {worker for worker, work in self._flight.values() if work is not None and worker in self._members}
        for worker, why in self._patience.hung({who: signs.get(who, NO_SIGN) for who in busy}).items():
            advice = "look for a disk, network or GPU that does not answer, or raise resources.patience_minutes"
            self._hung[worker] = WorkerLost(f"a worker made {why}", advice)
            self._ready.discard(worker)
            self._hands.kill(worker)
