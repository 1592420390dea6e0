"""The plain texts that `mlm` names: the checks of tables hold for them, and a table is refused."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from l3masking.data.content import decode, text_lines, unpack
from l3masking.data.spec import DataSpec
from l3masking.data.table import load_data
from l3masking.errors import InputError

ROWS = "\n".join(json.dumps({"text": f"ra min {n}", "label": "xy"[n % 2]}) for n in range(30))
TEXT = "ra min to\nhu ther\n"

# (what, bytes, words that the message must hold)
BAD = [
    ("JSON lines", ROWS.encode(), ["is JSON", "braces", "into a .txt file, or say mlm: instance"]),
    ("JSON lines, the last one torn", ROWS[:100].encode(), ["is JSON"]),
    ("a JSON array over several lines", json.dumps([{"text": "a"}], indent=1).encode(), ["is JSON"]),
    ("CSV", b"text,label\nra min,x\n", ["starts with the header 'text,label'", "mlm: instance"]),
    ("CSV without labels", b'"id","text"\r\n1,ra min\r\n', ['header \'"id","text"\'']),
    ("TSV", b"label\ttext\nx\tra min\n", ["header 'label\\ttext'"]),
    ("semicolons", b"text;label\nra;x\n", ["header 'text;label'"]),
    ("UTF-16", TEXT.encode("utf-16"), ["line 1", "0xff", "UTF-16", "save the file as UTF-8"]),
    ("UTF-16 without a mark", TEXT.encode("utf-16-le"), ["NUL byte after every letter"]),
    ("big-endian UTF-16 without a mark", TEXT.encode("utf-16-be"), ["NUL byte after every letter"]),
    ("a NUL", b"ra min\nto\0\n", ["line 2", "a NUL byte"]),
    ("not UTF-8", b"ra\nmin\ncaf\xe9\n", ["line 3", "0xe9"]),
    ("gzip without its suffix", gzip.compress(TEXT.encode()), ["compressed with gzip", "end in .gz"]),
    ("two files joined", b"ra\n\xef\xbb\xbfmin\n", ["line 2 starts with a byte-order mark"]),
    ("nothing", b"", ["no line of text"]),
]


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in BAD], ids=[case[0] for case in BAD])
@pytest.mark.parametrize("packed", [False, True])
def test_what_is_no_plain_text_is_refused(tmp_path: Path, content: bytes, words: list[str], packed: bool) -> None:
    (tmp_path / "train.jsonl").write_text(ROWS)
    path = tmp_path / ("domain.txt.gz" if packed else "domain.txt")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(InputError) as caught:
        load_data(DataSpec(train="train.jsonl", mlm=path.name), name="mine", folder=tmp_path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert [word for word in words if word not in message] == []


PLAIN = [
    "Well, text is text.\nAnd more",
    "text\nlabel\n",  # words, one per line
    "first, second\nthird",
    "a,b\nc",  # no column of this dataset
    "{curly} braces\n[1] a reference",
    '{"text": "one example"}\nof a format\nthat somebody explains',
    "[1]\n[2]\n[3]",
    "{}\n{}",
    "é \u2028 é\n naïve \x85 x\u200b",
]


@pytest.mark.parametrize("text", PLAIN)
def test_plain_text_is_read_as_it_is(text: str) -> None:
    assert text_lines(text.encode(), "f.txt", "text") == text.split("\n")[: text.count("\n") + (text[-1] != "\n")]


def test_the_header_is_that_of_the_columns_of_this_dataset() -> None:
    assert text_lines(b"text,label\na,x", "f.txt", "sentence") == ["text,label", "a,x"]
    with pytest.raises(InputError, match="header 'sentence,label'"):
        text_lines(b"sentence,label\na,x", "f.txt", "sentence")


def test_other_letters_are_no_utf_16() -> None:
    for text in ("a", "日本語", "Grüße\n" * 2000, "\x01\x02"):
        assert decode(text.encode(), "f") == text
    assert decode(b"\xef\xbb\xbftext", "f") == "text"
    assert decode("a \ufeff b".encode(), "f") == "a \ufeff b", "a mark inside a line is text"


def test_unpacking_goes_by_the_name() -> None:
    packed = gzip.compress(b"a") + gzip.compress(b"b")  # as `cat` of two files makes
    assert unpack(packed, "x.TXT.GZ", "x") == b"ab"
    assert unpack(packed, "x.txt", "x") == packed
