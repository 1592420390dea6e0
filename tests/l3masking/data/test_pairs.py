"""Pairs of texts in files: one more column, the same checks, their own content hash."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3masking.data.pairs import as_text, each_part, is_blank_text, is_half_blank, num_characters, parts_of
from l3masking.data.rows import Columns, read_rows
from l3masking.data.splits import Overlap
from l3masking.data.table import DataSpec, load_data
from l3masking.errors import InputError

COLUMNS = Columns("premise", "gold", "hypothesis")
ROWS = [("A man eats.", "Nobody eats.", "no"), ("It rains", "It is wet", "yes"), ("", "empty side", "no")]


def jsonl(rows: list[tuple[str, str, str]] = ROWS) -> bytes:
    return "\n".join(json.dumps(dict(zip(COLUMNS.read, row, strict=True))) for row in rows).encode()


def spec(overlap: Overlap = "keep") -> DataSpec:
    """Of train.jsonl and dev.jsonl."""
    files = {"train": "train.jsonl", "validation": "dev.jsonl", "test": "dev.jsonl"}
    return DataSpec(**files, text="premise", text_pair="hypothesis", label="gold", overlap=overlap)


def parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({name: [row[at] for row in ROWS] for at, name in enumerate(COLUMNS.read)}), sink)
    return sink.getvalue().to_pybytes()


FILES = {
    ".jsonl": jsonl(),
    ".json": json.dumps([dict(zip(COLUMNS.read, row, strict=True)) for row in ROWS]).encode(),
    ".csv": b"gold,premise,hypothesis\nno,A man eats.,Nobody eats.\nyes,It rains,It is wet\nno,,empty side\n",
    ".tsv": b"premise\thypothesis\tgold\nA man eats.\tNobody eats.\tno\nIt rains\tIt is wet\tyes\n\tempty side\tno\n",
    ".parquet": parquet(),
}


@pytest.mark.parametrize("suffix", FILES)
def test_each_format_gives_pairs(suffix: str) -> None:
    rows = read_rows(FILES[suffix], f"file{suffix}", suffix, COLUMNS)
    assert rows.texts == [(first, second) for first, second, _ in ROWS]
    assert rows.labels == ["no", "yes", "no"]


def test_a_pair_column_that_a_file_lacks_is_named(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_bytes(jsonl())
    (tmp_path / "test.csv").write_text("premise,gold\nIt rains,yes\n")
    one_sided = DataSpec(
        train="train.jsonl", test="test.csv", text="premise", text_pair="hypothesis", label="gold", validation_rows=1
    )
    with pytest.raises(InputError, match=r"test\.csv: no column `hypothesis`; .*'premise', 'gold'.*`text_pair:`"):
        load_data(one_sided, name="nli", folder=tmp_path)


def test_a_null_in_the_second_column_is_refused_with_its_line() -> None:
    content = jsonl() + b'\n{"premise": "a", "hypothesis": null, "gold": "no"}'
    with pytest.raises(InputError, match=r"file line 4: `hypothesis` is null"):
        read_rows(content, "file", ".jsonl", COLUMNS)


@pytest.mark.parametrize("field", ["text", "label"])
def test_two_fields_cannot_name_one_column(field: str) -> None:
    with pytest.raises(InputError, match=rf"`{field}` and `text_pair` both|`text_pair` and `{field}` both"):
        DataSpec(train="train.jsonl", text_pair="x", **{field: "x"})


def test_a_loaded_pair_dataset(tmp_path: Path) -> None:
    rows = [(f"premise {n}", f"hypothesis {n}", "yes" if n % 2 else "no") for n in range(8)]
    (tmp_path / "train.jsonl").write_bytes(jsonl([*rows, ("", " ", "yes"), ("PREMISE  1", "hypothesis 1", "no")]))
    (tmp_path / "dev.jsonl").write_bytes(jsonl([rows[0], ("premise 0", "hypothesis 1", "no")]))
    data = load_data(spec(), name="nli", folder=tmp_path)
    assert data.train.texts[0] == ("premise 0", "hypothesis 0")
    assert data.mlm_texts == data.train.texts
    assert data.overlap["validation_in_train"] == 1, "a pair is the same where both of its texts are"
    assert data.overlap["train_conflicting"] == 1, "case and white space do not count, in either text"
    assert "train: 1 empty texts, kept" in data.notes, "only the row of which both texts are blank"
    assert not [note for note in data.notes if "pairs" in note]


def test_pairs_with_one_empty_text_are_noted(tmp_path: Path) -> None:
    rows = [(f"premise {n}", "hypothesis" if n else " ", "yes" if n % 2 else "no") for n in range(4)]
    (tmp_path / "train.jsonl").write_bytes(jsonl(rows))
    (tmp_path / "dev.jsonl").write_bytes(jsonl(rows[1:3]))
    found = load_data(spec(overlap="drop_from_train"), name="x", folder=tmp_path)
    assert "train: in 1 of 2 pairs one text is empty and the other is not; they are kept" in found.notes


def test_where_a_pair_is_cut_changes_the_content_hash(tmp_path: Path) -> None:
    hashes = set()
    for first in ("ab", "a"):
        rows = [(first, "abc"[len(first) :], "no"), *((f"x{n}", "y", "yes" if n % 2 else "no") for n in range(4))]
        for name in ("train", "dev"):
            (tmp_path / f"{name}.jsonl").write_bytes(jsonl(rows))
        hashes.add(load_data(spec(), name="x", folder=tmp_path).content_hash)
    assert len(hashes) == 2


def test_helpers_treat_a_string_as_one_part() -> None:
    assert parts_of("a b") == ("a b",)
    assert parts_of(("a", "b")) == ("a", "b")
    assert each_part(str.upper, "a") == "A"
    assert each_part(str.upper, ("a", "b")) == ("A", "B")
    assert num_characters("abc") == 3 == num_characters(("a", "bc"))
    assert as_text(["a", "b"]) == ("a", "b")
    assert as_text("ab") == "ab"
    assert is_blank_text((" ", "\u200b"))
    assert not is_blank_text((" ", "a"))
    assert all(map(is_half_blank, [(" ", "a"), ("a", "")]))
    assert not any(map(is_half_blank, [("a", "b"), ("", " "), "a", ""]))
