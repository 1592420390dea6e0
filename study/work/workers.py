"""Who makes artefacts: this process, or actors of Ray."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Protocol

from l3masking.errors import EnvironmentFault, InputError
from study.artefacts import Done, Work, put_part
from study.gpu import GpuLost, limit_share, loss_of
from study.space.spec import Resources
from study.store.free_disk import check_free
from study.store.places import fetched, local_folder
from study.work.crew import Crew, WorkerLost
from study.work.patience import Patience, Sign
from study.work.processes import LOW_MEMORY, RAN_LOW, NodeProcess, kill_process
from study.work.pulse import NO_PULSE, Pulse, RemotePulse, heard_by, remote_overseer


class Holdable(Protocol):
    """An encoder that can be loaded anywhere."""

    def hold(self, device: str) -> object:
        """Load it and keep it in memory; InputError where it cannot be used."""
        ...


class ArtefactWorker:
    """Makes shards of any job. A plain class: Ray makes actors of it, a serial run calls it."""

    def __init__(self, resources: Resources, overseer: Any = None, number: int = 0) -> None:
        """overseer: the handle of an `Overseer`, which hears of every step under this number; None: nobody does."""
        import torch  # not in the driver of a run under Ray, which only names this class

        torch.set_num_threads(resources.threads)
        limit_share(resources.num_gpus)
        self._overseer, self._number, self._device = overseer, number, resources.device
        self._lost: GpuLost | None = None

    def check(self, encoders: Sequence[Holdable]) -> None:
        """Load each encoder; the first one stays, for the shards to come. InputError for one that cannot be used."""
        for encoder in reversed(encoders):
            try:
                encoder.hold(self._device)
            except RuntimeError as error:
                raise loss_of(error) or error from error

    def make(self, work: Work) -> Done:
        """Make one shard and write its part. A job that may fail costs itself and those that need it.

        Raises GpuLost, from then on for every shard, where the GPU of this process fails for good.
        """
        if self._lost is not None:
            raise self._lost
        if self._overseer is None:
            return self._made(work, NO_PULSE)
        with RemotePulse(self._overseer, f"shard {work.shard.number}", str(self._number)) as pulse:
            return self._made(work, pulse)

    def _made(self, work: Work, pulse: Pulse) -> Done:
        from l3masking.training.evaluation import NonFiniteLoss

        check_free(local_folder(work.place))

        def step() -> None:
            pulse.beat("")

        started = time.perf_counter()
        folders = {key: fetched(place) for key, place in work.needed.items()}
        try:
            piece = work.job.make(work.shard, work.resources, folders, step)
        except (InputError, NonFiniteLoss) as error:
            if not work.job.may_fail:
                raise
            reason = f"{work.job.name}: {error}"
            return Done(work.job.key, work.shard.number, 0, time.perf_counter() - started, reason)
        except RuntimeError as error:
            self._lost = loss_of(error)
            if self._lost is not None:
                raise self._lost from error
            raise
        put_part(work.place, work.shard.number, piece.content, work.job.suffix)
        return Done(work.job.key, work.shard.number, piece.tokens, time.perf_counter() - started)


def execute_serially(works: Iterable[Work], count: int) -> Iterator[Done]:
    """One shard after the other, in this process."""
    for work in works:
        yield ArtefactWorker(work.resources).make(work)


def execute_on_ray(works: Iterable[Work], count: int, unchecked: list[Any] | None = None) -> Iterator[Done]:
    """One actor per GPU share or CPU slot. One that dies, hangs or loses its GPU is replaced, its shards made again.

    unchecked: encoders that the first actor loads before its shards; it is emptied once each could be used.
    Shards are cut as they are wanted. Those of one size of workers come together, so that each set of actors starts
    once.
    """
    for resources, same in groupby(works, key=lambda work: work.resources):
        with remote_overseer() as overseer:
            hands = RayHands(resources, overseer, unchecked)
            size = min(hands.slots(), count)
            yield from Crew(hands, same, size, Patience(resources.patience_minutes)).run()


class RayHands:
    """The `Hands` of a crew whose workers are actors."""

    def __init__(self, resources: Resources, overseer: Any, unchecked: list[Any] | None = None) -> None:
        self._resources, self._overseer = resources, overseer
        self._unchecked = [] if unchecked is None else unchecked
        self._check: int | None = None  # the ticket of the start that checks them
        self._numbers = itertools.count()
        self._actors: dict[int, Any] = {}
        self._refs: dict[int, Any] = {}
        self._processes: dict[int, NodeProcess] = {}  # of workers that have begun a shard

    def slots(self) -> int:
        """Workers for which the cluster has room."""
        return worker_slots(self._resources)

    def start(self) -> tuple[int, int]:
        """A new actor. It waits for its room where somebody else has it."""
        import ray

        worker = next(self._numbers)
        options = {"num_cpus": self._resources.cpu, "num_gpus": self._resources.num_gpus}
        made = ray.remote(ArtefactWorker).options(**options).remote(self._resources, self._overseer, worker)
        self._actors[worker] = made
        if not self._unchecked or self._check is not None:
            return worker, self._ticket(made.__ray_ready__.remote())
        self._check = self._ticket(made.check.remote(list(self._unchecked)))
        return worker, self._check

    def give(self, worker: int, work: Work) -> int:
        """Queue a shard."""
        return self._ticket(self._actors[worker].make.remote(work))

    def wait(self, tickets: Sequence[int], seconds: float) -> int | None:
        """The first ticket that is done."""
        import ray

        by_ref = {self._refs[ticket]: ticket for ticket in tickets}
        ready, _ = ray.wait(list(by_ref), num_returns=1, timeout=seconds)
        return by_ref[ready[0]] if ready else None

    def result(self, ticket: int) -> Done | None:
        """What a shard gave."""
        import ray

        checks, self._check = ticket == self._check, None if ticket == self._check else self._check
        try:
            done = ray.get(self._refs.pop(ticket))
        except ray.exceptions.RayTaskError as error:  # what the worker raised; Ray's own text is the whole traceback
            raise error.cause from None
        except ray.exceptions.RayError as error:
            raise _lost(error) from error
        if checks:
            self._unchecked.clear()
        return done if isinstance(done, Done) else None

    def signs(self) -> Mapping[int, Sign] | None:
        """What the overseer has heard."""
        under_way = heard_by(self._overseer)
        if under_way is None:
            return None
        self._processes |= {int(work.who): work.process for work in under_way}
        return {int(work.who): Sign(work.steps, work.name) for work in under_way}

    def end(self, worker: int) -> None:
        """End an actor, while Ray is there: a stop may have ended it first."""
        import ray

        if ray.is_initialized():
            ray.kill(self._actors[worker])

    def kill(self, worker: int) -> None:
        """End an actor and its process."""
        self.end(worker)
        if worker in self._processes:
            kill_process(self._processes[worker])

    def _ticket(self, ref: Any) -> int:
        ticket = next(self._numbers)
        self._refs[ticket] = ref
        return ticket


def _lost(error: Exception) -> WorkerLost:
    """Why an actor is gone, from what Ray raises."""
    advice = "lower resources.workers or resources.token_budget"
    if LOW_MEMORY in str(error):
        return WorkerLost(f"a worker died: {RAN_LOW}", advice)
    lines = str(error).strip().splitlines()
    if any("creation task" in line for line in lines):
        return WorkerLost(f"a worker cannot start ({lines[-1].strip()})", "`l3study doctor` looks for the cause")
    return WorkerLost("a worker died (out of memory, or killed, or its node is gone)", advice)


def worker_slots(resources: Resources) -> int:
    """How many workers or trials of this size the Ray cluster holds at a time. EnvironmentFault where none fits."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = sum(
        min(
            int(node.get("CPU", 0) // resources.cpu),
            int(node.get("GPU", 0) // resources.num_gpus) if resources.num_gpus else sys.maxsize,
        )
        for node in nodes
    )
    if fits < 1:
        held = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise EnvironmentFault(
            f"resources: no node holds cpu {resources.cpu:g} and gpu {resources.num_gpus:g} (there: {held}): "
            "ask for less"
        )
    return min(fits, resources.workers or fits)
