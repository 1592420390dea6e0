"""A tiny study in a folder: a small random BERT, a few texts, a space file; and the command line as a function."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import yaml
from small_task import encoder, rows, tokenizer

PROJECT = Path(__file__).resolve().parents[2]
SPACE: dict[str, Any] = {
    "name": "small",
    "encoders": {"tiny": {"path": "encoder"}},
    "datasets": {"words": {"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}},
    "methods": ["stl", "rtm", "l3masking"],
    "seeds": 2,
    "scoring": {"max_length": 16},
    "optim": {"lr": 5e-3, "head_lr": 5e-3},
    "train": {"batch": 8, "accumulate": 1, "max_epochs": 2},
    "evaluate": {"every": 1, "unit": "epochs"},
    "final": {"lr": 1e-3, "max_epochs": 1},
    "meta": {"head_iterations": 2},
    "resources": {"executor": "serial"},
}
TEXTS = 24  # in train


class Said(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str


def write_study(folder: Path, **changes: Any) -> Path:
    """Encoder, data and space file; returns the latter. `changes`: top-level keys of the space."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "encoder").is_dir():
        encoder().model.save_pretrained(folder / "encoder")
        # a new one: a tokenizer that was used keeps its last truncation, and writes it into its file
        tokenizer.__wrapped__().save_pretrained(folder / "encoder")
        for part, count, seed in (("train", TEXTS, 1), ("validation", 12, 2), ("test", 12, 3)):
            texts, labels = rows(count, seed)
            write_rows(folder / f"{part}.jsonl", texts, labels)
    return write_space(folder / "small.yaml", **changes)


def write_rows(path: Path, texts: list[str], labels: list[str]) -> None:
    """JSON lines with `text` and `label`."""
    lines = [json.dumps({"text": text, "label": label}) for text, label in zip(texts, labels, strict=True)]
    path.write_text("\n".join(lines) + "\n")


def write_space(path: Path, **changes: Any) -> Path:
    """SPACE with other top-level keys; one that is None is left out."""
    path.write_text(yaml.safe_dump({key: value for key, value in (SPACE | changes).items() if value is not None}))
    return path


def command(*words: object) -> Said:
    """`l3study WORDS` in this process; the handler for SIGTERM stays as it was."""
    from study.cli.app import main

    out, err, before = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    try:
        with (
            mock.patch.object(sys, "argv", ["l3study", *map(str, words)]),
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
        ):
            main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        signal.signal(signal.SIGTERM, before)
        os.environ.pop("L3STUDY_DEBUG", None)
    return Said(code, out.getvalue(), err.getvalue())


def start(*words: object, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """`python -m study WORDS` in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "study", *map(str, words)],
        cwd=cwd,
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def records(root: Path) -> dict[str, dict[str, Any]]:
    """The records of a study folder by key."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((root / "records").glob("*.json"))}


def results(record: Mapping[str, Any]) -> dict[str, Any]:
    """Everything of a record that must not depend on where and when it was computed."""
    return {name: value for name, value in record.items() if name != "run"}


def resolved_text(root: Path) -> str:
    """resolved.yaml of a study folder without its checksum, which a change by hand takes away."""
    first, _, rest = (root / "resolved.yaml").read_text().partition("\n")
    assert first.startswith("# checksum"), first
    return rest


def tables(root: Path) -> dict[str, bytes]:
    """The exported tables but for the wall times."""
    files = sorted((root / "tables").iterdir())
    return {file.name: file.read_bytes() for file in files if file.name != "timing.csv"}


def marks(root: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of each record: they stay as long as nobody writes the file again."""
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in (root / "records").iterdir()}


class NoMirror:
    """In the place of study.run.Mirror where MLflow is not what a test is about: it notes what it is told."""

    uri = "nowhere"
    page = None

    def __init__(self, *_: Any, **__: Any) -> None:
        self.told: list[str] = []

    def add(self, record: Mapping[str, Any]) -> None:
        self.told.append(record["key"])

    def add_failure(self, failure: Mapping[str, Any]) -> None:
        self.told.append(failure["key"])

    def add_search(self, record: Mapping[str, Any]) -> None:
        self.told.append(record["key"])

    def add_search_failure(self, failure: Mapping[str, Any]) -> None:
        self.told.append(failure["key"])

    def plan(self, trials: Any) -> None: ...

    def findings(self, found: Any) -> None: ...

    def cells(self, cells: Any) -> None: ...

    def artifacts(self, paths: Any) -> None: ...

    def close(self, timeout: float) -> None:
        self.waits = timeout


def assignments(space: Path, root: Path, *sets: str) -> list[Any]:
    """What a run of this space would hand to its executor, texts scored."""
    from study.artefacts import make_artefacts
    from study.assign import Assigner
    from study.plan.grid import make_plan
    from study.plan.inputs import identify
    from study.space.reader import read_space
    from study.store.store import Store
    from study.work.workers import execute_serially

    spec = read_space(space, sets)
    identities = identify(spec, lambda line: None)
    assigner = Assigner(spec=spec, identities=identities, root=root, commit=None)
    trials = make_plan(spec, identities)
    jobs = {job.key: (job, spec.resources) for trial in trials for job in assigner.jobs(trial).values()}
    place = Store(root).artefact_dir
    make_artefacts(jobs.values(), lambda job: place(job.room, job.key), execute_serially, lambda *_: None)
    return [assigner.of_grid(trial) for trial in trials]
