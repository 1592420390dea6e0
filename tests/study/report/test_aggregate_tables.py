"""Aggregates as files."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

from compared_cells import seeded

from study.report.aggregate_tables import export_aggregate
from study.results.aggregate import Cell


def study(encoders: int = 3) -> list[Cell]:
    found = []
    for number, encoder in enumerate(("bert", "=roberta", "scibert")[:encoders]):
        for method, mean in (("stl", 0.6), ("rtm", 0.65), ("l3masking", 0.7)):
            cell = seeded(method, [mean, mean + 0.02], encoder=encoder)
            found.append(replace(cell, mean=mean + 0.01 * number))
    return found


def test_the_files_hold_questions_ranks_and_cautions(tmp_path: Path) -> None:
    written = export_aggregate(tmp_path, study(), ("md", "tex", "csv", "json"))
    assert [file.name for file in written] == ["aggregate.md", "aggregate.csv", "aggregate.json"]
    page, table, value = (file.read_text() for file in written)
    found = json.loads(value)
    assert [entry["question"] for entry in found["questions"]][:1] == ["l3masking vs rtm"]
    assert found["cautions"][1].startswith("3 pairs are few")
    assert [rank["method"] for rank in found["rankings"][0]["ranks"]] == ["l3masking", "rtm", "stl"]
    rows = list(csv.DictReader(table.splitlines()))
    assert [row["kind"] for row in rows].count("rank") == 3
    assert all((row["question"] == "") == (row["kind"] == "rank") for row in rows)
    assert float(rows[0]["difference"]) == found["questions"][0]["difference"]
    assert "- 3 pairs are few" in page
    assert "| l3masking vs rtm | accuracy | +5.00 |" in page
    assert "| 3, 0, 0 | 0.25 | 0.25 |" in page
    assert "Friedman's test" in page


def test_one_pair_leaves_no_file_of_an_earlier_export(tmp_path: Path) -> None:
    export_aggregate(tmp_path, study(), ("md", "csv", "json"))
    assert export_aggregate(tmp_path, study(1), ("md", "csv")) == []
    assert [file.name for file in (tmp_path / "tables").iterdir()] == ["aggregate.json"], "json was not asked for"
