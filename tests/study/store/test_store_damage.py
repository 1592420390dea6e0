"""What is read was written whole: every truncation, bit flip, swap and stranger is found, moved aside and named."""

from __future__ import annotations

import json
import random
import shutil
import warnings
from pathlib import Path

import pytest
from small_records import KEY, OTHER, record

from study.store.store import QuarantineWarning, Store, content_key


def without_run(value: dict) -> dict:
    return {name: part for name, part in value.items() if name != "run"}


def only_file(folder: Path) -> Path:
    (path,) = folder.iterdir()
    return path


def damaged_is_detected(tmp_path: Path, data: bytes, what: str) -> bool:
    """Whether `data` in the place of a record is refused; False where it is used, and then it must say the same."""
    store = Store(tmp_path / "study")
    shutil.rmtree(store.root / "quarantine", ignore_errors=True)
    (store.root / "records").mkdir(parents=True, exist_ok=True)
    (store.root / "records" / f"{KEY}.json").write_bytes(data)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        records = store.records()
        done = store.has(KEY)
    assert done == bool(records)
    if records:
        assert not caught, what
        return False
    (warning,) = caught
    assert warning.category is QuarantineWarning
    assert KEY in str(warning.message)
    assert "\n" not in str(warning.message)
    assert only_file(store.root / "quarantine").read_bytes() == data
    return True


def stored_bytes(tmp_path: Path) -> bytes:
    Store(tmp_path / "whole").commit(record())
    return only_file(tmp_path / "whole" / "records").read_bytes()


def test_every_truncation_is_detected(tmp_path):
    data = stored_bytes(tmp_path)
    rng = random.Random(11)
    for offset in {0, 1, len(data) - 1, *rng.sample(range(len(data)), 64)}:
        assert damaged_is_detected(tmp_path, data[:offset], f"cut at {offset}")


def test_bit_flips_in_the_deterministic_part_are_detected(tmp_path):
    data = stored_bytes(tmp_path)
    whole = json.loads(data)
    start = data.index(b'"run":{')
    end = data.index(b"}", start)
    outside = [bit for bit in range(8 * len(data)) if not start <= bit // 8 <= end]
    outside = random.Random(12).sample(outside, 800)
    unseen = []
    for bit in outside:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        if not damaged_is_detected(tmp_path, bytes(flipped), f"bit {bit}"):
            unseen.append(bit)
            assert without_run(json.loads(flipped)) == without_run(whole), f"bit {bit} changed a value unseen"
    # 1e-05 written as 1E-05, \u00fc as \u00FC: the value is the same, so nothing wrong is used
    assert len(unseen) <= 4


def test_swapped_zeroed_foreign_and_old_files_are_detected(tmp_path):
    data = stored_bytes(tmp_path)
    Store(tmp_path / "second").commit(record(OTHER))
    cases = {
        "swapped": only_file(tmp_path / "second" / "records").read_bytes(),
        "tail of zeros": data[:-40] + bytes(40),
        "empty": b"",
        "foreign list": b"[1, 2]",
        "foreign object": b'{"results": 3}',
        "not UTF-8": b"\xff\xfe{}",
        "deep": b"[" * 100_000,
        "old schema": json.dumps({**json.loads(data), "schema": 0}).encode(),
        "newer schema": json.dumps({**json.loads(data), "schema": 2}).encode(),
        "NaN": data.replace(b"0.75", b"NaN"),
        "infinite": data.replace(b"0.75", b"1e999"),
        "one more field": data.replace(b'"encoder"', b'"added":1,"encoder"'),
        "no checksum": json.dumps({n: v for n, v in json.loads(data).items() if n != "checksum"}).encode(),
    }
    for what, damaged in cases.items():
        assert damaged_is_detected(tmp_path, damaged, what), what


def test_a_record_written_out_by_hand_with_other_blanks_is_the_same_record(tmp_path):
    data = json.dumps({**json.loads(stored_bytes(tmp_path)), "run": {"seconds": 7}}, indent=2).encode()
    assert not damaged_is_detected(tmp_path, data, "indented")


def test_links_folders_and_odd_names_are_not_followed(tmp_path):
    data = stored_bytes(tmp_path)
    outside = tmp_path / "outside.json"
    outside.write_bytes(data)
    store = Store(tmp_path / "study")
    store.commit(record(OTHER))
    (store.root / "records" / f"{KEY}.json").symlink_to(outside)
    (store.root / "records" / "notes.json").write_text("{}")
    (store.root / "records" / "README.txt").write_text("left alone")
    (store.root / "records" / f"{content_key(3)}.json").mkdir()
    with pytest.warns(QuarantineWarning) as caught:
        assert [r["key"] for r in store.records()] == [OTHER]
    assert sorted(str(w.message).split(": ")[1].split(";")[0] for w in caught) == [
        "its name is no key",
        "not a plain file",
        "not a plain file",
    ]
    assert outside.read_bytes() == data
    assert (store.root / "records" / "README.txt").exists()
    assert [r["key"] for r in store.records()] == [OTHER], "the second reading has nothing to say"


def test_quarantine_keeps_every_copy(tmp_path):
    store = Store(tmp_path)
    for copy in range(3):
        store.commit(record())
        (tmp_path / "records" / f"{KEY}.json").write_text(f"broken {copy}")
        with pytest.warns(QuarantineWarning, match="computed again"):
            assert not store.has(KEY)
    assert sorted(p.read_text() for p in (tmp_path / "quarantine").iterdir()) == ["broken 0", "broken 1", "broken 2"]


def test_a_damaged_file_does_not_stand_in_the_way_of_a_commit(tmp_path):
    store = Store(tmp_path)
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / f"{KEY}.json").write_text("torn")
    with pytest.warns(QuarantineWarning, match="not whole JSON"):
        store.commit(record())
    assert store.has(KEY)
