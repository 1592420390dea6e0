"""What `load_data` makes of files: cuts, labels, overlap, hash, checks against what was said of them."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from acl_arc import acl_arc_folder

from l3masking.data import sources
from l3masking.data.sources import blob_id
from l3masking.data.table import CUT_SHARE, DATASETS, DataSpec, load_data
from l3masking.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
Pairs = Sequence[tuple[str, str | int]]
THREE: dict[str, Pairs] = {
    "train": [("one", "b"), ("two", "a"), ("NA", "b"), ("", "a")],
    "validation": [("five", "a"), ("six", "b")],
    "test": [("seven", "b"), ('é, "quoted"\nline', "a")],
}


def write(path: Path, pairs: Pairs) -> None:
    """One split in the format that the suffix names, each by a writer that is not ours."""
    texts, labels = [text for text, _ in pairs], [label for _, label in pairs]
    if path.suffix == ".parquet":
        pq.write_table(pa.table({"text": texts, "label": labels}), path)
    elif path.suffix == ".csv":
        quoted = ['"' + text.replace('"', '""') + '"' for text in texts]
        path.write_bytes("\n".join(["label,text", *(f"{b},{a}" for a, b in zip(quoted, labels, strict=True))]).encode())
    elif path.suffix == ".tsv":
        with open(path, "w", newline="") as file:
            csv.writer(file, csv.excel_tab).writerows([["text", "label"], *pairs])
    else:
        path.write_text("".join(json.dumps({"text": a, "label": b}) + "\n" for a, b in pairs), encoding="utf-8")


def three(folder: Path, suffix: str = ".jsonl", **splits: Pairs) -> DataSpec:
    for part, pairs in {**THREE, **splits}.items():
        write(folder / f"{part}{suffix}", pairs)
    return DataSpec(**{part: f"{part}{suffix}" for part in THREE})


def many(num_rows: int, classes: str = "abc") -> Pairs:
    return [(f"text {n}", classes[n % len(classes)]) for n in range(num_rows)]


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".parquet"])
@pytest.mark.parametrize("packed", ["", ".gz", ".GZ"])
def test_all_formats_load_alike(tmp_path: Path, suffix: str, packed: str) -> None:
    spec = three(tmp_path, suffix)
    if packed:
        for part in THREE:
            plain = tmp_path / f"{part}{suffix}"
            (tmp_path / f"{plain.name}{packed}").write_bytes(gzip.compress(plain.read_bytes()))
            plain.unlink()
        spec = DataSpec(**{part: f"{part}{suffix}{packed}" for part in THREE})
    data = load_data(spec, name="mine", folder=tmp_path)
    assert data.labels == ("a", "b")
    assert data.train.texts == ("one", "two", "NA", "")
    assert data.train.labels == (1, 0, 1, 0)
    assert (data.validation.labels, data.test.labels) == ((0, 1), (1, 0))
    assert data.test.texts[1] == 'é, "quoted"\nline'
    assert data.mlm_texts == data.train.texts
    assert len(data.train) == 4
    assert data.notes == ("train: 1 empty texts, kept",)
    # one value for every format; written down so that a change of the hash, which voids all keys, cannot pass unseen
    assert data.content_hash == "e6695bd556726bbd8b6139781fa96d7f"


def test_whole_number_labels_become_strings_in_string_order(tmp_path: Path) -> None:
    train = [("a", 10), ("b", 9), ("c", 2)]
    spec = three(tmp_path, train=train, validation=[("d", 9)], test=[("e", 10)])
    numbers = load_data(spec, name="mine", folder=tmp_path)
    assert numbers.labels == ("10", "2", "9")
    assert numbers.train.labels == (0, 2, 1)
    spec = three(tmp_path, ".csv", train=train, validation=[("d", 9)], test=[("e", 10)])
    assert load_data(spec, name="mine", folder=tmp_path).content_hash == numbers.content_hash


CHANGES: list[dict[str, Pairs]] = [
    {"train": [("two", "a"), ("one", "b"), ("NA", "b"), ("", "a")]},
    {"train": [("one", "a"), ("two", "b"), ("NA", "b"), ("", "a")]},
    {"train": [("one", "b"), ("two", "a"), ("NA", "b"), (" ", "a")]},
    {"train": [("onet", "b"), ("wo", "a"), ("NA", "b"), ("", "a")]},
    {"train": [("one", "b"), ("two", "a"), ("NA", "b"), ("", "a"), ("five", "a")], "validation": [("six", "b")]},
    {"validation": [("six", "b"), ("five", "a")]},
    {"validation": THREE["test"], "test": THREE["validation"]},
    {"test": [("seven", "a"), THREE["test"][1]]},
    {part: [(text, {"a": "x", "b": "y"}[str(label)]) for text, label in pairs] for part, pairs in THREE.items()},
]


@pytest.mark.parametrize("change", CHANGES)
def test_hash_sees_every_text_label_split_and_their_order(tmp_path: Path, change: dict[str, Pairs]) -> None:
    before = load_data(three(tmp_path), name="mine", folder=tmp_path).content_hash
    assert load_data(three(tmp_path), name="other", folder=tmp_path).content_hash == before
    assert load_data(three(tmp_path, **change), name="mine", folder=tmp_path).content_hash != before


def test_mlm_file_has_one_unit_per_line(tmp_path: Path) -> None:
    spec = three(tmp_path)
    before = load_data(spec, name="mine", folder=tmp_path).content_hash
    (tmp_path / "units.txt").write_bytes("first unit\r\n\n second \u2028 unit\n   \nthird".encode())
    with_units = DataSpec(train=spec.train, validation=spec.validation, test=spec.test, mlm="units.txt")
    data = load_data(with_units, name="mine", folder=tmp_path)
    assert data.mlm_texts == ("first unit", " second \u2028 unit", "third")
    assert data.content_hash != before
    for content, words in (
        (b"\n \n", "no line of text"),
        ("\u200b\n\u200b\n".encode(), "each of the 2 texts is blank"),
        (b"a\n\xff\n", "line 2: byte 0xff is not UTF-8"),
    ):
        (tmp_path / "units.txt").write_bytes(content)
        with pytest.raises(InputError, match=rf"units\.txt.*{words}"):
            load_data(with_units, name="mine", folder=tmp_path)


def several(folder: Path) -> list[str]:
    """Three files of one class each, in three formats; names that sort otherwise than they are made."""
    (folder / "parts" / "deep").mkdir(parents=True)
    write(folder / "parts" / "b.jsonl", [("b0", "b"), ("b1", "b")])
    write(folder / "parts" / "a.jsonl", [("a0", "a"), ("a1", "a")])
    write(folder / "parts" / "deep" / "c.jsonl", [("c0", "c"), ("c1", "c")])
    write(folder / "d.tsv", [("d0", "d"), ("d1", "d")])
    (folder / "parts" / "z.jsonl").mkdir()  # a folder is no file of a pattern
    for part in ("validation", "test"):
        write(folder / f"{part}.csv", [("e", "a")])
    return ["a0", "a1", "b0", "b1", "c0", "c1", "d0", "d1"]


@pytest.mark.parametrize(
    ("train", "order"),
    [
        (["d.tsv", "parts/b.jsonl", "parts/a.jsonl"], [6, 7, 2, 3, 0, 1]),
        ("parts/*.jsonl", [0, 1, 2, 3]),
        ("parts/[ab].jsonl", [0, 1, 2, 3]),
        ("parts/**/?.jsonl", [0, 1, 2, 3, 4, 5]),
        (["d.tsv", "parts/*.jsonl"], [6, 7, 0, 1, 2, 3]),
    ],
)
def test_several_files_are_one_split(tmp_path: Path, train: str | list[str], order: list[int]) -> None:
    texts = several(tmp_path)
    spec = DataSpec(train=train, validation="validation.csv", test="test.csv", rows={"train": len(order)})  # type: ignore[arg-type]
    data = load_data(spec, name="mine", folder=tmp_path)
    assert data.train.texts == tuple(texts[index] for index in order)
    assert [data.labels[label] for label in data.train.labels] == [texts[index][0] for index in order]
    write(tmp_path / "one.jsonl", [(texts[index], texts[index][0]) for index in order])
    one = load_data(dataclasses.replace(spec, train="one.jsonl"), name="mine", folder=tmp_path)
    assert one.content_hash == data.content_hash, "only the content counts"


def test_several_files_start_at_the_working_directory_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    several(tmp_path)
    monkeypatch.chdir(tmp_path)
    spec = DataSpec(train="parts/*.jsonl", validation="validation.csv", test="test.csv")
    assert load_data(spec, name="mine").train.texts == ("a0", "a1", "b0", "b1")
    with pytest.raises(InputError, match=r"train names .*a\.jsonl more than once"):
        load_data(dataclasses.replace(spec, train=("parts/a.jsonl", "parts/*.jsonl")), name="mine")


def test_what_is_wrong_with_several_files(tmp_path: Path) -> None:
    several(tmp_path)
    (tmp_path / "parts" / "a.jsonl").write_text(json.dumps({"text": "a", "label": None}))
    for train, blobs, words in (
        ("nothing-*.csv", {}, r"no file matches the pattern nothing-\*\.csv"),
        ("parts/*.jsonl", {}, r"parts/a\.jsonl line 1: `label` is null"),
        ("parts/*.jsonl", {"train": "0" * 40}, r"parts/\*\.jsonl is a pattern: list its files and their ids"),
        (
            ("d.tsv", "parts/b.jsonl"),
            {"train": (blob_id((tmp_path / "d.tsv").read_bytes()), "0" * 40)},
            r"b\.jsonl has",
        ),
        (("d.tsv", "parts/none.jsonl"), {}, r"none\.jsonl \(No such file"),
    ):
        with pytest.raises(InputError, match=words):
            load_data(DataSpec(train=train, blobs=blobs), name="mine", folder=tmp_path)  # type: ignore[arg-type]


def test_brackets_in_names_that_exist_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "run [1]"
    folder.mkdir()
    spec = three(folder, train=[("p", "a"), ("q", "b")])
    for name in ("train[1].jsonl", "train1.jsonl"):
        write(folder / name, [(name, "a"), ("other", "b")])
    literal = load_data(dataclasses.replace(spec, train="train[1].jsonl"), name="mine", folder=folder)
    assert literal.train.texts == ("train[1].jsonl", "other")
    pattern = load_data(dataclasses.replace(spec, train="train[12].jsonl"), name="mine", folder=folder)
    assert pattern.train.texts == ("train1.jsonl", "other")


def test_mlm_reads_several_files_and_gz(tmp_path: Path) -> None:
    spec = three(tmp_path)
    (tmp_path / "b.txt").write_text("b unit\n")
    (tmp_path / "a.txt").write_text("a unit\n\n")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"c unit\nc too", mtime=0))
    for mlm, units in (
        ("?.txt*", ("a unit", "b unit", "c unit", "c too")),
        (("c.txt.gz", "a.txt"), ("c unit", "c too", "a unit")),
    ):
        assert load_data(dataclasses.replace(spec, mlm=mlm), name="mine", folder=tmp_path).mlm_texts == units
    (tmp_path / "a.txt").write_text("\n")
    with pytest.raises(InputError, match=r"a\.txt holds no line of text"):
        load_data(dataclasses.replace(spec, mlm=("b.txt", "a.txt")), name="mine", folder=tmp_path)


@pytest.mark.parametrize("content", [b"text,label\na,x\n", gzip.compress(b"text,label\na,x\n" * 99, mtime=0)[:-9]])
def test_what_is_no_whole_gzip_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "train.csv.gz").write_bytes(content)
    with pytest.raises(InputError, match=r"train\.csv\.gz: not a whole gzip file \(.*\); compress or copy it again"):
        load_data(DataSpec(train="train.csv.gz"), name="mine", folder=tmp_path)


def test_blob_ids_are_of_the_files_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "plain.jsonl", many(30))
    content = (tmp_path / "plain.jsonl").read_bytes()
    packed = gzip.compress(content, mtime=0)
    (tmp_path / "train.jsonl.gz").write_bytes(packed)
    pinned = DataSpec(train="train.jsonl.gz", blobs={"train": blob_id(packed)})
    assert len(load_data(pinned, name="mine", folder=tmp_path).train) == 24
    with pytest.raises(InputError, match="git blob id"):
        load_data(dataclasses.replace(pinned, blobs={"train": blob_id(content)}), name="mine", folder=tmp_path)


def test_missing_splits_are_cut_from_train(tmp_path: Path) -> None:
    write(tmp_path / "all.jsonl", [*many(99), ("rare text", "rare")])
    data = load_data(DataSpec(train="all.jsonl"), name="mine", folder=tmp_path)
    assert CUT_SHARE == 0.1
    assert [len(split) for split in (data.train, data.validation, data.test)] == [80, 10, 10]
    assert data.labels == ("a", "b", "c", "rare")
    assert 3 in data.train.labels
    together = data.train.texts + data.validation.texts + data.test.texts
    assert len(set(together)) == len(together) == 100
    for split in (data.validation, data.test):
        assert all(3 <= count <= 4 for count in Counter(split.labels).values())
    assert [note for note in data.notes if "split_seed 0" in note] == [
        "test: 10 of the 100 rows of train, stratified, split_seed 0",
        "validation: 10 of the 100 rows of train, stratified, split_seed 0",
    ]
    assert "validation: no row of rare" in data.notes
    sized = DataSpec(train="all.jsonl", validation_rows=7, test_share=0.25)
    other = load_data(sized, name="mine", folder=tmp_path)
    assert [len(split) for split in (other.train, other.validation, other.test)] == [68, 7, 25]


def test_cut_of_test_does_not_move_with_the_size_of_validation(tmp_path: Path) -> None:
    write(tmp_path / "all.csv", many(90))
    first, second = (
        load_data(DataSpec(train="all.csv", validation_rows=rows), name="mine", folder=tmp_path) for rows in (5, 20)
    )
    assert first.test == second.test
    seeded = load_data(DataSpec(train="all.csv", validation_rows=5, split_seed=1), name="mine", folder=tmp_path)
    assert seeded.test != first.test


CUT_SCRIPT = """
import sys
from pathlib import Path
from l3masking.data.table import DataSpec, load_data
data = load_data(DataSpec(train="all.jsonl", split_seed=3), name="mine", folder=Path(sys.argv[1]))
print(data.content_hash, hash("mine"), sorted({"ray", "mlflow", "optuna", "study", "datasets"} & set(sys.modules)))
"""


def test_cut_is_the_same_in_another_process_and_nothing_heavy_is_imported(tmp_path: Path) -> None:
    write(tmp_path / "all.jsonl", many(120, "abcd"))
    here = load_data(DataSpec(train="all.jsonl", split_seed=3), name="mine", folder=tmp_path).content_hash
    hash_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CUT_SCRIPT, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=120)
    there, their_hash, imported = done.stdout.strip().split(maxsplit=2)
    assert int(their_hash) != hash("mine")  # the two processes do hash differently
    assert there == here
    assert imported == "[]"


def test_overlap_is_counted_noted_and_dropped_on_request(tmp_path: Path) -> None:
    spec = three(
        tmp_path,
        train=[("One", "a"), ("one ", "b"), ("two", "b"), ("three", "a")],
        validation=[("ONE", "a"), ("four", "b")],
        test=[("two", "a"), ("five", "b"), ("four", "b")],
    )
    splits = {part: getattr(spec, part) for part in THREE}
    data = load_data(spec, name="mine", folder=tmp_path)
    dropped = {f"dropped_{part}": 0 for part in THREE}
    rows = {"train_rows": 4, "validation_rows": 2, "test_rows": 3, "train_distinct": 3}
    ones = ("train_repeated", "train_conflicting", "validation_in_train", "test_in_train", "test_in_validation")
    assert data.overlap == {**rows, **dict.fromkeys(ones, 1), **dropped}
    assert "overlap: 1 of 3 test texts (33.3%) also occur in train (overlap: keep)" in data.notes
    evaluation = load_data(DataSpec(**splits, overlap="drop_from_eval"), name="mine", folder=tmp_path)
    assert (evaluation.validation.texts, evaluation.test.texts) == (("four",), ("five", "four"))
    assert evaluation.overlap == {**data.overlap, "dropped_validation": 1, "dropped_test": 1}
    assert evaluation.content_hash != data.content_hash
    note = "overlap: 1 of 3 test texts (33.3%) also occur in train, and test lost these rows (overlap: drop_from_eval)"
    assert note in evaluation.notes
    write(tmp_path / "train.jsonl", [("One", "a"), ("two", "b"), ("three", "a"), ("six", "b")])
    train = load_data(DataSpec(**splits, overlap="drop_from_train"), name="mine", folder=tmp_path)
    assert train.train.texts == train.mlm_texts == ("three", "six")
    assert train.overlap["dropped_train"] == 2
    said = "also occurred in train, and train lost these rows (overlap: drop_from_train)"
    assert f"overlap: 1 of 3 test texts (33.3%) {said}" in train.notes
    (tmp_path / "units.txt").write_text("new\nFOUR\nfive\nthree\n")
    units = load_data(DataSpec(**splits, overlap="drop_from_train", mlm="units.txt"), name="mine", folder=tmp_path)
    assert units.mlm_texts == ("new", "three"), "no evaluation text comes back through the masking task"
    assert units.overlap["dropped_mlm"] == 2


def test_no_unit_is_left_after_overlap(tmp_path: Path) -> None:
    splits = {part: getattr(three(tmp_path), part) for part in THREE}
    (tmp_path / "units.txt").write_text("five\nSEVEN\n")
    with pytest.raises(InputError, match=r"dataset mine: mlm has no text left \(overlap: drop_from_train\)"):
        load_data(DataSpec(**splits, mlm="units.txt", overlap="drop_from_train"), name="mine", folder=tmp_path)


def test_blank_texts_among_others_are_kept_and_counted(tmp_path: Path) -> None:
    data = load_data(three(tmp_path, train=[("\u200b", "a"), (" ", "b"), ("two", "b")]), name="m", folder=tmp_path)
    assert data.train.texts == ("\u200b", " ", "two")
    assert data.notes == ("train: 2 empty texts, kept",)


# (what, splits that differ from THREE, further settings, words of the message)
REFUSED: list[tuple[str, dict[str, Pairs], dict[str, object], list[str]]] = [
    ("single class", {"train": [("a", "x"), ("b", "x")]}, {}, ["dataset mine", "'x'", "two classes"]),
    ("unknown in test", {"test": [("p", "c"), ("q", "c"), ("r", "d")]}, {}, ["test", "'c' (2 rows)", "'d' (1 row)"]),
    ("unknown in validation", {"validation": [("p", "B")]}, {}, ["validation", "'B' (1 row)", "train has a, b"]),
    ("row count", {}, {"rows": {"test": 3}}, ["test has 2 rows, not the 3"]),
    ("blob id", {}, {"blobs": {"test": "0" * 40}}, ["test.jsonl", "git blob id", "0" * 40]),
    ("all of test dropped", {"test": [("one", "a")]}, {"overlap": "drop_from_eval"}, ["test has no row left"]),
    (
        "class dropped from train",
        {"train": [("p", "a"), ("q", "b"), ("r", "c")], "validation": [("s", "a")], "test": [("q", "b")]},
        {"overlap": "drop_from_train"},
        ["test", "'b' (1 row)", "drop_from_train"],
    ),
    ("cut too large", {}, {"test": None, "test_rows": 3}, ["no test file", "3 rows cannot be cut from 4", "2 at most"]),
    (
        "nothing left for the second cut",
        {"train": [("p", "a"), ("q", "b"), ("r", "b")]},
        {"validation": None, "test": None},
        ["no validation file", "1 rows cannot be cut from 2", "0 at most"],
    ),
    (
        "every text blank",
        {"train": [("", "a"), (" \n", "b"), ("\u200b\ufeff\u2800", "b")]},
        {},
        ["train.jsonl", "each of the 3 texts is blank", "scored or masked", "`text`"],
    ),
    ("the one text blank", {"test": [("\u00ad", "a")]}, {}, ["test.jsonl", "the only text is blank"]),
    (
        "all that is left is blank",
        {"train": [("p", "a"), ("", "a"), (" ", "b"), ("q", "b")], "validation": [("p", "a"), ("q", "b")]},
        {"overlap": "drop_from_train"},
        ["dataset mine: train", "each of the 2 texts is blank"],
    ),
    ("absent file", {}, {"validation": "elsewhere.csv"}, ["elsewhere.csv", "No such file", "space file's folder"]),
]


@pytest.mark.parametrize(("splits", "settings", "words"), [case[1:] for case in REFUSED], ids=[c[0] for c in REFUSED])
def test_data_is_refused(
    tmp_path: Path, splits: dict[str, Pairs], settings: dict[str, object], words: list[str]
) -> None:
    three(tmp_path, **splits)
    spec = DataSpec(**{**{part: f"{part}.jsonl" for part in THREE}, **settings})  # type: ignore[arg-type]
    with pytest.raises(InputError) as caught:
        load_data(spec, name="mine", folder=tmp_path)
    assert [word for word in words if word not in str(caught.value)] == []
    assert "\n" not in str(caught.value)


def test_hub_spec_reads_each_split_and_notes_the_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answer(part: sources.HubPart, *_: object) -> tuple[sources.Rows, str]:
        asked.append(part)
        return sources.Rows([f"{part.split} {n}" for n in range(20)], ["a", "b"] * 10), "c" * 40

    monkeypatch.setattr(sources, "_from_hub", answer)
    spec = DataSpec(hub="owner/name", subset="plain", train="train", test="test[:5]")
    data = load_data(spec, name="mine", cache=tmp_path)
    assert [(part.hub, part.subset, part.split) for part in asked] == [
        ("owner/name", "plain", "train"),
        ("owner/name", "plain", "test[:5]"),
    ]
    assert [len(split) for split in (data.train, data.validation, data.test)] == [18, 2, 20]
    assert data.notes[0] == f"Hub dataset owner/name is not pinned; it was read with revision: {'c' * 40}"
    assert load_data(spec, name="mine", cache=tmp_path, offline=True) == data


def test_downloaded_dataset_is_checked_against_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "train.jsonl", many(30))
    content = (tmp_path / "train.jsonl").read_bytes()
    monkeypatch.setattr(sources, "download", lambda _: content)
    expected = {"train": 24, "validation": 3, "test": 4, "classes": 3}
    spec = DataSpec(
        train="https://example.org/train.jsonl",
        blobs={"train": blob_id(content)},
        rows={"train": 30},
        expected=expected,
    )
    again = DataSpec(train=("https://example.org/train.jsonl",), blobs={"train": (blob_id(content),)})
    data = load_data(spec, name="mine", cache=tmp_path / "cache")
    listed = load_data(again, name="mine", cache=tmp_path / "cache", offline=True)
    assert listed.content_hash == data.content_hash
    assert data.notes[-1] == "not the expected numbers: test 3 instead of 4"
    assert load_data(spec, name="mine", cache=tmp_path / "cache", offline=True) == data


def test_real_acl_arc() -> None:
    registry = DATASETS["acl-arc"]
    spec = DataSpec(
        train="train.jsonl",
        validation="dev.jsonl",
        test="test.jsonl",
        blobs=registry.blobs,
        rows=registry.rows,
        expected=registry.expected,
    )
    data = load_data(spec, name="acl-arc", folder=acl_arc_folder())
    assert not [note for note in data.notes if note.startswith("not the expected")]
    assert Counter(data.labels[label] for label in data.train.labels) == {
        "Background": 867,
        "Uses": 317,
        "CompareOrContrast": 305,
        "Motivation": 76,
        "Extends": 63,
        "Future": 60,
    }
    assert sorted(Counter(data.test.labels).values(), reverse=True) == [71, 26, 25, 7, 5, 5]
    counts = data.overlap
    assert (counts["train_repeated"], counts["train_distinct"], counts["train_conflicting"]) == (418, 1270, 20)
    assert (counts["test_in_train"], counts["validation_in_train"]) == (52, 43)
    assert data.mlm_texts == data.train.texts
