"""A table whose records were made with several versions, commits or devices says so."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from small_study import command, tables

from study.store.seal import with_checksum


@pytest.mark.parametrize(("field", "value"), [("versions", "0.1"), ("commit", "f" * 40), ("device", "Abacus")])
def test_a_table_of_mixed_records_says_so(finished_study: Path, tmp_path: Path, field: str, value: str) -> None:
    root = Path(shutil.copytree(finished_study / "out", tmp_path / "out"))
    assert not any(b"not all made with" in content for content in tables(root).values())
    path = sorted((root / "records").iterdir())[0]
    record = json.loads(path.read_bytes())
    run = record["run"]
    other = run[field] | {"torch": value} if field == "versions" else value
    path.write_text(json.dumps(record | {"run": with_checksum(run | {field: other})}))
    assert command("export", root).code == 0
    what, kept = ("torch", run["versions"]["torch"]) if field == "versions" else (field, run[field] or "unknown")
    first, second = sorted([f"{value} (1)", f"{kept} (11)"])
    wanted = f"words: its records were not all made with the same {what}: {first}, {second}."
    assert wanted in tables(root)["results.md"].decode().replace("\\", "")
    assert wanted in (root / "report.html").read_text()
