"""Who makes artefacts: this process, or actors of Ray."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import groupby, islice

import torch

from l3masking.errors import EnvironmentFault, InputError
from l3masking.training.evaluation import NonFiniteLoss
from study.artefacts import Done, Work, put_part
from study.gpu import limit_share
from study.space.spec import Resources
from study.store.free_disk import check_free
from study.store.places import fetched, local_folder

RESTARTS = 3  # of a worker that died, and so often is a shard tried again


class ArtefactWorker:
    """Makes shards of any job. A plain class: Ray makes actors of it, a serial run calls it."""

    def __init__(self, resources: Resources) -> None:
        torch.set_num_threads(resources.threads)
        limit_share(resources.gpu)

    def make(self, work: Work) -> Done:
        """Make one shard and write its part. A job that may fail costs itself and those that need it."""
        check_free(local_folder(work.place))
        started = time.perf_counter()
        folders = {key: fetched(place) for key, place in work.needed.items()}
        try:
            piece = work.job.make(work.shard, work.resources, folders)
        except (InputError, NonFiniteLoss) as error:
            if not work.job.may_fail:
                raise
            reason = f"{work.job.name}: {error}"
            return Done(work.job.key, work.shard.number, 0, time.perf_counter() - started, reason)
        put_part(work.place, work.shard.number, piece.content, work.job.suffix)
        return Done(work.job.key, work.shard.number, piece.tokens, time.perf_counter() - started)


def execute_serially(works: Iterable[Work], count: int) -> Iterator[Done]:
    """One shard after the other, in this process."""
    for work in works:
        yield ArtefactWorker(work.resources).make(work)


def execute_on_ray(works: Iterable[Work], count: int) -> Iterator[Done]:
    """One actor per GPU share or CPU slot, two shards in flight each. Actors that die are restarted, shards retried.

    Shards are made as they are wanted. Those of one size of workers come together, so that each set of actors starts
    once.
    """
    for resources, same in groupby(works, key=lambda work: work.resources):
        yield from _on_actors(resources, same, count)


def _on_actors(resources: Resources, works: Iterator[Work], count: int) -> Iterator[Done]:
    import ray

    options = {"num_cpus": resources.cpu, "num_gpus": resources.gpu}
    options |= {"max_restarts": RESTARTS, "max_task_retries": RESTARTS}
    slots = min(worker_slots(resources), count)
    actors = [ray.remote(ArtefactWorker).options(**options).remote(resources) for _ in range(slots)]
    running = {}
    for actor, work in zip(actors * 2, islice(works, 2 * slots), strict=False):
        running[actor.make.remote(work)] = actor, work.job.name
    while running:
        ready, _ = ray.wait(list(running), num_returns=1)
        actor, name = running.pop(ready[0])
        try:
            done = ray.get(ready[0])
        except ray.exceptions.RayTaskError as error:  # what the worker raised; Ray's own text is the whole traceback
            raise error.cause from None
        except ray.exceptions.RayActorError as error:
            raise EnvironmentFault(
                f"{name}: a worker died {RESTARTS + 1} times (out of memory, or killed): lower resources.workers or "
                "resources.token_budget; what is done stays"
            ) from error
        if (following := next(works, None)) is not None:
            running[actor.make.remote(following)] = actor, following.job.name
        yield done
    for actor in actors:
        ray.kill(actor)


def worker_slots(resources: Resources) -> int:
    """How many workers or trials of this size the Ray cluster holds at a time. EnvironmentFault where none fits."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fits = sum(
        min(
            int(node.get("CPU", 0) // resources.cpu),
            int(node.get("GPU", 0) // resources.gpu) if resources.gpu else sys.maxsize,
        )
        for node in nodes
    )
    if fits < 1:
        held = ", ".join(f"{node.get('CPU', 0):g} CPUs and {node.get('GPU', 0):g} GPUs" for node in nodes)
        raise EnvironmentFault(
            f"resources: no node holds cpu {resources.cpu:g} and gpu {resources.gpu:g} (there: {held}): ask for less"
        )
    return min(fits, resources.workers or fits)
