"""What would fill the memory is refused in one line, and a text of any length is cut (S13)."""

from __future__ import annotations

import gzip
import io
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_task import tokenizer

from l3masking.data import content, corpus
from l3masking.data.corpus import CorpusSpec, corpus_units
from l3masking.data.rows import Columns, read_rows
from l3masking.data.textdata import CLASS_LIMIT, classes
from l3masking.errors import InputError
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "MOST_UNPACKED", 2**20)
    fits, bomb = gzip.compress(bytes(2**20)), gzip.compress(bytes(2**20 + 1))
    assert len(bomb) < 2000
    assert len(content.unpack(fits, "a.csv.gz", "a.csv.gz")) == 2**20
    with pytest.raises(InputError, match=r"^a\.csv\.gz unpacks to more than .* GiB; cut it into several files$"):
        content.unpack(bomb, "a.csv.gz", "a.csv.gz")
    twice = gzip.compress(bytes(2**19)) + gzip.compress(bytes(2**20))
    with pytest.raises(InputError, match="unpacks to more than"):
        content.unpack(twice, "a.csv.gz", "a.csv.gz")


def test_a_parquet_file_of_one_repeated_text_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    written = io.BytesIO()
    table = pa.table({"text": ["a" * 10_000] * 1000, "label": ["x"] * 1000})
    pq.write_table(table, written, compression="zstd", use_dictionary=False)
    packed, columns = written.getvalue(), Columns("text", "label")
    assert len(packed) < 200_000
    assert len(read_rows(packed, "a.parquet", ".parquet", columns).texts) == 1000
    monkeypatch.setattr(content, "MOST_UNPACKED", 2**20)
    with pytest.raises(InputError, match=r"a\.parquet unpacks to more than"):
        read_rows(packed, "a.parquet", ".parquet", columns)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.jsonl"])
def test_a_line_without_an_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(corpus, "MOST_LINE_BYTES", 1000)
    path, line = tmp_path / name, b"a" * 1001
    path.write_bytes(gzip.compress(line) if name.endswith(".gz") else line)
    with pytest.raises(InputError, match=r"line 1: more than 1000 bytes; write one text per line$"):
        list(corpus_units(CorpusSpec(files=str(path)), folder=tmp_path))
    path.write_bytes(gzip.compress(line[1:]) if name == "a.txt.gz" else b'{"text": "b"}\n' * 500)
    assert list(corpus_units(CorpusSpec(files=str(path)), folder=tmp_path))


def test_labels_that_are_no_classes_are_refused() -> None:
    assert len(classes("d", [str(number) for number in range(CLASS_LIMIT)])) == CLASS_LIMIT
    with pytest.raises(InputError, match="dataset d: train has 10001 classes, and 10000 are the most; name the column"):
        classes("d", [str(number) for number in range(CLASS_LIMIT + 1)])


def test_a_text_of_100000_tokens_is_cut() -> None:
    began = time.process_time()
    (text,) = encode_as(ScoringConfig(max_length=16), tokenizer(), ["the " * 100_000])
    assert len(text.input_ids) == 16
    assert time.process_time() - began < 5
