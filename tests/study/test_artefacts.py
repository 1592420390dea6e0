"""Making artefacts: what is needed first, and how work is handed out."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.artefacts import Artefact, Done, Piece, Shard, Work, finished_parts, make_artefacts
from study.space.spec import Resources
from study.work.workers import execute_serially


@dataclass(frozen=True)
class Letters:
    """A job of two shards."""

    letter: str
    of: tuple["Letters", ...] = ()

    room, suffix, may_fail = "letters", "txt", False

    @property
    def key(self) -> str:
        return self.letter * 32

    @property
    def name(self) -> str:
        return self.letter

    def needs(self) -> Sequence[Artefact]:
        return self.of

    def num_shards(self) -> int:
        return 2

    def shards(self, numbers: Sequence[int]) -> Iterator[Shard]:
        return (Shard(number, (self.letter,)) for number in numbers)

    def make(self, shard: Shard, resources: Resources, folders: dict[str, Path], step: Callable[[], None]) -> Piece:
        before = b"".join(path.read_bytes() for folder in folders.values() for path in finished_parts(folder))
        return Piece(before + f"{self.letter}{shard.number}".encode(), 1)

    def facts(self, resources: Resources) -> dict[str, Any]:
        return {}


def made(tmp_path: Path, jobs: Sequence[tuple[Letters, Resources]]) -> list[Work]:
    """Make them; the work in the order in which it was handed out."""
    handed: list[Work] = []

    def execute(works: Iterator[Work], count: int) -> Iterable[Done]:
        for work in works:
            handed.append(work)
            yield from execute_serially([work], count)

    assert make_artefacts(jobs, lambda job: str(tmp_path / job.key), execute, lambda *_: None) == {}
    return handed


def test_work_of_equal_resources_is_handed_out_together(tmp_path: Path) -> None:
    """Workers start once for each size, although other sizes are named in between."""
    small, large = Resources(), Resources(cpu=2)
    handed = made(tmp_path, [(Letters("a"), small), (Letters("b"), large), (Letters("c"), small)])
    assert [work.job.name for work in handed] == ["a", "a", "c", "c", "b", "b"]


def test_what_is_needed_is_made_first_and_read(tmp_path: Path) -> None:
    first = Letters("a")
    handed = made(tmp_path, [(Letters("b", (first,)), Resources()), (first, Resources())])
    assert [work.job.name for work in handed] == ["a", "a", "b", "b"]
    assert [path.read_bytes() for path in finished_parts(tmp_path / ("b" * 32))] == [b"a0a1b0", b"a0a1b1"]


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    made(tmp_path, [(Letters("a"), Resources())])
    finished_parts(tmp_path / ("a" * 32))[1].unlink()
    assert [work.shard.number for work in made(tmp_path, [(Letters("a"), Resources())])] == [1]
