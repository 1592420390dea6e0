"""What trials share, such as scores: made once, in shards, by any number of workers, and kept on disk.

A job is cut into shards by its content alone, never by the number of workers. Each shard becomes one file, written
whole by the worker that made it and named by its content; the manifest is written last, and a folder without one is
unfinished. What is there already is never made again: a worker that is killed loses the shard it was at.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, cast

from l3masking.errors import EnvironmentFault
from study.space.spec import Resources
from study.store.newer import refuse_newer
from study.store.places import Place, fetched, put
from study.store.seal import verified, with_checksum
from study.store.store import QuarantineWarning
from study.store.whole_files import canonical

MANIFEST_FILE = "manifest.json"
MANIFEST_SCHEMA = 1  # what a manifest without the field `schema` has, as all that are written now
Step = Callable[[], None]  # called after each batch or so of a shard: its worker is alive
PART_NAME = re.compile(r"part-(\d{5})-([0-9a-f]{32})\.\w+")


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
    def may_fail(self) -> bool:
        """Whether wrong settings or diverging training cost only the arms that need it; else they end the run."""
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

    def make(self, shard: Shard, resources: Resources, folders: Mapping[str, Path], step: Step) -> Piece:
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
    reason: str | None = None  # why it cannot be made; None: it is made


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
) -> dict[str, str]:
    """Make what is missing of `jobs` and of all that they need, what is needed first.

    `place_of`: the folder or URL of a job. `execute`: does work in any order and yields what is done; it is told how
    much there is. `report`: (name of a job, shards done, all). Jobs that do not wait for each other are worked on
    together. Returns the reasons of what could not be made, by key.
    """
    lost: dict[str, str] = {}
    for level in levels(jobs):
        opened = []
        for job, resources in level:
            reason = next((lost[need.key] for need in job.needs() if need.key in lost), None)
            if reason is None:
                opened.append(_look(job, place_of(job), resources))
            else:
                lost[job.key] = reason
        sizes = [one.resources for one in opened]
        works = (
            Work(one.job, one.place, {need.key: place_of(need) for need in one.job.needs()}, one.resources, shard)
            for one in sorted(opened, key=lambda one: sizes.index(one.resources))  # so that workers start once
            for shard in one.job.shards(one.missing)
        )
        by_key = {one.job.key: one for one in opened}
        left = {key: len(one.missing) for key, one in by_key.items()}
        for done in execute(works, sum(left.values())):
            one = by_key[done.key]
            left[done.key] -= 1
            if done.reason is not None:
                lost[done.key] = done.reason
            elif done.key not in lost:
                report(one.job.name, one.wanted - left[done.key], one.wanted)
        for one in opened:
            if one.job.key not in lost:
                _close(one)
    return lost


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
    folder = fetched(place)
    manifest_of(folder)  # a newer one is refused before anything is written
    found = dict(parts(folder))
    for path in sorted(set(folder.glob("part-*")) - {*found.values()}):
        _name_damaged(path)
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
        put_manifest(one.place, manifest)


def put_manifest(place: Place, manifest: Mapping[str, Any]) -> None:
    """Write the manifest of a finished job: `key`, `parts` and what else is to be known."""
    put(place, MANIFEST_FILE, canonical(with_checksum(manifest)))


def put_part(place: Place, number: int, content: bytes, suffix: str) -> str:
    """Write one part whole; returns its name, which holds a hash of the content."""
    name = f"part-{number:05d}-{_digest(content)}.{suffix}"
    put(place, name, content)
    return name


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def parts(folder: Path) -> Iterator[tuple[int, Path]]:
    """The parts of a folder whose content is what their name says; others count as not there."""
    for path in sorted(folder.glob("part-*")):
        match = PART_NAME.fullmatch(path.name)
        if match and _digest(path.read_bytes()) == match[2]:
            yield int(match[1]), path


def manifest_of(folder: Path) -> dict[str, Any] | None:
    """The manifest of a folder; None if it is missing or damaged, which a warning says.

    InputError for one of a newer schema.
    """
    path = folder / MANIFEST_FILE
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, dict):
        refuse_newer(path, value.get("schema"), MANIFEST_SCHEMA)
    if not verified(value) or not isinstance(value.get("parts"), list):
        _name_damaged(path)
        return None
    return cast(dict[str, Any], value)


def _name_damaged(path: Path) -> None:
    warnings.warn(f"{path}: damaged, not used, and to be made again", QuarantineWarning, stacklevel=3)


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
