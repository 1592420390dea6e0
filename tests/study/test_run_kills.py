"""The driver is killed under Ray, in its search and in its grid; the same command goes on, and nothing shows of it."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import pytest
import yaml
from mlflow_store import QUIET, empty_database
from small_study import NoMirror, command, marks, records, results, start, tables, write_space, write_study

from study.store.store import Store

MEANS = [0.1, 0.2, 0.3, 0.4, 0.5]
SPACE: dict[str, Any] = {
    "methods": ["stl", "l3masking"],
    "seeds": 3,
    "objectives": ["accuracy"],
    "search": {"parameters": {"masking.mean": {"choice": MEANS}}, "sampler": "grid", "seeds": 2, "screen": None},
}
ON_RAY = {"executor": "ray", "cpu": 0.5}
TRAININGS = len(MEANS) * 2, 3 * 3  # of the search, of the grid with its row of the finding
WAIT = 150.0  # seconds until a started process must have come so far, on a busy machine


def there(root: Path) -> tuple[int, int]:
    """Records of the search and of the grid."""
    folders = root / "search" / "records", root / "records"
    return tuple(len(list(folder.glob("[!.]*.json"))) for folder in folders)  # type: ignore[return-value]


class Kill(NamedTuple):
    """When a driver is killed."""

    searched: int  # records of the search that are there at least
    trained: int  # of the grid
    workers: int = 2


def killed_at(folder: Path, kill: Kill, pause: float) -> None:
    """Run until there are so many records, wait a moment, and kill the driver."""
    wanted = kill.searched, kill.trained
    driver = start("run", "small.yaml", "--out", "out", "--set", f"resources.workers={kill.workers}", cwd=folder)
    try:
        limit = time.monotonic() + WAIT
        while any(have < want for have, want in zip(there(folder / "out"), wanted, strict=True)):
            assert driver.poll() is None, driver.communicate()
            assert time.monotonic() < limit, "it takes too long"
            time.sleep(0.02)
        time.sleep(pause)
    finally:
        driver.send_signal(signal.SIGKILL)
        driver.communicate()
    assert driver.returncode == -signal.SIGKILL


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same study, run in this process to its end."""
    folder = tmp_path_factory.mktemp("undisturbed")
    write_study(folder, **SPACE)
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", folder / "small.yaml", "--out", folder / "out")
    assert said.code == 0, said.err
    return folder


IN_BOTH = Kill(3, 0), Kill(10, 3, workers=1)
IN_SEARCH_TWICE = Kill(2, 0), Kill(7, 0), Kill(10, 3)  # a search that goes on is killed again


# long: test_study_kills.py kills drivers, test_run_at_url.py cuts off a search; here the processes of Ray die with them
@pytest.mark.long
@QUIET
@pytest.mark.parametrize("kills", [IN_BOTH, IN_SEARCH_TWICE], ids=["one-in-each", "two-in-the-search"])
def test_kills_in_search_and_grid_lose_repeat_and_change_nothing(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: tuple[Kill, ...]
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    folder = tmp_path / "killed"
    write_study(folder, **SPACE)
    empty_database(folder / "out")  # as the program makes it, and sooner
    write_space(folder / "small.yaml", **SPACE, resources=ON_RAY)
    draw, kept, searched = random.Random(7), {}, {}
    for kill in kills:
        killed_at(folder, kill, draw.random() * 0.1)
        now, now_searched = marks_of(folder / "out"), marks_of(folder / "out/search")
        assert kept.items() <= now.items(), "a record was lost or written again"
        assert searched.items() <= now_searched.items()
        kept, searched = now, now_searched
    said = command("run", folder / "small.yaml", "--out", folder / "out", "--set", "resources.workers=1")
    assert said.code == 0, said.out + said.err
    assert kept.items() <= marks_of(folder / "out").items()
    assert searched.items() <= marks_of(folder / "out/search").items()
    assert there(folder / "out") == there(undisturbed / "out") == TRAININGS
    for part in ("out", "out/search"):
        first, second = ({k: results(r) for k, r in records(base / part).items()} for base in (undisturbed, folder))
        assert first == second
        assert Store(folder / part).failures() == []
        assert not list((folder / part).glob("conflicts/*"))
    assert tables(folder / "out") == tables(undisturbed / "out")
    found = [yaml.safe_load((base / "out/resolved.yaml").read_text())["identities"] for base in (undisturbed, folder)]
    assert found[0] == found[1]


def marks_of(root: Path) -> dict[str, tuple[int, int]]:
    """As `marks`; nothing where nothing has been written yet."""
    return {name: mark for name, mark in marks(root).items() if name[0] != "."} if (root / "records").is_dir() else {}
