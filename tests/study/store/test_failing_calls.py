"""The n-th call of each write fails, for every n, as on a full disk: nothing is torn, and it is said where."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from failing_calls import failing
from small_records import KEY, OTHER, record

from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import checkpoints, tidy, write_checkpoint
from l3masking.whole import made_whole, write_new
from study.artefacts import parts, put_part
from study.store.store import Store, write_atomic

TEMPORARY = re.compile(r"\..+\.tmp")


class Write(NamedTuple):
    """A write of the program, and what may be there afterwards."""

    prepare: Callable[[Path], None]
    write: Callable[[Path], object]
    read: Callable[[Path], object]  # what counts of the folder
    old: object
    new: object


def failure(reason: str) -> Any:
    return {"key": KEY, "reason": reason, "traceback": "", "attempts": 1}


def made_folder(root: Path) -> None:
    with made_whole(root / "model", durable=True) as temporary:
        temporary.mkdir()
        for name in ("a", "b"):
            (temporary / name).write_text("new" * 100)


def read_folder(root: Path) -> object:
    return {path.name: path.read_text() for path in (root / "model").glob("*")}


def saved(value: int) -> Snapshot:
    return Snapshot({"value": value}, {"x": torch.full((50,), value)})


WRITES = {
    "write_atomic": Write(
        prepare=lambda root: write_atomic(root / "space.yaml", b"old" * 100),
        write=lambda root: write_atomic(root / "space.yaml", b"new" * 100),
        read=lambda root: (root / "space.yaml").read_bytes(),
        old=b"old" * 100,
        new=b"new" * 100,
    ),
    "write_new": Write(
        prepare=lambda root: None,
        write=lambda root: write_new(root / "deep" / "token", b"new" * 100),
        read=lambda root: (root / "deep/token").read_bytes() if (root / "deep/token").exists() else None,
        old=None,
        new=b"new" * 100,
    ),
    "a folder": Write(
        prepare=lambda root: None,
        write=made_folder,
        read=read_folder,
        old={},
        new={"a": "new" * 100, "b": "new" * 100},
    ),
    "commit": Write(
        prepare=lambda root: Store(root).fail(failure("old")),
        write=lambda root: Store(root).commit(record()),
        read=lambda root: [found["key"] for found in Store(root).records()] or len(Store(root).failures()),
        old=1,
        new=[KEY],
    ),
    "fail": Write(
        prepare=lambda root: Store(root).fail(failure("old")),
        write=lambda root: Store(root).fail(failure("new")),
        read=lambda root: [found["reason"] for found in Store(root).failures()],
        old=["old"],
        new=["new"],
    ),
    "a part": Write(
        prepare=lambda root: None,
        write=lambda root: put_part(Store(root).artefact_dir("scores", OTHER), 3, b"new" * 100, "parquet"),
        read=lambda root: [number for number, _ in parts(root / "scores" / OTHER)],
        old=[],
        new=[3],
    ),
    "a checkpoint": Write(
        prepare=lambda root: [write_checkpoint(root / "checkpoints", saved(n)) for n in (1, 2)] and None,
        write=lambda root: write_checkpoint(root / "checkpoints", saved(3)),
        read=lambda root: next(checkpoints(root / "checkpoints")).facts["value"],
        old=2,
        new=3,
    ),
}
FULL = re.compile(r"no space left on the disk \(.*[\d,]+ are free\)")
NOT_REPEATED = ("link", "replace", "unlink", "mkdir", "rename")  # by Python, where a signal interrupts them


@pytest.mark.filterwarnings("ignore:a failure was not written down")
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EINTR], ids=errno.errorcode.get)
@pytest.mark.parametrize("name", WRITES)
def test_whatever_call_fails_the_old_value_or_the_new_one_is_there(name: str, error: int, tmp_path: Path) -> None:
    one, number, kinds = WRITES[name], 0, set[str]()
    while True:
        number += 1
        root = tmp_path / str(number)
        root.mkdir()
        one.prepare(root)
        with failing(root, number, error) as calls:
            try:
                one.write(root)
                said = None
            except OSError as raised:
                said = raised
        if not calls.failed:
            break
        if error == errno.EINTR and calls.made[number - 1] not in NOT_REPEATED:
            continue
        kinds.add(calls.made[number - 1])
        assert one.read(root) in (one.old, one.new), calls.made
        if said is not None:
            assert said.errno == error
            assert str(said.filename).startswith(str(root)), calls.made
            full = FULL.fullmatch(str(said.strerror))
            assert full if error == errno.ENOSPC and calls.made[number - 1] != "unlink" else said.strerror
            assert full or os.strerror(error) in said.strerror
        with Store(root).lock():  # the next run
            tidy(root / "checkpoints")
        assert [path for path in root.rglob("*") if TEMPORARY.fullmatch(path.name)] == [], calls.made
        if one.read(root) != one.new:
            one.write(root)
        assert one.read(root) == one.new, calls.made
    assert said is None
    assert one.read(root) == one.new
    assert number > 5
    if error != errno.EINTR:
        assert kinds >= {"write", "fsync", "fsync folder"}


@pytest.mark.parametrize("name", WRITES)
def test_files_are_synced_before_they_get_their_names_and_folders_after(name: str, tmp_path: Path) -> None:
    one = WRITES[name]
    one.prepare(tmp_path)
    with failing(tmp_path, 0) as calls:
        one.write(tmp_path)
    made = [call for call in calls.made if call in ("write", "fsync", "link", "replace", "fsync folder")]
    named = [number for number, call in enumerate(made) if call in ("link", "replace")]
    assert named
    for number in named:
        before = made[:number]
        assert len(before) - before[::-1].index("fsync") > len(before) - before[::-1].index("write")
        assert "fsync folder" in made[number + 1 :]


def test_a_full_disk_is_said_with_what_is_needed_and_what_is_free(tmp_path: Path) -> None:
    with failing(tmp_path, 2, errno.ENOSPC) as calls, pytest.raises(OSError, match="no space left") as full:
        write_atomic(tmp_path / "file", b"x" * 4321)
    assert calls.made[:2] == ["open", "write"]
    free = re.search(r"\(4,321 bytes are needed, ([\d,]+) are free\)", str(full.value))
    assert free is not None
    assert int(free[1].replace(",", "")) == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.2)
    assert full.value.filename == str(tmp_path / "file")
