"""Table 1 of a study: from the facts in its folder to Markdown, LaTeX, CSV, and the warnings of the page."""

from __future__ import annotations

import csv
import io
import shutil
from pathlib import Path

import pytest

from l3masking.data.audit import InTrain, SplitAudit
from study.plan.resolved import planned
from study.report.data_tables import (
    DATA_COLUMNS,
    HEADER,
    data_csv,
    data_latex,
    data_markdown,
    data_rows,
    data_table,
    export_data,
    rows_of,
)
from study.report.data_view import class_table, data_warnings, split_table, study_warnings, token_table
from study.report.publish import write_tables
from study.store.data_facts import DataFacts, SplitFacts, write_facts

WORDS = {"min": 1, "q25": 2.0, "median": 3.0, "q75": 4.0, "q95": 5.0, "max": 1200, "mean": 3.1}


def split(rows: int, distinct: int, seen: tuple[int, int, int] | None, longer: dict[str, int]) -> SplitFacts:
    """`seen`: rows, exact and other_label of what train holds; `longer`: of 100 texts, by encoder."""
    keys = ("rows", "exact", "other_label")
    shared = {} if seen is None else {"train": dict(zip(keys, seen, strict=True))}
    audit: SplitAudit = {  # type: ignore[typeddict-item]
        "rows": rows,
        "labels": {"no": rows - 1, "yes": 1},
        "blank": 0,
        "words": WORDS,
        "shared": shared,
        "distinct": distinct,
        "distinct_exact": distinct,
        "conflicting": 2,
        "conflicting_exact": 1,
    }
    tokens = {name: {"texts": 100, "longer": count, "ids": WORDS} for name, count in longer.items()}
    in_train = InTrain(folded=[], exact=[])
    return SplitFacts(classes=["no", "yes"], labels=[], in_train=in_train, audit=audit, tokens=tokens)  # type: ignore


def facts(*encoders: str) -> DataFacts:
    cuts = {name: 10 * number for number, name in enumerate(encoders)}
    return DataFacts(
        schema=1,
        data_hash="c" * 32,
        pairs=False,
        overlap={},
        notes=["overlap: 52 of 139 test texts (37.4%) also occur in train (overlap: keep)"],
        encoders={name: {"revision": "r", "max_length": 128, "whitespace": "collapse"} for name in encoders},
        splits={
            "train": split(1688, 1270, None, cuts),
            "validation": split(114, 112, (43, 43, 1), cuts),
            "test": split(139, 139, (52, 50, 0), cuts),
        },
        evaluations={"d" * 32: split(30, 29, (7, 7, 0), cuts)},
    )


SETS = {"far": "d" * 32}


def test_the_table_has_the_columns_of_the_papers_and_what_was_counted() -> None:
    header, lines = data_table(rows_of("acl-arc", facts("bert"), SETS))
    assert tuple(header) == HEADER
    assert lines == [
        [
            *("acl-arc", "computer science", "citation intent", "2", "1,688", "114", "139", "1,270", "2", "43", "52"),
            "0.0 %",
        ],
        ["acl-arc, evaluation set far", "–", "–", "2", "–", "–", "30", "–", "–", "–", "7", "0.0 %"],
    ]
    _, lines = data_table(rows_of("mine", facts("a", "b"), {}))
    assert [line[-1] for line in lines] == ["a 0.0 %, b 10.0 %"]
    _, lines = data_table(rows_of("mine", facts(), {}))
    assert lines[0][1:3] == ["–", "–"]
    assert lines[0][-1] == "–"


def test_the_csv_has_a_line_for_each_encoder() -> None:
    lines = list(csv.DictReader(io.StringIO(data_csv(rows_of("acl-arc", facts("a", "b"), SETS)))))
    assert tuple(lines[0]) == DATA_COLUMNS
    assert [(line["evaluation"], line["encoder"]) for line in lines] == [
        ("", "a"),
        ("", "b"),
        ("far", "a"),
        ("far", "b"),
    ]
    assert (lines[1]["cut_train"], lines[1]["max_length"], lines[1]["test_in_train_exact"]) == ("0.1", "128", "50")
    assert (lines[3]["train"], lines[3]["test"], lines[3]["cut_train"], lines[3]["cut_test"]) == ("", "30", "", "0.1")
    assert len(list(csv.DictReader(io.StringIO(data_csv(rows_of("x", facts(), {})))))) == 1


def test_names_of_users_are_escaped() -> None:
    rows = rows_of("a|b_<i>&", facts("=cmd()"), {})
    assert r"a\|b\_&lt;i&gt;&amp;" in data_markdown(rows)
    assert r"a\textbar{}b\_\textless{}i\textgreater{}\&" in data_latex(rows)
    assert ",'=cmd()," in data_csv(rows)
    assert data_latex(rows).count(r"\\") == 2


def test_warnings_are_what_loading_said_and_what_counting_found() -> None:
    assert data_warnings(facts("a", "b"), SETS) == [
        "overlap: 52 of 139 test texts (37.4%) also occur in train (overlap: keep)",
        "validation: 2 of 114 rows repeat an earlier text of it; 2 texts have more than one label",
        "validation: of the 43 rows whose text is in train, 1 have a label that the text never has there",
        "test: of the 52 rows whose text is in train, 2 differ there in case or white space",
        "evaluation set far: 1 of 30 rows repeat an earlier text of it; 2 texts have more than one label",
        "b cuts the end of texts longer than 128 ids (scoring.max_length): 10.0% of train, 10.0% of validation, "
        "10.0% of test, 10.0% of evaluation set far",
    ]


def test_tables_for_a_terminal_have_plain_values() -> None:
    _, lines = split_table(facts(), SETS)
    assert lines[0] == ["train", "1,688", "1,270", "418", "2", "–", "–", "3", "5", "1,200"]
    assert lines[2][:7] == ["test", "139", "139", "0", "2", "52 (37.4%)", "50"]
    assert lines[3][0] == "evaluation set far"
    assert class_table(facts()).rows == [["no", "1,687", "113", "138"], ["yes", "1", "1", "1"]]
    assert token_table(facts("a", "b"), {}).rows == [
        ["a", "128", "0.0%", "0.0%", "0.0%"],
        ["b", "128", "10.0%", "10.0%", "10.0%"],
    ]


def test_of_many_classes_the_largest_are_shown() -> None:
    found = facts()
    for one in found["splits"].values():
        one["audit"]["labels"] = {f"c{number}": number for number in range(40)}
    _, lines = class_table(found)
    assert (lines[0], lines[-1]) == (["c39", "39", "39", "39"], ["10 more classes", "45", "45", "45"])
    assert len(lines) == 31


@pytest.fixture
def here(finished_study: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_study / "out", tmp_path / "out")
    return tmp_path / "out"


def test_a_study_exports_its_table_and_shows_its_warnings(here: Path) -> None:
    resolved = planned(here)
    [row] = data_rows(resolved, here)
    assert (row.dataset, row.evaluation) == ("words", None)
    write_facts(here, {**row.facts, "notes": ["test: <odd> texts"]})
    _, files = write_tables(here, ["md", "csv"])
    assert [file.name for file in files if file.stem == "data"] == ["data.md", "data.csv"]
    assert (here / "tables/data.md").read_text() == data_markdown([row])
    assert study_warnings(resolved, here)[0] == "words: test: <odd> texts"
    page = (here / "report.html").read_text()
    assert "What to know of the data" in page
    assert "<li>words: test: &lt;odd&gt; texts</li>" in page


def test_a_study_of_an_earlier_version_has_no_such_table(here: Path) -> None:
    shutil.rmtree(here / "data")
    resolved = planned(here)
    assert export_data(here, resolved, ["md", "tex", "csv"]) == []
    assert study_warnings(resolved, here) == []
    write_tables(here)
    assert "What to know of the data" not in (here / "report.html").read_text()
