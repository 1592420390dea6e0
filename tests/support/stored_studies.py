"""Make a small study and store it beside this file, so that later versions are tested with what this one has written.

    python tests/support/stored_studies.py

makes stored/<schema>/ for the schema of records at work, and refuses where there is one: a stored study is never made
again, for it stands for all studies of its version. It takes seconds and needs no network.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

from small_study import NoMirror, command, write_study

from study.store.record import SCHEMA

STORED = Path(__file__).with_name("stored")
CHANGES: dict[str, Any] = {
    "name": "stored",
    "methods": ["stl", "l3masking"],
    "train": {"batch": 8, "accumulate": 1, "max_epochs": 6},
    "search": {
        "parameters": {"masking.mean": {"uniform": [0.1, 0.4], "step": 0.1}},
        "methods": ["l3masking"],
        "trials": 2,
        "seeds": 1,
    },
}
KEPT = ("space.yaml", "resolved.yaml", "records/*", "data/*", "scores/*/*", "search/records/*", "search/optuna.log")
TABLES = ("tables/results.csv", "tables/comparisons.csv", "tables/effort.csv", "tables/search.csv")


def make(folder: Path, target: Path) -> None:
    """Run the study in `folder` and copy what counts of it to `target`."""
    with mock.patch("study.run.Mirror", NoMirror), mock.patch("socket.gethostname", return_value="machine"):
        said = command("run", write_study(folder, **CHANGES), "--out", folder / "out")
    if said.code:
        raise SystemExit(said.err)
    for pattern in (*KEPT, *TABLES):
        for path in (folder / "out").glob(pattern):
            place = target / path.relative_to(folder / "out")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)


def main() -> None:
    target = STORED / str(SCHEMA)
    if target.exists():
        raise SystemExit(f"{target} is there already: a stored study is never made again")
    folder = Path(tempfile.gettempdir()) / "stored-study"  # resolved.yaml names it
    folder.mkdir()
    make(folder, target)
    shutil.rmtree(folder)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    print(f"{target.relative_to(Path.cwd())}: {size} bytes")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
    main()
