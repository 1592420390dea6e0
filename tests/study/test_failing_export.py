"""The n-th call of an export fails, as on a full disk: each file is whole or not there, and it is said where."""

from __future__ import annotations

import errno
import random
import shutil
from pathlib import Path

import pytest
from failing_calls import Calls, failing

from study.plan.grid import make_plan
from study.plan.resolved import RESOLVED_FILE, Resolved, planned, write_resolved
from study.report.publish import PAGE_FILE, publish
from study.store.store import Store

WRITTEN_ANEW = (RESOLVED_FILE, "tables", "figures/captions.md", "figures/results.png", PAGE_FILE)
# long: some of the calls, drawn, show each kind of file
LONG = [pytest.mark.long, pytest.mark.timeout(1800)]
QUICK = 6  # calls that fail in the default set


@pytest.fixture(scope="module")
def root(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("export") / "out"
    shutil.copytree(finished_study / "out", copy)
    return copy


def exported(root: Path, resolved: Resolved, last: int = 0, error: int = 0) -> tuple[Calls, OSError | None]:
    """Export, as at the end of a run; the `last` call fails."""
    with failing(root, last, error) as calls:
        try:
            write_resolved(root, resolved)
            publish(Store(root), resolved, make_plan(*resolved))
        except OSError as said:
            return calls, said
    return calls, None


def removed(root: Path) -> None:
    for path in (root / name for name in WRITTEN_ANEW):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def contents(root: Path) -> dict[str, bytes]:
    """Everything in a study but its lock."""
    paths = [path for path in root.rglob("*") if path.is_file() and path.name != ".lock"]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in paths}


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
@pytest.mark.parametrize("count", [QUICK, pytest.param(None, marks=LONG)], ids=["some", "all"])
def test_an_export_that_fails_leaves_whole_files(root: Path, count: int | None, error: int) -> None:
    resolved = planned(root)
    removed(root)
    every, said = exported(root, resolved)
    assert said is None
    expected, numbers = contents(root), range(1, len(every.made) + 1)
    assert len(numbers) > 100
    for number in numbers if count is None else random.Random(error).sample(numbers, count):
        removed(root)
        calls, said = exported(root, resolved, number, error)
        assert calls.failed
        with Store(root).lock():  # the next run
            pass
        assert contents(root).items() <= expected.items(), number
        if said is None:
            assert contents(root) == expected
        else:
            assert said.errno == error
            assert str(said.filename).startswith(str(root))
    assert exported(root, resolved)[1] is None
    assert contents(root) == expected
