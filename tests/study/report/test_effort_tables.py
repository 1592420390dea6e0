"""The effort of trainings as files and as text."""

from __future__ import annotations

import csv
import dataclasses
import io
from pathlib import Path

from effort_records import trained

from study.report.effort_tables import (
    EFFORT_FIELDS,
    NO_EFFORT,
    effort_csv,
    effort_markdown,
    effort_text,
    effort_values,
    export_effort,
)
from study.results.effort_pairs import EffortComparison, compare_effort

FOUND = compare_effort(*trained(stl=[6.0, 7.0, 8.0], rtm=[6.0, 8.0, 9.0], l3masking=[5.0, 6.0, 8.5]))


def slower(found: list[EffortComparison]) -> list[EffortComparison]:
    """The same on a machine of another kind and speed."""
    return [
        dataclasses.replace(one, first_mean=999.0, machines=("gpu, threads: 1",)) if one.quantity == "seconds" else one
        for one in found
    ]


def test_the_files_hold_no_wall_time_and_repeat_to_the_byte(tmp_path: Path) -> None:
    files = export_effort(tmp_path / "a", FOUND, ["md", "csv", "json"])
    again = export_effort(tmp_path / "b", slower(FOUND), ["csv", "md"])
    assert [path.name for path in files] == ["effort.md", "effort.csv"]
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    assert export_effort(tmp_path / "c", FOUND, ["tex"]) == []
    assert "wall" not in effort_markdown(FOUND) + effort_csv(FOUND)


def test_the_csv_has_a_line_for_each_comparison() -> None:
    rows = list(csv.DictReader(io.StringIO(effort_csv(FOUND))))
    assert tuple(rows[0]) == EFFORT_FIELDS
    assert len(rows) == 3 * 2 * 3
    first = rows[1]
    assert (first["first_method"], first["second_method"], first["second_variant"]) == ("l3masking", "rtm", "")
    assert (first["quantity"], first["n"], first["first_mean"]) == ("epochs_to_stop", "3", "6.5")
    assert float(first["p"]) == 0.25


def test_the_terminal_shows_wall_time_and_says_where_it_cannot_be_compared() -> None:
    text = effort_text(FOUND)
    assert "L3Masking against RTM, wall seconds" in text
    assert "Exploratory" in text
    (line,) = [line for line in text.splitlines() if "13.0" in line and "15.3" in line]
    assert line.split() == ["bert", "/", "arc", "–", "n=3", "13.0", "15.3", "-2.3", "-6.1", "to", "1.5", ".25", ".75"]
    assert "several kinds" not in text
    mixed = [dataclasses.replace(one, machines=("cpu, threads: 1", "gpu, threads: 1")) for one in FOUND]
    assert effort_text(mixed).count("machines of several kinds") == 3
    assert effort_values(FOUND)[0]["first"] == {"method": "l3masking", "variant": None}


def test_nothing_to_compare() -> None:
    assert effort_text([]) == ""
    assert NO_EFFORT in effort_markdown([])
    assert effort_csv([]) == ",".join(EFFORT_FIELDS) + "\n"
