"""Texts that become entries of a file and stay texts."""

from __future__ import annotations

import csv
import io

import pytest
from hostile_names import PAYLOADS

from study.report.escape import csv_text, latex_text, markdown_table, markdown_text


@pytest.mark.parametrize("text", [*PAYLOADS, "plain", 'with "quotes", and a comma', "ends\r"])
def test_a_csv_reader_gets_the_text_back(text: str):
    [header, row] = csv.reader(io.StringIO(csv_text(["a", "b"], [[text, -1.5]]), newline=""))
    assert header == ["a", "b"]
    assert row[0].removeprefix("'") == text
    assert not row[0].startswith(("=", "+", "-", "@", "\t", "\r"))
    assert row[1] == "-1.5"  # a number keeps its sign


def test_an_empty_entry_is_none():
    assert csv_text(["a", "b"], [[None, 0]]) == "a,b\n,0\n"


def test_latex_and_markdown_of_all_special_characters():
    assert latex_text(r"\{}$&#^_~%<|>") == (
        r"\textbackslash{}\{\}\$\&\#\textasciicircum{}\_\textasciitilde{}\%\textless{}\textbar{}\textgreater{}"
    )
    assert markdown_text("a*b_c<d>|`[x]`$") == r"a\*b\_c&lt;d&gt;\|\`\[x\]\`&#36;"


def test_a_markdown_table():
    assert markdown_table(["a", "b"], "lr", [["x", "1"]]) == "| a | b |\n| --- | ---: |\n| x | 1 |"
