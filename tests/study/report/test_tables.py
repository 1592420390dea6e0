"""Tables: what each format shows, names that attack, and equal bytes for equal cells."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import random
import re
from pathlib import Path

import matplotlib
import pytest
from hostile_names import PAYLOADS
from result_cells import cell, records
from rich.console import Console

from l3masking.errors import InputError
from study.report.figure_files import export_results_figure
from study.report.tables import (
    FORMATS,
    OPTIONAL,
    export,
    latex,
    markdown,
    results_csv,
    results_json,
    terminal_table,
)
from study.results.aggregate import Cell, cells, timing_rows
from study.results.compare import compare

REQUIRED = (  # design.md 5
    *("encoder", "dataset", "method", "variant", "mask_mean", "objective", "n", "failed", "mean", "std"),
    *("ci_low", "ci_high", "epochs_to_best_mean", "epochs_to_stop_mean"),
)


def rendered(table_cells: list[Cell], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(terminal_table(table_cells))
    return console.export_text()


# ---- formats


def test_trainings_made_again_in_float32_are_marked_in_every_format():
    given = [cell("stl", 0.7), cell("rtm", 0.75, n=2, retried=1), cell("l3masking", 0.8, retried=2)]
    note = "‡: 3 of these diverged under bf16 and were trained again in float32."
    text = markdown(given)
    assert "|  | RTM | 75.00 ± 1.23 (n=2/3 ‡) |" in text
    assert "|  | L3Masking | **80.00** ± 1.23 (‡) |" in text
    assert note in text
    assert "(n=2/3 ‡)" in latex(given)
    assert note in latex(given)
    shown = rendered(given, 80)
    assert "n=2/3 ‡" in shown
    assert "‡: 3 of these diverged" in shown
    assert [entry.get("retried") for entry in json.loads(results_json(given))] == [None, 1, 2]
    assert [row["retried"] for row in csv.DictReader(io.StringIO(results_csv(given)))] == ["0", "1", "2"]
    plain = [cell("stl", 0.7), cell("rtm", 0.75)]
    assert "retried" not in results_csv(plain) + results_json(plain)
    assert "‡" not in markdown(plain) + latex(plain) + rendered(plain, 80)


def test_markdown_has_the_layout_of_the_paper():
    given = [cell("stl", 0.7), cell("rtm", 0.75, n=2), cell("rtm", None, failed=3, dataset="imdb")]
    text = markdown(given)
    assert "| Encoder | Method | arc accuracy | imdb accuracy |\n| --- | --- | ---: | ---: |\n" in text
    assert "| bert | STL | 70.00 ± 1.23 |  |\n" in text
    assert "|  | RTM | **75.00** ± 1.23 (n=2/3) | failed (0/3) |\n" in text
    results, epochs = text.split("## Epochs")
    assert "|  | RTM | 3.2 / 6.0 | – |" in epochs
    assert "primary examples seen / training texts" in epochs
    assert "0.75" not in results  # percent only


def test_latex_has_the_layout_of_the_paper():
    given = [
        cell("stl", 0.7),
        cell("rtm", 0.75, n=2),
        cell("rtm", 0.6, objective="macro_f1"),
        cell("rtm", None, dataset="imdb"),
    ]
    text = latex(given)
    assert r" &  & \multicolumn{2}{c}{arc} & \multicolumn{1}{c}{imdb} \\" in text
    assert r"\cmidrule(lr){3-4} \cmidrule(lr){5-5}" in text
    assert r"Encoder & Method & accuracy & macro F1 & accuracy \\" in text
    assert r"bert & STL & 70.00 $\pm$ 1.23 &  &  \\" in text
    assert r" & RTM & \textbf{75.00} $\pm$ 1.23 (n=2/3) & 60.00 $\pm$ 1.23 & failed (0/3) \\" in text
    assert all(text.count(rule) == 2 for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\end{table}"))


def test_json_holds_the_fields_fractions_and_no_nan():
    text = results_json([cell("stl", 0.7), cell("rtm", None)])
    first, failed = json.loads(text, parse_constant=lambda name: pytest.fail(name))
    assert set(REQUIRED) <= first.keys() == failed.keys()
    assert (first["mean"], first["mask_mean"], first["variant"], first["values"]["1"]) == (0.7, None, None, 0.7)
    assert (failed["n"], failed["failed"], failed["mean"], failed["std"], failed["ci_low"]) == (0, 3, None, None, None)
    with pytest.raises(ValueError, match="not JSON compliant"):
        results_json([cell(mean=math.nan)])


def test_csv_holds_the_same_numbers_as_json():
    given = [cell("stl", 0.1 + 0.2), cell("rtm", None)]
    rows = list(csv.DictReader(io.StringIO(results_csv(given))))
    assert set(REQUIRED) <= rows[0].keys()
    assert float(rows[0]["mean"]) == 0.1 + 0.2
    assert rows[1]["mean"] == rows[1]["ci_low"] == rows[0]["variant"] == rows[0]["mask_mean"] == ""
    assert "sample (n-1)" in rows[0]["definition"]


@pytest.mark.parametrize("width", [80, 120])
def test_terminal_table_fits(width: int):
    pairs = [("stl", "accuracy"), ("stl", "macro_f1"), ("l3_shuffled", "accuracy"), ("l3_shuffled", "macro_f1")]
    given = [cell(method, 0.7, encoder="roberta-base", objective=objective) for method, objective in pairs]
    given.append(cell("rtm", None, encoder="clinicalbert", dataset="ohsumed"))
    text = rendered(given, width)
    lines = text.splitlines()
    assert max(map(len, lines)) <= width
    for part in (
        "roberta-base",
        "L3 shuffled",
        "70.00 ± 1.23",
        "3.2 / 6.0",
        "failed (0/3)",
        "over 3 seeds",
        "12 of 15",
    ):
        assert part in text
    block = [line.split()[:2] for line in lines if "clinical" in line or "ohsumed" in line]
    assert block == [["clinicalbert", "RTM"], ["ohsumed"]]


def test_terminal_table_marks_the_best_and_the_missing():
    table = terminal_table([cell("stl", 0.7), cell("rtm", 0.75, n=2)])
    loser, winner = table.columns[2].cells
    assert str(loser.style) == ""
    assert "bold" in str(winner.style)
    assert winner.plain == "75.00 ± 1.23\nn=2/3"


def test_decisive_cells_carry_a_mark_that_is_explained():
    given = [cell("rtm", 0.75), cell("l3masking", 0.8, variant="w")]
    marked = {given[1].key}
    text = markdown(given, marked)
    assert "|  | L3Masking (w) | **80.00**† ± 1.23 |\n" in text
    assert "- †: decisively above RTM" in text
    text = latex(given, marked)
    assert r" & L3Masking (w) & \textbf{80.00}\dag{} $\pm$ 1.23 \\" in text
    assert r"\dag{}: decisively above RTM" in text
    assert "†" not in markdown(given)
    assert r"\dag" not in latex(given)


# ---- names that attack


@pytest.mark.parametrize("text", PAYLOADS)
def test_names_stay_text_in_every_format(text: str, tmp_path: Path):
    hostile = [cell("stl", 0.7, encoder=text, dataset=text, variant=text), cell(text, 0.8, encoder=text, dataset=text)]
    [row, other] = csv.reader(io.StringIO(results_csv(hostile).split("\n", 1)[1], newline=""))
    assert row[:2] == ["'" + text if text[0] in "=+-@\t\r" else text] * 2
    assert [entry["encoder"] for entry in json.loads(results_json(hostile))] == [text, text]
    assert other[9] == "0.8"

    plain = re.sub(r"\\[\\`*_\[\]|~]", "", markdown(hostile))
    rows = [line for line in plain.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in rows} == {4}  # two names, one column
    assert not set("<>$`[]\x1b\r\t\u202e") & set(plain)

    body = latex(hostile).split("booktabs}", 1)[1]
    bare = re.sub(r"\\(text\w+\{\}|[&%$#_{}])", "", body)  # without what is escaped
    known = (
        r"\\(begin|end|caption|centering|small|toprule|midrule|bottomrule|multicolumn|cmidrule|textbf|pm|\\)(?![a-z])"
    )
    assert re.findall(r"\\.", re.sub(known, "", bare)) == []
    assert bare.count("{") == bare.count("}")
    assert not set("%#_^~") & set(bare)
    assert {line.count("&") for line in bare.splitlines() if line.endswith(r"\\")} == {2}

    assert "\x1b" not in rendered(hostile, 200)
    (drawn,) = export_results_figure(tmp_path, hostile)  # as it stands: a formula in it is not parsed
    assert len(drawn.png) > 1000


# ---- export


def written(root: Path, given: list[dict]) -> list[Path]:
    """The tables of some records, and the figure of their results."""
    found = cells(given, [], 3)
    files = export(root, found, timing_rows(given))
    return [*files, *(file for drawn in export_results_figure(root, found) for file in drawn.files)]


def test_equal_results_give_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given = records()
    once = written(tmp_path / "a", given)
    random.Random(5).shuffle(given)
    slower = [entry | {"run": entry["run"] | {"seconds": 1.25, "host": "there"}} for entry in given]
    (tmp_path / "matplotlibrc").write_text("savefig.bbox: tight\nfont.size: 30\n")
    with matplotlib.rc_context(fname=str(tmp_path / "matplotlibrc")):
        again = written(tmp_path / "b", slower)
    names = [str(path.relative_to(tmp_path / "a")) for path in once]
    pictures = ["figures/results.png", "figures/results.svg"]
    assert names == [*(f"tables/results.{name}" for name in FORMATS), "tables/timing.csv", *pictures]
    different = [
        name for name, one, two in zip(names, once, again, strict=True) if one.read_bytes() != two.read_bytes()
    ]
    assert different == ["tables/timing.csv"]
    for path in once:
        assert (b"98.7654" in path.read_bytes()) is (path.name == "timing.csv")
    assert b",'=cmd()," in (tmp_path / "a/tables/timing.csv").read_bytes()


def test_only_the_asked_formats_are_written(tmp_path: Path):
    export(tmp_path, [cell()], [], ["md"])
    assert sorted(path.name for path in (tmp_path / "tables").iterdir()) == ["results.md"]
    with pytest.raises(InputError, match="--format xlsx: choose from md, tex, csv, json"):
        export(tmp_path / "new", [cell()], [], ["md", "xlsx"])
    assert not (tmp_path / "new").exists()


def test_a_study_without_results_can_be_exported(tmp_path: Path):
    assert len(export(tmp_path, [], [])) == 5
    assert json.loads((tmp_path / "tables/results.json").read_text()) == []
    assert "Records: 0 of 0" in rendered([], 80)


def test_comparisons_are_written_with_the_tables(tmp_path: Path):
    given = records()
    found = cells(given, [], 3)
    files = export(tmp_path, found, [], comparisons=compare(found))
    names = [str(path.relative_to(tmp_path)) for path in files]
    assert names[5:] == [
        *("tables/comparisons.md", "tables/comparisons.csv", "tables/comparisons.json"),
    ]
    assert all(path.is_file() for path in files)
    entries = json.loads((tmp_path / "tables/comparisons.json").read_text())["comparisons"]
    assert [entry["question"] for entry in entries[::2]] == ["l3masking vs rtm", "l3masking vs stl", "rtm vs stl"]
    again = export(tmp_path / "again", found, [], ["csv"], comparisons=[])
    assert sorted(path.name for path in again) == ["comparisons.csv", "results.csv", "timing.csv"]


def test_every_field_of_a_cell_is_exported():
    names = [field.name for field in dataclasses.fields(Cell)]
    assert list(json.loads(results_json([cell()]))[0]) == ["cell", *names[:-5]]
    assert tuple(sorted(names[-5:])) == tuple(sorted(OPTIONAL))  # only where they say something
    noted = json.loads(results_json([cell(remarks=("arc: said.",), resampled=0.5)]))[0]
    assert (noted["remarks"], noted["resampled"]) == (["arc: said."], 0.5)
