"""The profile of parts of speech as files."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hostile_names import PAYLOADS
from rich.console import Console

from l3masking.analysis.pos_profile import TagProfile, tag_profile
from study.report.tag_tables import (
    TAG_FIELDS,
    ProfileColumn,
    TagTable,
    tag_lines,
    tags_csv,
    tags_json,
    tags_latex,
    tags_markdown,
    terminal_tags,
    write_tag_table,
)

TAGS = ["NN", "DT", "VB", "(", "``", "PRP$", "#"]


def profile(seed: int, tags: list[str] = TAGS) -> TagProfile:
    draw = np.random.default_rng(seed)
    names = [*draw.choice(tags, size=200).tolist(), "FW", "FW", None]
    return tag_profile([draw.random(len(names)) * 0.3], [names], wanted=0.15)


def table(**changes: object) -> TagTable:
    made = {
        "dataset": "words",
        "tagger": "made 1",
        "words": "tagger",
        "texts": 3,
        "wanted": 0.15,
        "min_count": 10,
        "columns": (
            ProfileColumn("general", "l3", "complement", "l3, complement", profile(1)),
            ProfileColumn("general", "l3", "surprisal", "l3, surprisal", profile(2)),
            ProfileColumn("domain", "l3", "complement", "l3, complement", profile(3, TAGS[:3])),
        ),
    }
    return TagTable(**(made | changes))  # type: ignore[arg-type]


def test_json_holds_everything() -> None:
    made, shown = table(), json.loads(tags_json(table()))
    head = {"dataset": "words", "tagger": "made 1", "words": "tagger", "texts": 3, "wanted_mean": 0.15, "min_count": 10}
    assert {name: shown[name] for name in head} == head
    for column, entry in zip(made.columns, shown["columns"], strict=True):
        assert (entry["encoder"], entry["policy"], entry["weighting"]) == column[:3]
        assert entry["tags"] == [asdict(row) for row in column.profile.rows]
        assert [(row["tag"], row["count"]) for row in entry["rare"]] == [("FW", 2)]
        assert (entry["tokens"], entry["untagged"]) == (203, 1)


def test_a_line_of_the_report_names_both_ends(tmp_path: Path) -> None:
    made = table()
    (tmp_path / "tables").mkdir()
    write_tag_table(tmp_path, made, ["json"])
    lines = tag_lines(tmp_path, [made.dataset, "another"])
    assert len(lines) == 2, "the last profile has too few tags for two ends"
    rows = made.columns[0].profile.rows
    first, last = f"masked most {rows[0].tag} {rows[0].mean:.3f}, ", f"least {rows[-1].tag} {rows[-1].mean:.3f}, "
    assert lines[0].startswith(f"{made.dataset}, {made.columns[0].encoder} (")
    assert first in lines[0]
    assert last in lines[0]
    assert lines[0].endswith(f"random masking gives {made.wanted:g}. Tags by {made.tagger}.")
    (tmp_path / f"tables/pos_{made.dataset}.json").write_text('{"columns": [{}]}')
    assert tag_lines(tmp_path, [made.dataset]) == []


def test_csv_has_a_line_for_each_column_and_tag() -> None:
    made = table()
    rows = list(csv.DictReader(io.StringIO(tags_csv(made), newline="")))
    assert tuple(rows[0]) == TAG_FIELDS
    assert len(rows) == sum(len(one.profile.rows) + len(one.profile.rare) for one in made.columns)
    first = made.columns[0].profile.rows[0]
    assert (rows[0]["tag"], int(rows[0]["count"]), float(rows[0]["mean"])) == (first.tag, first.count, first.mean)
    assert {(row["tagger"], row["wanted_mean"], row["dataset"]) for row in rows} == {("made 1", "0.15", "words")}
    assert {row["tag"] for row in rows if row["shown"] == "false"} == {"FW"}


def test_markdown_ranks_both_ends_beside_each_other() -> None:
    made, text = table(), tags_markdown(table())
    parts = text.split("\n## ")
    assert [part.splitlines()[0] for part in parts[1:]] == ["Masked most often", "Masked least often", "All tags"]
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in parts[1].splitlines() if line.startswith("|")]
    assert lines[0] == ["", "general: l3, complement", "general: l3, surprisal", "domain: l3, complement"]
    best = [column.profile.highest()[0] for column in made.columns]
    assert lines[2] == ["1", *(f"{row.tag} {row.mean:.4f}".replace("`", r"\`").replace("$", "&#36;") for row in best)]
    assert lines[6][0] == "5"
    assert lines[6][3] == "", "three tags alone in the last column"
    assert "made 1" in parts[0], "the tagger stands beside the table"
    assert "| random masking |  | 0.1500 | 0.1500 |  | 0.1500 |" in text
    assert "general: 203 tokens, 1 outside the tagger's words. Left out: FW (2)." in text


def test_latex_escapes_tags() -> None:
    text = tags_latex(table())
    assert r"PRP\$ " in text
    assert r"\# " in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert "made 1" in text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_hostile_names_stay_names(payload: str) -> None:
    column = ProfileColumn(payload, payload, None, payload, profile(1))
    made = table(columns=(column,), tagger=payload, dataset=payload)
    assert json.loads(tags_json(made))["columns"][0]["encoder"] == payload
    assert next(csv.DictReader(io.StringIO(tags_csv(made), newline="")))["tagger"].removeprefix("'") == payload
    assert "<script" not in tags_markdown(made)
    assert "\\input{" not in tags_latex(made)
    console = Console(file=io.StringIO(), width=200)
    for shown in terminal_tags(made):
        console.print(shown)
    assert "\x1b" not in console.file.getvalue()  # type: ignore[attr-defined]


def test_equal_tables_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        files = write_tag_table(tmp_path / name, table(), ["md", "csv", "json", "tex"])
        assert [file.name for file in files] == [f"pos_words.{ending}" for ending in ("md", "csv", "json", "tex")]
        assert all(file.parent == tmp_path / name / "tables" for file in files)
    for file in (tmp_path / "a" / "tables").iterdir():
        assert file.read_bytes() == (tmp_path / "b" / "tables" / file.name).read_bytes()


def test_a_profile_without_tags_is_a_table_all_the_same() -> None:
    empty = tag_profile([np.full(3, 0.15)], [["A", "B", None]], wanted=0.15)
    made = table(columns=(ProfileColumn("e", "l3", None, "l3", empty),))
    assert "Left out: A (1), B (1)." in tags_markdown(made)
    assert tags_latex(made)
    assert terminal_tags(made)
