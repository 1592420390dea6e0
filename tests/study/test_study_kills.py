"""A study is killed again and again, by SIGKILL, SIGTERM and Ctrl-C; the same command goes on, and nothing shows of it.

One training at a time, in processes that are forked: Ray's own are in test_run_kills.py.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked import Forks
from killed_studies import cut_off, spent, told_run, whole_run
from small_study import records, results, write_study

from study.store.store import Store

SPACE: dict[str, Any] = {
    "methods": ["stl", "l3masking"],
    "objectives": ["accuracy"],
    "train": {"batch": 8, "accumulate": 1, "max_epochs": 2},
    "resources": {"executor": "serial", "checkpoint_minutes": 0, "threads": 1},
}
SIGNALS = [signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGKILL]
SIZES = [  # kills, seeds: so many trainings that the kills do not outlast them
    (10, 12),
    # long: ten kills show each of the signals, before, in and after trainings
    pytest.param((30, 35), marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
]
STOPPED = 75
MOST = 2.0  # CPU time of all trainings with the kills, over that without: each kill costs at most one of them
WAIT = 60.0  # seconds in which a run must come so far, on a busy machine


class Undisturbed(NamedTuple):
    """A study that nobody kills, in its folder, and the processes that killed ones are forked from."""

    folder: Path
    forks: Forks


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: f"{size[0]} kills")
def size(request: pytest.FixtureRequest) -> tuple[int, int]:
    return request.param


@pytest.fixture(scope="module")
def undisturbed(size: tuple[int, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    folder, first = (tmp_path_factory.mktemp(name) for name in ("undisturbed", "first"))
    write_study(folder, **SPACE, seeds=size[1])
    write_study(first, **SPACE, seeds=1)
    forks = Forks(whole_run, first)
    forks.start(told_run, folder)  # forked as the killed ones are, so that both take the same time
    assert forks.ended() == 0, (folder / "said").read_text()
    yield Undisturbed(folder, forks)
    forks.end()


def told(folder: Path) -> list[str]:
    """The whole lines that the runs of a study have told."""
    path = folder / "told"
    return path.read_text().split("\n")[:-1] if path.exists() else []


def killed(forks: Forks, folder: Path, draw: random.Random, number: signal.Signals) -> int:
    """Run until it has told a few lines more, wait a moment, and send the signal; how it has ended."""
    least = 1 if number == signal.SIGKILL else 2  # a stop is asked for once there is something to stop
    wanted = len(told(folder)) + draw.randint(least, 4)
    process, limit, ended = forks.start(told_run, folder), time.monotonic() + WAIT, None
    while ended is None and len(told(folder)) < wanted:
        assert time.monotonic() < limit, told(folder)
        ended = forks.ended(0.005)
    if ended is None:
        time.sleep(draw.uniform(0, 0.05))
        os.kill(process, number)
        ended = forks.ended()
    assert ended is not None, "it has not ended"
    cut_off(folder, forks.cpu)
    return ended


def exported(root: Path) -> dict[str, bytes]:
    """Every exported file but those that show wall times."""
    timed = ("timing.csv", "drawn.json")
    files = [path for folder in ("tables", "figures") for path in (root / folder).rglob("*")]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files if path.name not in timed}


def marks(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each whole record."""
    paths = (root / "records").glob("[!.]*.json")
    return {path.stem: (path.stat().st_ino, path.stat().st_mtime_ns) for path in paths}


def test_kills_lose_tear_repeat_and_change_nothing(
    size: tuple[int, int], undisturbed: Undisturbed, tmp_path: Path
) -> None:
    kills, seeds = size
    write_study(tmp_path, **SPACE, seeds=seeds)
    draw, kept, ends = random.Random(13), dict[str, tuple[int, int]](), Counter[int]()
    for kill in range(kills):
        number = SIGNALS[kill % len(SIGNALS)]
        end = killed(undisturbed.forks, tmp_path, draw, number)
        assert end in ((-signal.SIGKILL,) if number == signal.SIGKILL else (STOPPED, -number)), f"kill {kill}: {end}"
        ends[end] += 1
        now = marks(tmp_path / "out")
        assert kept.items() <= now.items(), "a record was lost or written again"
        certain = {line.split()[1] for line in told(tmp_path) if line.startswith("committed")}
        assert certain <= now.keys()
        kept = now
    undisturbed.forks.start(told_run, tmp_path)
    assert undisturbed.forks.ended() == 0, (tmp_path / "said").read_text()
    assert ends[STOPPED] >= kills / 4
    checked(undisturbed.folder / "out", tmp_path, kills)
    whole, killed_too = spent(undisturbed.folder), spent(tmp_path)
    print(
        f"trainings took {killed_too.seconds:.1f} s ({killed_too.cpu:.1f} s of CPU time) with the kills, "
        f"{whole.seconds:.1f} s ({whole.cpu:.1f} s) without"
    )
    assert whole.cpu * 0.9 < killed_too.cpu < MOST * whole.cpu


def checked(whole: Path, folder: Path, kills: int) -> None:
    """Of what was written for certain nothing is lost, torn, repeated or changed, and the tables are the same."""
    root, lines = folder / "out", Counter(told(folder))
    certain = {line.split()[1]: count for line, count in lines.items() if line.startswith("committed")}
    expected, found = records(whole), records(root)
    assert {key: results(record) for key, record in expected.items()} == {k: results(r) for k, r in found.items()}
    assert {record["key"] for record in Store(root).records()} == expected.keys() >= certain.keys()
    assert {*certain.values()} == {1}, "none was written twice"
    started = sum(count for line, count in lines.items() if line.startswith("started"))
    trainings = len({record["trajectory"] for record in expected.values()})
    assert trainings <= started <= trainings + 2 * kills
    print(f"{kills} kills: {started} trainings begun for {trainings}")
    assert Store(root).failures() == []
    for name in ("conflicts", "quarantine", "checkpoints"):
        assert not list(root.glob(f"{name}/*"))
    assert not list(root.rglob("*.tmp"))
    assert exported(root) == exported(whole)
