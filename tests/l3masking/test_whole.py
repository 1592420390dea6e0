"""Files and folders that are there whole or not at all. Crashes: tests/study/store/test_whole_files.py."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from l3masking.whole import TEMPORARY, made_whole, sweep, temporary_name, write_atomic, write_new

HEX = "0" * 32


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_first_of_two_writers_wins_or_the_last(tmp_path: Path) -> None:
    write_new(tmp_path / "deep" / "once", b"first")
    with pytest.raises(FileExistsError):
        write_new(tmp_path / "deep" / "once", b"second")
    write_atomic(tmp_path / "deep" / "often", b"first")
    write_atomic(tmp_path / "deep" / "often", b"second")
    assert (tmp_path / "deep" / "once").read_bytes() == b"first"
    assert (tmp_path / "deep" / "often").read_bytes() == b"second"
    assert names(tmp_path / "deep") == ["often", "once"]


def test_a_secret_is_never_readable_by_others(tmp_path: Path) -> None:
    write_new(tmp_path / "token", b"x", mode=0o600)
    assert stat.S_IMODE((tmp_path / "token").stat().st_mode) == 0o600


@pytest.mark.parametrize("folder", [False, True])
def test_what_a_library_makes_gets_its_name_at_the_end(tmp_path: Path, folder: bool) -> None:
    place = tmp_path / "deep" / "made"
    with made_whole(place) as temporary:
        assert temporary.parent == place.parent
        assert TEMPORARY.fullmatch(temporary.name)
        file = temporary / "inside" if folder else temporary
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(b"whole")
        assert not place.exists()
    assert (place / "inside" if folder else place).read_bytes() == b"whole"
    assert names(place.parent) == ["made"]


@pytest.mark.parametrize("folder", [False, True])
def test_what_breaks_off_leaves_nothing_and_the_old_file_stays(tmp_path: Path, folder: bool) -> None:
    (tmp_path / "made").write_bytes(b"old")

    def broken() -> None:
        with made_whole(tmp_path / "made") as temporary:
            file = temporary / "inside" if folder else temporary
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(b"half")
            raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        broken()
    assert names(tmp_path) == ["made"]
    assert (tmp_path / "made").read_bytes() == b"old"


def test_a_sweep_takes_temporary_files_and_folders_alone(tmp_path: Path) -> None:
    (tmp_path / temporary_name("a.json")).write_bytes(b"half")
    (tmp_path / temporary_name("model")).mkdir()
    for name in ("a.json", ".mine.tmp", f".a.{HEX[1:]}.tmp", f".a.{HEX}.tmp-journal"):
        (tmp_path / name).write_bytes(b"not of ours")
    sweep(tmp_path)
    assert names(tmp_path) == sorted(["a.json", ".mine.tmp", f".a.{HEX[1:]}.tmp", f".a.{HEX}.tmp-journal"])
    sweep(tmp_path / "nowhere")


def test_a_sweep_for_one_name_takes_what_lies_beside_it_too(tmp_path: Path) -> None:
    for name in (f".m.db.{HEX}.tmp", f".m.db.{HEX}.tmp-journal", f".other.db.{HEX}.tmp", "m.db"):
        (tmp_path / name).write_bytes(b"")
    sweep(tmp_path, "m.db")
    assert names(tmp_path) == [f".other.db.{HEX}.tmp", "m.db"]
