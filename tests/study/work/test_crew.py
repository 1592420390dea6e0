"""Who makes which shard, and what becomes of those whose worker dies, hangs or loses its GPU. Without Ray."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from l3masking.errors import EnvironmentFault, InputError
from study.artefacts import Done, Shard, Work
from study.space.spec import Resources
from study.work.crew import AHEAD, RETRIES, Crew, WorkerLost
from study.work.patience import Patience, Sign

DIED = WorkerLost("a worker died", "buy memory")


def works(count: int) -> list[Work]:
    job: Any = SimpleNamespace(key="k", name="scoring a")
    return [Work(job, "", {}, Resources(), Shard(number, ())) for number in range(count)]


class Table:
    """Hands with workers that make their shards one after the other, when they are waited for."""

    def __init__(self, room: int = 2) -> None:
        self.room, self.numbers, self.clock = room, 0, 0.0
        self.queues: dict[int, list[tuple[int, Any]]] = {}  # worker -> tickets and works that are left
        self.ended: set[int] = set()  # from outside
        self.killed: list[int] = []
        self.dead: set[int] = set()  # by themselves
        self.finished: dict[int, Any] = {}  # ticket -> what it gives or raises
        self.made: list[int] = []
        self.fates: dict[int, list[Exception]] = {}  # number of a shard -> what its makers meet, one after the other
        self.starts: list[Exception | None] = []  # what the next starts meet
        self.frozen: set[int] = set()  # workers that do nothing

    def slots(self) -> int:
        if not self.room:
            raise EnvironmentFault("no node holds it")
        return self.room

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    def start(self) -> tuple[int, int]:
        worker = self.number()
        self.queues[worker] = []
        return worker, self.queue(worker, None)

    def give(self, worker: int, work: Work) -> int:
        assert worker not in self.ended, "a worker that is gone gets nothing"
        assert len(self.queues[worker]) < AHEAD
        ticket = self.queue(worker, work)
        if worker in self.dead:  # not known yet
            self.drop(worker)
        return ticket

    def queue(self, worker: int, work: Any) -> int:
        ticket = self.number()
        self.queues[worker].append((ticket, work))
        return ticket

    def wait(self, tickets: Sequence[int], seconds: float) -> int | None:
        if not set(tickets) & self.finished.keys():
            self.work()
        found = next((ticket for ticket in tickets if ticket in self.finished), None)
        self.clock += seconds if found is None else 0.01
        return found

    def work(self) -> None:
        """Each worker does one thing."""
        for worker, queue in self.queues.items():
            if not queue or worker in self.frozen:
                continue
            ticket, work = queue.pop(0)
            if work is None:
                self.finished[ticket] = self.starts.pop(0) if self.starts else None
                continue
            fates = self.fates.get(work.shard.number, [])
            if fates:
                self.finished[ticket] = fates.pop(0)
                if isinstance(self.finished[ticket], WorkerLost):
                    self.dead.add(worker)
                    self.drop(worker)
            else:
                self.made.append(work.shard.number)
                self.finished[ticket] = Done("k", work.shard.number, 1, 1.0)

    def result(self, ticket: int) -> Done | None:
        found = self.finished.pop(ticket)
        if isinstance(found, Exception):
            raise found
        return found  # type: ignore[no-any-return]

    def signs(self) -> Mapping[int, Sign] | None:
        return {worker: Sign(len(self.made) * (worker not in self.frozen), "shard 1") for worker in self.queues}

    def end(self, worker: int) -> None:
        self.ended.add(worker)
        self.drop(worker)

    def kill(self, worker: int) -> None:
        self.killed.append(worker)
        self.end(worker)

    def drop(self, worker: int) -> None:
        """What a worker that is gone had before it."""
        for ticket, _ in self.queues[worker]:
            self.finished[ticket] = DIED
        self.queues[worker] = []


def made_by(table: Table, count: int, minutes: float | None = None) -> list[int]:
    """Numbers of the shards as they are told of."""
    crew = Crew(table, iter(works(count)), table.room, Patience(minutes, lambda: table.clock))
    return [done.number for done in crew.run()]


def test_every_shard_is_made_once_and_all_workers_end() -> None:
    table = Table()
    assert sorted(made_by(table, 9)) == list(range(9))
    assert sorted(table.made) == list(range(9))
    assert table.ended == table.queues.keys()
    assert len(table.queues) == 2


def test_no_shard_and_fewer_shards_than_workers() -> None:
    assert made_by(Table(), 0) == []
    assert made_by(Table(room=4), 1) == [0]


@pytest.mark.parametrize("seed", range(20))
def test_workers_that_die_at_random_cost_only_the_shard_under_way(seed: int, caplog) -> None:
    draw, table = random.Random(seed), Table()
    deaths = Counter(draw.choices(range(12), k=7))
    table.fates = {number: [DIED] * min(RETRIES, count) for number, count in deaths.items()}
    times = sum(map(len, table.fates.values()))
    told = made_by(table, 12)
    assert sorted(told) == sorted(table.made) == list(range(12)), "each was made once, none twice"
    assert len(table.queues) == 2 + times, "one new worker for each that died"
    said = [record.getMessage() for record in caplog.records]
    assert said == ["scoring a: a worker died; another one goes on"] * times


def test_a_shard_that_ends_every_worker_ends_the_run() -> None:
    table = Table()
    table.fates = {3: [DIED] * (RETRIES + 1)}
    with pytest.raises(EnvironmentFault, match=r"^scoring a: a worker died, 4 times: buy memory; what is done stays$"):
        made_by(table, 40)
    assert table.ended == table.queues.keys(), "no worker is left behind"


def test_workers_that_do_not_start_end_the_run_unless_one_does() -> None:
    table = Table(room=1)
    table.starts = [DIED] * RETRIES + [None]
    assert made_by(table, 3) == [0, 1, 2]
    table = Table(room=1)
    table.starts = [DIED] * (RETRIES + 1)
    with pytest.raises(EnvironmentFault, match=r"^starting workers: a worker died, 4 times: "):
        made_by(table, 3)


def test_a_worker_that_waits_for_room_holds_no_shard() -> None:
    """A node is gone: the new worker may wait for the room of the one that is left, which makes all shards."""
    table = Table()
    given = table.start

    def start() -> tuple[int, int]:
        worker, ticket = given()
        if len(table.queues) > 2:
            table.frozen.add(worker)
        return worker, ticket

    table.start = start  # type: ignore[method-assign]
    table.fates = {1: [DIED]}
    assert sorted(made_by(table, 9)) == list(range(9))
    assert table.ended == table.queues.keys()


def test_where_there_is_less_room_fewer_workers_go_on_and_none_is_an_error() -> None:
    table = Table()
    table.fates = {1: [DIED]}
    table.slots = lambda: 1  # type: ignore[method-assign]
    crew = Crew(table, iter(works(9)), 2, Patience(None))
    assert sorted(done.number for done in crew.run()) == list(range(9))
    assert len(table.queues) == 2
    table = Table()
    table.fates, table.room = {1: [DIED]}, 0
    with pytest.raises(EnvironmentFault, match="no node holds it"):
        list(Crew(table, iter(works(9)), 1, Patience(None)).run())


def test_a_worker_that_hangs_is_ended_and_its_shards_made_by_others(caplog) -> None:
    table = Table()
    crew = Crew(table, iter(works(9)), 2, Patience(30, lambda: table.clock))
    told = []
    for done in crew.run():
        told.append(done.number)
        if len(told) == 3:
            (frozen, *_) = table.frozen = {min(table.queues)}
            begun = table.clock
    assert sorted(told) == list(range(9))
    assert table.killed == [frozen]
    assert len(table.queues) == 3
    assert 1800 < table.clock - begun < 1830, "within the patience and half a minute"
    (record,) = caplog.records
    assert record.getMessage() == "scoring a: a worker made no progress for 30 min at shard 1; another one goes on"


def freeze_at_work(table: Table, most: int) -> None:
    """The first `most` workers freeze with their first shard."""
    give = table.give

    def frozen(worker: int, work: Work) -> int:
        if worker in table.frozen or len(table.frozen) < most:
            table.frozen.add(worker)
        return give(worker, work)

    table.give = frozen  # type: ignore[method-assign]


def test_a_worker_that_hangs_before_it_has_given_a_sign_is_ended_too(caplog) -> None:
    table = Table(room=1)
    table.signs = dict  # type: ignore[method-assign]
    freeze_at_work(table, 1)
    assert sorted(made_by(table, 3, minutes=5)) == [0, 1, 2]
    (record,) = caplog.records
    assert "a worker made no progress for 5 min at its start; another" in record.getMessage()


def test_a_shard_with_which_every_worker_hangs_ends_the_run() -> None:
    table = Table(room=1)
    freeze_at_work(table, RETRIES + 1)
    wanted = (
        r"^scoring a: a worker made no progress for 5 min at shard 1, 4 times: look .*, or raise resources\.patience"
    )
    with pytest.raises(EnvironmentFault, match=wanted):
        made_by(table, 3, minutes=5)


def test_what_is_wrong_with_the_input_ends_the_run_at_once() -> None:
    table = Table()
    table.fates = {2: [InputError("a text is wrong")]}
    with pytest.raises(InputError, match="a text is wrong"):
        made_by(table, 9)
    assert table.ended == table.queues.keys()
    assert len(table.queues) == 2
