"""Records in brief: what a plan reads of them, and no more."""

from __future__ import annotations

import shutil
from pathlib import Path

from small_study import records

from study.store.briefs import all_brief, brief, briefs
from study.store.store import Store, content_key


def test_a_finished_study_in_brief(finished_study: Path, tmp_path: Path) -> None:
    shutil.copytree(finished_study / "out" / "records", tmp_path / "records")
    (tmp_path / "records" / "notes.json").write_text("not ours")
    whole = records(finished_study / "out")
    found = briefs(Store(tmp_path))
    assert [entry.key for entry in found] == sorted(whole)
    for entry in found:
        record = whole[entry.key]
        assert entry.seconds == record["run"]["seconds"]
        assert entry.points == len(record["curve"]) == 2
        assert entry.max_epochs == record["settings"]["train"]["max_epochs"] == 2
        assert entry.settings == content_key(record["settings"])
        assert entry[1:5] == tuple(record[name] for name in ("trajectory", "encoder", "dataset", "method"))
    assert all_brief(whole[entry.key] for entry in found) == found
    assert brief(found[0]) is found[0]
    assert (tmp_path / "records" / "notes.json").exists()


def test_a_record_without_a_time_has_none() -> None:
    bare = {"key": "k", "trajectory": "t", "encoder": "e", "dataset": "d", "method": "stl"}
    assert (brief(bare).seconds, brief(bare).points, brief(bare).max_epochs) == (None, 0, 1)
    assert brief({**bare, "run": {"seconds": 3}}).seconds == 3.0
