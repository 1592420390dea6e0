"""Files in five formats: the table of bad ones, and the texts that other readers spoil."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from l3masking.data.rows import Columns, Rows, read_rows, read_texts
from l3masking.errors import InputError

BOOLEAN = b'{"text": "a", "label": true}\n'
SWALLOWED = b'text\tlabel\n"a\tx\nb\ty\nc"\tx\n'  # as a reader of quotes sees it, one row of three
GOOD = b'{"text": "a", "label": "x"}\n'


def read(content: bytes, suffix: str = ".jsonl") -> Rows:
    return read_rows(content, f"data/file{suffix}", suffix, Columns("text", "label"))


def parquet(**columns: object) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink)
    return sink.getvalue()


def undecodable_parquet() -> bytes:
    offsets, body = pa.py_buffer(bytes([0, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"\xff\xfe")
    return parquet(text=pa.Array.from_buffers(pa.string(), 1, [None, offsets, body]), label=["x"])


# (what, suffix, bytes, words that the message must hold)
BAD = [
    ("empty file", ".jsonl", b"", ["file.jsonl is empty"]),
    ("blank file", ".csv", b"\n \n", ["file.csv is empty"]),
    ("byte-order mark alone", ".csv", b"\xef\xbb\xbf\n", ["file.csv is empty"]),
    ("empty parquet", ".parquet", b"", ["file.parquet is empty"]),
    ("header alone", ".csv", b"text,label\n", ["holds no rows"]),
    ("empty array", ".json", b"[]", ["holds no rows"]),
    ("empty table", ".parquet", parquet(text=pa.array([], pa.string()), label=pa.array([], pa.string())), ["no rows"]),
    ("torn line", ".jsonl", GOOD + b'{"text": "b", "la', ["line 2", "not JSON", "one whole JSON object"]),
    ("line after a blank", ".jsonl", GOOD + b"\n{oops}\n", ["line 3", "not JSON"]),
    ("deep nesting", ".jsonl", GOOD + b"[" * 200_000, ["line 2", "not JSON"]),
    ("no object", ".jsonl", GOOD + b'["b", "x"]\n', ["line 2", "not an object"]),
    ("torn array", ".json", b'[{"text": "a", "label": "x"},', ["file.json", "not JSON", "array"]),
    ("array of strings", ".json", b'["a"]', ["row 1", "not an object"]),
    ("invalid UTF-8", ".jsonl", GOOD + b'{"text": "caf\xe9", "label": "x"}\n', ["line 2", "0xe9", "UTF-8"]),
    ("invalid UTF-8 in CSV", ".csv", b"text,label\na,x\ncaf\xe9,x\n", ["line 3", "0xe9", "UTF-8"]),
    ("UTF-16", ".csv", "text,label\na,x\n".encode("utf-16"), ["line 1", "0xff", "UTF-8"]),
    ("NUL", ".jsonl", b'{"text": "a\\u0000b", "label": "x"}', ["line 1", "`text`", "NUL"]),
    ("zero-filled tail", ".csv", b"text,label\na,x\nb,x\0\0\0", ["line 3", "a NUL byte"]),
    ("NUL in another column", ".tsv", b"text\tlabel\tid\na\tx\t\0\n", ["line 2", "a NUL byte"]),
    ("UTF-16 JSON lines", ".jsonl", GOOD.decode().encode("utf-16"), ["line 1", "0xff", "it starts UTF-16"]),
    ("UTF-32", ".tsv", "text\tlabel\na\tx\n".encode("utf-32"), ["line 1", "0xff", "it starts UTF-16"]),
    ("UTF-16 without a mark", ".jsonl", GOOD.decode().encode("utf-16-le"), ["NUL byte after every letter", "UTF-8"]),
    ("big-endian", ".csv", "text,label\né,x\n".encode("utf-16-be"), ["NUL byte after every letter", "UTF-8"]),
    ("UTF-16 array", ".json", f"[{GOOD.decode()}]".encode("utf-16-le"), ["NUL byte after every letter"]),
    ("gzip without its suffix", ".csv", gzip.compress(b"text,label\na,x\n"), ["compressed with gzip", "end in .gz"]),
    ("two files joined", ".csv", b"text,label\na,x\n\xef\xbb\xbfb,x\n", ["line 3 starts with a byte-order mark"]),
    ("two marks", ".csv", b"\xef\xbb\xbf" * 2 + b"text,label\na,x\n", ["line 1 starts with a byte-order mark"]),
    ("mark in JSON lines", ".jsonl", GOOD + b"\xef\xbb\xbf" + GOOD, ["line 2 starts with a byte-order mark"]),
    ("key twice", ".jsonl", GOOD + b'{"text": "b", "label": "x", "label": "y"}', ["line 2", "'label' is twice"]),
    ("key twice, the same value", ".jsonl", b'{"text": "b", "text": "b", "label": "x"}', ["line 1", "'text' is twice"]),
    ("other key twice", ".jsonl", b'{"id": 1, "id": 2, "text": "b", "label": "x"}', ["line 1", "'id' is twice"]),
    ("key twice inside", ".jsonl", GOOD + b'{"text": "b", "label": "x", "m": [{"k": 1, "k": 2}]}', ["line 2", "'k'"]),
    (
        "key twice in an array",
        ".json",
        b"[" + GOOD + b', {"text": "b", "label": "x", "text": "c"}]',
        ["row 2", "'text'"],
    ),
    ("half a surrogate", ".jsonl", b'{"text": "a\\ud83d", "label": "x"}', ["line 1", "surrogate"]),
    ("key absent", ".jsonl", GOOD + b'{"text": "b", "lable": "x"}\n', ["line 2", "`label`", "'text', 'lable'"]),
    ("column absent", ".csv", b"sentence,label\na,x\n", ["no column `text`", "'sentence', 'label'", "`text:`"]),
    ("parquet column absent", ".parquet", parquet(text=["a"], y=["x"]), ["no column `label`", "'text', 'y'"]),
    ("column twice", ".csv", b"text,label,text\na,x,b\n", ["2 columns are called `text`"]),
    ("null text", ".jsonl", GOOD + b'{"text": null, "label": "x"}\n', ["line 2", "`text` is null"]),
    ("null text in parquet", ".parquet", parquet(text=["a", None], label=["x", "y"]), ["row 2", "`text` is null"]),
    ("number for a text", ".jsonl", b'{"text": 5, "label": "x"}\n', ["line 1", "`text` is 5", "int"]),
    ("null label", ".jsonl", GOOD + b'{"text": "b", "label": null}\n', ["line 2", "`label` is null"]),
    ("null label in parquet", ".parquet", parquet(text=["a", "b"], label=[1, None]), ["row 2", "`label` is null"]),
    ("empty label", ".csv", b"text,label\na,x\nb, \n", ["line 3", "`label` is empty"]),
    ("invisible label", ".jsonl", '{"text": "b", "label": "\u200b "}\n'.encode(), ["line 1", "`label` is empty"]),
    ("mixed labels", ".jsonl", GOOD + b'{"text": "b", "label": 0}\n', ["mixes", "line 1 ('x')", "line 2 (0)"]),
    ("boolean and number", ".jsonl", BOOLEAN + b'{"text": "b", "label": 1}', ["mixes booleans and numbers", "(True)"]),
    ("boolean and string", ".jsonl", BOOLEAN + b'{"text": "b", "label": "true"}', ["mixes booleans and strings"]),
    ("half a label", ".jsonl", b'{"text": "b", "label": 1.5}\n', ["line 1", "1.5, a float", "whole numbers"]),
    ("label that is no number", ".jsonl", b'{"text": "b", "label": NaN}\n', ["line 1", "nan", "whole numbers"]),
    ("endless label", ".json", b'[{"text": "b", "label": 1e999}]', ["row 1", "inf", "whole numbers"]),
    ("NaN in parquet", ".parquet", parquet(text=["a", "b"], label=[1.0, float("nan")]), ["row 2", "nan"]),
    ("float too large", ".jsonl", b'{"text": "b", "label": 9007199254740992.0}', ["line 1", "whole numbers"]),
    ("list label", ".jsonl", b'{"text": "b", "label": ["x"]}\n', ["line 1", "['x']", "list"]),
    ("too many fields", ".csv", b"text,label\na,b,x\n", ["line 2", "3 fields", "has 2", "double quotes"]),
    ("comma-separated TSV", ".tsv", b"text,label\na,x\n", ["no column `text`", "'text,label'"]),
    ("too many fields in TSV", ".tsv", b"text\tlabel\na\tb\tx\n", ["line 2", "3 fields", "texts with tabs"]),
    ("quote that swallows lines", ".tsv", SWALLOWED, ["line 4", "tabs and line breaks", "not closed"]),
    ("open quote in TSV", ".tsv", b'text\tlabel\na\tx\n"b\tx\n', ["line 3", "not TSV", "double quotes"]),
    ("too few fields", ".csv", b"text,label\na,x\nb\n", ["line 3", "1 fields", "has 2"]),
    ("open quote", ".csv", b'text,label\na,x\n"b,x\n', ["line 3", "not CSV", "double quotes"]),
    ("not parquet", ".parquet", b"PAR1 and then something else", ["not a readable Parquet file"]),
    ("torn parquet", ".parquet", parquet(text=["a"], label=["x"])[:-20], ["not a readable Parquet file"]),
    ("parquet of bytes", ".parquet", parquet(text=[b"a"], label=["x"]), ["row 1", "bytes"]),
    ("undecodable parquet", ".parquet", undecodable_parquet(), ["not a readable Parquet file", "0xff"]),
]


@pytest.mark.parametrize(("suffix", "content", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
def test_bad_file_is_refused_in_one_line(suffix: str, content: bytes, words: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        read(content, suffix)
    message = str(caught.value)
    assert f"data/file{suffix}" in message
    assert "\n" not in message
    assert len(message) < 400
    assert [word for word in words if word not in message] == []


TEXTS = ["NA", "null", "None", "", "nan", "a, b", 'she said "x"', "two\nlines", "crlf\r\nin it", " é \u2028 \x85 ", "0"]


@pytest.mark.parametrize("labels", [[str(n % 3) for n in range(len(TEXTS))], [n % 3 for n in range(len(TEXTS))]])
def test_five_formats_give_the_same_rows(labels: list[str] | list[int]) -> None:
    records = [{"text": text, "label": label} for text, label in zip(TEXTS, labels, strict=True)]
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, ["label", "text"])
    writer.writeheader()
    writer.writerows(records)
    wanted = Rows(TEXTS, [str(label) for label in labels])
    assert read("\n".join(json.dumps(row, ensure_ascii=False) for row in records).encode()) == wanted
    assert read(json.dumps(records, indent=1).encode(), ".json") == wanted
    assert read(table.getvalue().encode(), ".csv") == wanted
    tabbed = io.StringIO(newline="")
    csv.writer(tabbed, csv.excel_tab).writerows([["label", "text"], *([row["label"], row["text"]] for row in records)])
    assert read(tabbed.getvalue().encode(), ".tsv") == wanted
    assert read(parquet(text=TEXTS, label=labels), ".parquet") == wanted
    dictionary = pa.array(TEXTS).dictionary_encode()
    assert read(parquet(text=dictionary, label=labels, more=labels), ".parquet") == wanted


LABELS = [  # values of a column, the labels made of them
    ([True, False], ["true", "false"]),
    ([1.0, 0.0, -0.0, -2.0], ["1", "0", "0", "-2"]),
    ([9007199254740991.0], ["9007199254740991"]),
    ([3, 2], ["3", "2"]),
    (["1.0", "True", " a "], ["1.0", "True", " a "]),  # text is the label as it is
]


@pytest.mark.parametrize(("values", "labels"), LABELS)
def test_what_becomes_of_labels(values: list[object], labels: list[str]) -> None:
    texts = [f"text {n}" for n in range(len(values))]
    rows = [{"text": text, "label": value} for text, value in zip(texts, values, strict=True)]
    assert read("\n".join(map(json.dumps, rows)).encode()) == Rows(texts, labels)
    assert read(json.dumps(rows).encode(), ".json") == Rows(texts, labels)
    assert read(parquet(text=texts, label=values), ".parquet") == Rows(texts, labels)
    if isinstance(values[0], str):
        lines = [f"{text},{label}" for text, label in zip(texts, labels, strict=True)]
        assert read("\n".join(["text,label", *lines]).encode(), ".csv").labels == labels


def test_one_and_one_point_zero_are_one_class_in_one_file() -> None:
    lines = b'{"text": "a", "label": 1}\n{"text": "b", "label": 1.0}\n{"text": "c", "label": 1e0}'
    assert read(lines).labels == ["1", "1", "1"]


def test_tsv_keeps_quotes_inside_a_text_and_commas() -> None:
    assert read(b'text\tlabel\nhe said "a", b\tx\n', ".tsv") == Rows(['he said "a", b'], ["x"])


def test_byte_order_mark_and_blank_lines_do_not_count() -> None:
    assert read(b"\xef\xbb\xbf\r\ntext,label\r\n\r\na,x\r\n", ".csv") == Rows(["a"], ["x"])
    assert read(b"\xef\xbb\xbf" + GOOD + b"\r\n\n") == Rows(["a"], ["x"])


def test_long_text_is_read_and_csv_limit_put_back() -> None:
    long = "word " * 100_000
    before = csv.field_size_limit()
    assert read(f'text,label\n"{long}",x\n'.encode(), ".csv").texts == [long]
    with pytest.raises(InputError, match="not CSV"):
        read(b'text,label\n"a', ".csv")
    assert csv.field_size_limit() == before


def test_texts_alone_need_no_label() -> None:
    columns = Columns("a", None, "b", "--text-column")
    assert str(columns) == "`a` and `b`"
    assert str(Columns("a", None)) == "`a`"
    content = b'{"a": "x", "b": ""}\n\n{"b": "z", "a": "y", "label": null}\n'
    assert read_texts(content, "f.jsonl", ".jsonl", columns) == [("x", ""), ("y", "z")]
    assert read_texts(parquet(a=["x", "y"]), "f.parquet", ".parquet", Columns("a", None)) == ["x", "y"]
    for wrong, words in (
        (b'{"a": "x"}', "line 1: no column `b`; the columns there are: 'a'. Name the right one with --text-column"),
        (b'{"a": "x", "b": 3}', "`b` is 3, of type int; a text must be a string"),
        (b" ", "f.jsonl is empty: it needs one row or more with `a` and `b`"),
    ):
        with pytest.raises(InputError) as caught:
            read_texts(wrong, "f.jsonl", ".jsonl", columns)
        assert words in str(caught.value)
