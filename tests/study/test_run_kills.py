"""The driver is killed under Ray, in its search and in its grid; the same command goes on, and nothing shows of it."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml
from small_study import NoMirror, command, marks, records, results, start, tables, write_space, write_study

from study.store.store import Store

MEANS = [0.1, 0.2, 0.3, 0.4, 0.5]
SPACE: dict[str, Any] = {
    "methods": ["stl", "l3masking"],
    "seeds": 3,
    "objectives": ["accuracy"],
    "search": {"parameters": {"masking.mean": {"choice": MEANS}}, "sampler": "grid", "seeds": 2, "screen": None},
}
ON_RAY = {"executor": "ray", "workers": 2, "cpu": 0.5}
TRAININGS = len(MEANS) * 2, 3 * 3  # of the search, of the grid with its row of the finding
WAIT = 150.0  # seconds until a started process must have come so far, on a busy machine


def there(root: Path) -> tuple[int, int]:
    """Records of the search and of the grid."""
    folders = root / "search" / "records", root / "records"
    return tuple(len(list(folder.glob("[!.]*.json"))) for folder in folders)  # type: ignore[return-value]


def killed_at(folder: Path, wanted: tuple[int, int], pause: float) -> None:
    """Run until there are so many records, wait a moment, and kill the driver."""
    driver = start("run", "small.yaml", "--out", "out", cwd=folder)
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


# One of MLflow 3.17's own migrations uses a loader that SQLAlchemy 2.1 deprecates; it runs when a database is made.
@pytest.mark.slow
def test_kills_in_search_and_grid_lose_repeat_and_change_nothing(tmp_path: Path) -> None:
    undisturbed, folder = tmp_path / "undisturbed", tmp_path / "killed"
    write_study(undisturbed, **SPACE)
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", undisturbed / "small.yaml", "--out", undisturbed / "out")
    assert said.code == 0, said.err
    write_study(folder, **SPACE)
    write_space(folder / "small.yaml", **SPACE, resources=ON_RAY)
    draw, kept, searched = random.Random(7), {}, {}
    for wanted in ((2, 0), (7, 0), (10, 3)):
        killed_at(folder, wanted, draw.random() * 0.1)
        now, now_searched = marks_of(folder / "out"), marks_of(folder / "out/search")
        assert kept.items() <= now.items(), "a record was lost or written again"
        assert searched.items() <= now_searched.items()
        kept, searched = now, now_searched
    driver = start("run", "small.yaml", "--out", "out", cwd=folder)
    out, err = driver.communicate(timeout=WAIT)
    assert driver.returncode == 0, out + err
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
