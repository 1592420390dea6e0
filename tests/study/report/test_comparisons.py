"""Comparisons in each format: the documented JSON, CSV entries, tables, and names that attack."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import re

import pytest
from compared_cells import better, seeded
from hostile_names import PAYLOADS

from study.report.comparisons import (
    NO_COMPARISON,
    comparisons_csv,
    comparisons_json,
    comparisons_markdown,
    comparisons_text,
    table,
)
from study.report.wording import sentence
from study.results.against import against_paper
from study.results.compare import compare
from study.results.comparison import Comparison, Side

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]
CELLS = [*better(UP, TEN), *better(UP[:3], TEN[:3], dataset="imdb", wanted=3), *better(UP, TEN, objective="macro_f1")]


def test_json_is_one_object_with_a_list():
    found = json.loads(comparisons_json(compare(CELLS), study="s", notes=["a note"]), parse_constant=pytest.fail)
    assert (found["study"], found["against"], found["notes"]) == ("s", None, ["a note"])
    assert (found["confidence"], found["level"]) == (0.95, 0.05)
    first = found["comparisons"][0]
    fields = {field.name for field in dataclasses.fields(Comparison)}
    assert set(first) == fields | {"verdict", "decisive", "sentence"}
    assert set(first["first"]) == {field.name for field in dataclasses.fields(Side)}
    assert (first["question"], first["n"], first["decisive"]) == ("l3masking vs rtm", 10, False)
    assert [entry["verdict"] for entry in found["comparisons"]] == ["on_this_test_set", "undecided", "to_confirm"]
    assert [entry["confirmatory"] for entry in found["comparisons"]] == [True, True, False]
    sure = [dataclasses.replace(entry, joint_low=0.01, joint_high=0.03) for entry in compare(CELLS)]
    assert json.loads(comparisons_json(sure))["comparisons"][0]["decisive"] is True
    assert first["sentence"] == sentence(compare(CELLS)[0])
    assert json.loads(comparisons_json([]))["comparisons"] == []


def test_csv_has_one_line_per_comparison():
    rows = list(csv.DictReader(io.StringIO(comparisons_csv(compare(CELLS)))))
    assert [row["dataset"] for row in rows] == ["arc", "imdb", "arc"]
    assert (rows[0]["first_method"], rows[0]["second_method"], rows[0]["second_study"]) == ("l3masking", "rtm", "")
    assert float(rows[0]["difference"]) == pytest.approx(sum(UP) / 10)
    assert rows[0]["joint_low"] == ""
    assert [(row["confirmatory"].lower(), row["verdict"], row["decisive"].lower()) for row in rows] == [
        *(("true", "on_this_test_set", "false"), ("true", "undecided", "false"), ("false", "to_confirm", "false"))
    ]
    assert rows[1]["sentence"].endswith("not decisive).")
    [noted] = csv.DictReader(io.StringIO(comparisons_csv(against_paper([seeded("stl", TEN, **PAPERS)]))))
    assert "look exchanged" in noted["notes"]


PAPERS = {"encoder": "bert-base", "dataset": "acl-arc"}


def test_markdown_has_a_table_and_sentences_for_each_family():
    text = comparisons_markdown(compare(CELLS), ["what *holds* for all"])
    assert "\n- what \\*holds\\* for all\n" in text
    assert "Confirmatory: 2 of 2 planned comparisons are complete." in text
    assert "Exploratory: 1 of 1 planned comparison is complete." in text
    assert re.findall("^## (.*)$", text, re.MULTILINE) == [
        *("L3Masking against RTM, accuracy (confirmatory)", "L3Masking against RTM, macro F1 (exploratory)")
    ]
    accuracy, macro = text.split("## ")[1:]
    assert (
        "| Encoder, data | Seeds | L3Masking | RTM | Difference | 95 % interval | d\\_z | p | Holm | SE |" in accuracy
    )
    assert (
        "| bert / arc | n=10 | 73.25 ± 1.73 | 71.20 ± 1.55 | +2.05 | 1.83 to 2.27 | 6.77 | .00195 | .00391 | 3.75 |"
        in accuracy
    )
    assert "| bert / imdb | n=3 |" in accuracy
    assert "- bert / imdb: L3Masking is 2.13 points above RTM (" in accuracy
    assert " SE |" not in macro  # no accuracy, no such column
    assert "Least p that the 3 differences can give: .25; after Holm over 2 planned tests: .25." in accuracy
    assert comparisons_markdown([]) == f"# Comparisons\n\n{NO_COMPARISON}\n"


def test_columns_without_an_entry_are_left_out():
    header, rows = table(compare(better([0.02], TEN[:1])))
    assert header == ["Encoder, data", "Seeds", "L3Masking", "RTM", "Difference", "SE"]
    assert rows == [["bert / arc", "n=1/10", "72.00", "70.00", "+2.00", "3.81"]]
    [entry] = compare(better(UP, TEN))
    header, rows = table([dataclasses.replace(entry, joint_low=-0.01, joint_high=0.03)])
    assert rows[0][header.index("Seeds, texts")] == "-1.00 to 3.00"


def test_text_is_aligned_and_ends_with_the_notes():
    text = comparisons_text(compare(CELLS), ["arc: a note"])
    lines = text.splitlines()
    start = lines.index("L3Masking against RTM, accuracy (confirmatory)")
    header, first, second = lines[start + 1 : start + 4]
    assert header.index("Difference") + len("Difference") == first.index("+2.05") + 5 == second.index("+2.13") + 5
    assert lines[-1] == "arc: a note"
    assert "Under the names of the rows: mean ± sample standard deviation" in text
    assert comparisons_text([], ["why"]) == f"{NO_COMPARISON}\n\nwhy"


def test_the_paper_is_there_and_its_oddities_are_said_once():
    cells = [
        seeded("stl", TEN, encoder=encoder, dataset="ohsumed")
        for encoder in ("bert-base", "roberta-base", "clinicalbert")
    ]
    text = comparisons_text(against_paper(cells))
    assert text.count("4,043") == 1
    assert "Note on bert-base / ohsumed, roberta-base / ohsumed, clinicalbert / ohsumed: " in text
    assert re.search(r"Encoder, data +Seeds +Here +There +Difference", text)
    assert "Not paired" in text


@pytest.mark.parametrize("text", PAYLOADS)
def test_names_stay_text_in_every_format(text: str):
    hostile = compare(better(UP, TEN, encoder=text, dataset=text))
    hostile += compare([seeded(text, UP), seeded("rtm", TEN)])
    rows = list(csv.reader(io.StringIO(comparisons_csv(hostile), newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert rows[1][1] == rows[1][2] == ("'" + text if text[0] in "=+-@\t\r" else text)
    assert json.loads(comparisons_json(hostile))["comparisons"][0]["encoder"] == text
    bare = re.sub(r"\\[\\`*_\[\]|~]", "", comparisons_markdown(hostile))
    assert {line.count("|") for line in bare.splitlines() if line.startswith("|")} == {11}
    assert not set("<>$`[]\x1b\r\t\u202e") & set(bare)
    assert not set("\x1b\r\t\u202e") & set(comparisons_text(hostile, [text]))
