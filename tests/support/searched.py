"""Space files with a search, for tests."""

from __future__ import annotations

from pathlib import Path

from study.space.reader import make_space
from study.space.spec import StudySpec

MEAN = {"masking.mean": {"uniform": [0.05, 0.6], "step": 0.01}}


def space(search: object, **given) -> StudySpec:
    given = {"name": "test", "pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}], "seeds": 2, **given}
    return make_space({**given, "search": search}, source="test.yaml", folder=Path("/nowhere"))
