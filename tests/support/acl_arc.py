"""Where the ACL-ARC files lie, for tests that count in them; no tests here."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def acl_arc_folder() -> Path:
    """Folder of the published files; the test is skipped where there are none."""
    looked = [Path(os.environ["L3STUDY_SHARED"])] if "L3STUDY_SHARED" in os.environ else []
    looked.append(ROOT.parent / "shared")
    for shared in looked:
        if (shared / "data" / "acl-arc" / "train.jsonl").is_file():
            return shared / "data" / "acl-arc"
    pytest.skip(f"no data/acl-arc/train.jsonl under L3STUDY_SHARED or ../shared; looked in {[str(p) for p in looked]}")
