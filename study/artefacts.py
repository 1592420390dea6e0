"""What trials share, such as scores: made once, in shards, by any number of workers, and kept on disk.

A job is cut into shards by its content alone, never by the number of workers. Each shard becomes one file, written
whole by the worker that made it and named by its content; the manifest is written last, and a folder without one is
unfinished. What is there already is never made again: a worker that is killed loses the shard it was at.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch

from l3masking.errors import EnvironmentFault
from study.gpu import limit_share
from study.space.spec import Resources
from study.store.places import Place, fetched, put
from study.store.whole_files import canonical

PART_NAME = re.compile(r"part-(\d{5})-([0-9a-f]{32})\.\w+")
RESTARTS = 3  # of a worker that died, and so often is a shard tried again


class Shard(NamedTuple):
    """A part of a job's work."""

    number: int
    content: tuple[Any, ...]  # what the job cuts: texts, or nothing where it is one piece


class Piece(NamedTuple):
    """What a shard gives."""

    content: bytes  # of its file
    tokens: int  # that were worked on


class Artefact(Protocol):
    """Something that trials share, named by the content of all that may change it. Small, frozen and plain."""

    @property
    def key(self) -> str:
        """Name of its folder: 32 hexadecimal digits."""
        ...

    @property
    def room(self) -> str:
        """The folder of a study in which jobs of this kind lie, such as "scores"."""
        ...

    @property
    def suffix(self) -> str:
        """Of its files, such as "parquet"."""
        ...

    @property
    def name(self) -> str:
        """What it is, in words, such as "scoring bert-base on acl-arc"."""
        ...

    def needs(self) -> Sequence[Artefact]:
        """The jobs whose results it reads."""
        ...

    def num_shards(self) -> int:
        """How many shards its work has."""
        ...

    def shards(self, numbers: Sequence[int]) -> Iterator[Shard]:
        """Those of some numbers, made one by one, in rising order."""
        ...

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path]) -> Piece:
        """Do one shard. `folders`: of the jobs that it needs, by their keys."""
        ...

    def facts(self, resources: Resources) -> dict[str, Any]:
        """What its manifest says beside its parts."""
        ...


class Work(NamedTuple):
    """One shard of one job, and where it lies."""

    job: Artefact
    place: Place
    needed: Mapping[str, Place]  # the folders of the jobs that it needs, by their keys
    resources: Resources
    shard: Shard


class Done(NamedTuple):
    """What a worker says of a finished shard."""

    key: str  # of the job
    number: int
    tokens: int
    seconds: float


class ArtefactWorker:
    """Makes shards of any job. A plain class: Ray makes actors of it, a serial run calls it."""

    def __init__(self, resources: Resources) -> None:
        torch.set_num_threads(resources.threads)
        limit_share(resources.gpu)

    def make(self, work: Work) -> Done:
        """Make one shard and write its part."""
        started = time.perf_counter()
        folders = {key: fetched(place) for key, place in work.needed.items()}
        piece = work.job.make(work.shard, work.resources, folders)
        digest = hashlib.blake2b(piece.content, digest_size=16).hexdigest()
        put(work.place, f"part-{work.shard.number:05d}-{digest}.{work.job.suffix}", piece.content)
        return Done(work.job.key, work.shard.number, piece.tokens, time.perf_counter() - started)


class _Open(NamedTuple):
    """A job of which something may be missing."""

    job: Artefact
    place: Place
    resources: Resources
    wanted: int  # shards
    missing: list[int]  # their numbers


def make_artefacts(
    jobs: Iterable[tuple[Artefact, Resources]],
    place_of: Callable[[Artefact], Place],
    execute: Callable[[Iterator[Work], int], Iterable[Done]],
    report: Callable[[str, int, int], None],
) -> None:
    """Make what is missing of `jobs` and of all that they need, what is needed first.

    `place_of`: the folder or URL of a job. `execute`: does work in any order and yields what is done; it is told how
    much there is. `report`: (name of a job, shards done, all). Jobs that do not wait for each other are worked on
    together.
    """
    for level in levels(jobs):
        opened = [_look(job, place_of(job), resources) for job, resources in level]
        works = (
            Work(one.job, one.place, {need.key: place_of(need) for need in one.job.needs()}, one.resources, shard)
            for one in opened
            for shard in one.job.shards(one.missing)
        )
        by_key = {one.job.key: one for one in opened}
        left = {key: len(one.missing) for key, one in by_key.items()}
        for done in execute(works, sum(left.values())):
            one = by_key[done.key]
            left[done.key] -= 1
            report(one.job.name, one.wanted - left[done.key], one.wanted)
        for one in opened:
            _close(one)


def levels(jobs: Iterable[tuple[Artefact, Resources]]) -> list[list[tuple[Artefact, Resources]]]:
    """The jobs and all that they need, each once, in groups: a job comes in a later group than those that it needs."""
    height: dict[str, int] = {}
    known: dict[str, tuple[Artefact, Resources]] = {}

    def place(job: Artefact, resources: Resources) -> int:
        if job.key not in height:
            height[job.key] = 1 + max((place(need, resources) for need in job.needs()), default=-1)
            known[job.key] = job, resources
        return height[job.key]

    for job, resources in jobs:
        place(job, resources)
    return [
        [known[key] for key in known if height[key] == level] for level in range(max(height.values(), default=-1) + 1)
    ]


def _look(job: Artefact, place: Place, resources: Resources) -> _Open:
    """What is wanted of a job and what of it is missing."""
    wanted = job.num_shards()
    found = dict(parts(fetched(place)))
    return _Open(job, place, resources, wanted, [number for number in range(wanted) if number not in found])


def _close(one: _Open) -> None:
    """Check that all parts are there, and write the manifest where it is missing or of other parts."""
    folder = fetched(one.place)
    found = dict(parts(folder))
    lost = [number for number in range(one.wanted) if number not in found]
    if lost:
        raise EnvironmentFault(
            f"{one.place}: {len(lost)} of {one.wanted} parts of {one.job.name} are not here; where nodes have a "
            "folder each of this name, give --out a folder that all of them share, or a URL"
        )
    for path in set(folder.glob("part-*")) - {found[number] for number in range(one.wanted)}:
        path.unlink()  # damaged, or of another cut
    names = [found[number].name for number in range(one.wanted)]
    manifest = manifest_of(folder)
    if one.missing or manifest is None or manifest["parts"] != names:
        manifest = {"key": one.job.key, "parts": names} | one.job.facts(one.resources)
        put(one.place, "manifest.json", canonical(manifest))


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


def parts(folder: Path) -> Iterator[tuple[int, Path]]:
    """The parts of a folder whose content is what their name says; others count as not there."""
    for path in sorted(folder.glob("part-*")):
        match = PART_NAME.fullmatch(path.name)
        if match and hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest() == match[2]:
            yield int(match[1]), path


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None if it is missing or damaged."""
    try:
        value = json.loads((folder / "manifest.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return None
    return value if isinstance(value, dict) and isinstance(value.get("parts"), list) else None


def finished_parts(folder: Path) -> list[Path]:
    """The files of a finished job, in order. FileNotFoundError where it is unfinished or damaged."""
    manifest = manifest_of(folder)
    if manifest is None:
        raise FileNotFoundError(f"{folder} is not finished: run the study again to finish it")
    found = {path.name: path for _, path in parts(folder)}
    for name in manifest["parts"]:
        if name not in found:
            raise FileNotFoundError(f"{folder / name} is missing or damaged: run the study again to make it again")
    return [found[name] for name in manifest["parts"]]
