"""Tables of evaluation sets: what each format shows, what is missing, names that attack, and what stays as it was."""

from __future__ import annotations

import csv
import dataclasses
import difflib
import hashlib
import html
import io
import json
import re
from pathlib import Path

import pytest
from evaluated_cells import RIGHT, evaluated, record, records
from hostile_names import PAYLOADS
from result_cells import cell
from result_cells import records as plain_records
from rich.console import Console

from study.report.comparisons import comparisons_json, comparisons_markdown, set_comparisons_csv
from study.report.page import About, PageResults, page
from study.report.set_tables import caption, set_tables, sets_csv, sets_latex, sets_markdown, terminal_sets
from study.report.tables import export, latex, markdown, results_csv, results_json
from study.results.aggregate import Cell, cells
from study.results.compare import compare
from study.results.set_comparisons import compare_sets

ABOUT = About(name="mine", description="", design=[], encoders=[], datasets=[], failures=[])


def planted(method: str, test: float, **sets: float | None) -> list[dict]:
    """Two seeds of accuracy, .01 below and above `test`; on each set the same .02 below and above the given value."""
    found = []
    for seed, side in ((0, -1), (1, 1)):
        more = {
            name: {"metrics": {"accuracy": value + 0.02 * side}, "labels": ["a", "b"], "predictions": [0, 1]}
            for name, value in sets.items()
            if value is not None
        }
        values = {"accuracy": test + 0.01 * side}
        entry = record(method, seed, sets=(), test=values, validation=values)
        found.append(entry | ({"evaluations": more} if more else {}))
    return found


PLANTED = [
    *planted("stl", 0.70, hans=0.50, anli=0.71),
    *planted("rtm", 0.75, hans=0.50, anli=0.40),
    *planted("l3masking", 0.74, hans=0.60, anli=0.40),
]


def rows_of(text: str) -> list[str]:
    """The lines of the Markdown tables of the sets."""
    section = text[text.index("## Out of distribution") : text.index("## Epochs")]
    return [line for line in section.splitlines() if line.startswith("|")]


def made(found: list[Cell]) -> str:
    return page(ABOUT, PageResults(cells=found, comparisons=[*compare(found), *compare_sets(found)]))


def rendered(found: list[Cell], width: int) -> str:
    console = Console(width=width, file=io.StringIO(), record=True)
    for table in terminal_sets(found, width):
        console.print(table)
    return console.export_text()


def lacking(name: str) -> list[dict]:
    """The records with one set, which has no text of its first class."""
    found = records(sets=(name,))
    for entry in found:
        entry["evaluations"][name]["absent"] = entry["evaluations"][name]["labels"][:1]
    return found


# ---- formats


def test_markdown_shows_test_value_and_gap_in_percent():
    """Gaps vary by .01 beside the mean in each seed: deviation .0141; those of the sets by .02: .0283."""
    text = markdown(evaluated(PLANTED, 2))
    assert rows_of(text) == [
        "| Encoder | Method | test | hans | gap | anli | gap |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| bert | L3Masking | 74.00 ± 1.41 | **60.00** ± 2.83 | 14.00 ± 1.41 | 40.00 ± 2.83 | 34.00 ± 1.41 |",
        "|  | RTM | **75.00** ± 1.41 | 50.00 ± 2.83 | 25.00 ± 1.41 | 40.00 ± 2.83 | 35.00 ± 1.41 |",
        "|  | STL | 70.00 ± 1.41 | 50.00 ± 2.83 | 20.00 ± 1.41 | **71.00** ± 2.83 | -1.00 ± 1.41 |",
    ]
    assert "### mnli, accuracy" in text
    assert text.index("# Results") < text.index("## Out of distribution") < text.index("## Epochs")


def test_the_footnote_says_what_the_numbers_are():
    text = caption(evaluated(PLANTED, 2))
    for part in (
        *("over 2 seeds", "Gap: test value minus value on the set, taken for each seed, in percentage points"),
        *("read once, with the model that was selected on validation data", "over the classes of the set"),
        "Labels were merged, so that there are fewer classes than in the test split: hans, anli of mnli (a, b).",
    ):
        assert part in text
    assert "ncomplete" not in text
    assert "Classes without" not in text
    whole = [entry | {"classes": 2} for entry in PLANTED]
    assert "merged" not in caption(evaluated(whole, 2))


def test_a_set_that_lacks_a_class_is_named_where_it_counts():
    found = evaluated(lacking("anli"))
    said = "Classes without a text in a set, which count 0 in its macro F1: anli of mnli (contradiction)."
    assert said in caption(found)
    assert "Classes without" not in caption([entry for entry in found if entry.objective == "accuracy"])
    assert {row["absent"] for row in csv.DictReader(io.StringIO(sets_csv(found)))} == {"contradiction"}
    entries = [entry["evaluations"]["anli"] for entry in json.loads(results_json(found))]
    assert all(entry["absent"] == ["contradiction"] for entry in entries)


def test_latex_and_the_page_show_the_same_numbers():
    found = evaluated(PLANTED, 2)
    [table] = sets_latex(found)
    assert r"Encoder & Method & test & hans & gap & anli & gap \\" in table
    assert r" & STL & 70.00 $\pm$ 1.41 & 50.00 $\pm$ 2.83 & 20.00 $\pm$ 1.41 & \textbf{71.00} $\pm$ 2.83 & " in table
    assert r"& $-$1.00 $\pm$ 1.41 \\" in table, "a hyphen is no minus sign"
    assert table.count(r"\midrule") == 1
    assert table in latex(found)
    section = re.search('<section id="evaluations">.*?</section>', made(found), re.DOTALL).group()
    rows = [re.sub("<[^>]*>", " ", row).split() for row in re.findall("<tr>(.*?)</tr>", section, re.DOTALL)]
    assert rows[0] == ["Encoder", "Method", "test", "hans", "gap", "anli", "gap"]
    assert " ".join(rows[3]) == "STL 70.00 ± 1.41 50.00 ± 2.83 20.00 ± 1.41 71.00 ± 2.83 -1.00 ± 1.41"
    assert "<b>71.00</b>" in section
    assert html.escape(caption(found)) in section
    assert '<a href="#evaluations">' in made(found)


def test_latex_puts_sets_that_are_too_wide_together_into_further_tables():
    sets = [f"set-{number}" for number in range(7)]
    tables = sets_latex(evaluated(planted("stl", 0.7, **dict.fromkeys(sets, 0.5)), 2))
    heads = [re.search(r"Encoder & Method & test & (.*) \\\\", table).group(1).split(" & ") for table in tables]
    assert [name for head in heads for name in head[::2]] == sets
    assert all(set(head[1::2]) == {"gap"} for head in heads)
    assert [len(head) // 2 for head in heads] == [3, 3, 1]
    assert ["Gap: test value" in table for table in tables] == [True, False, False]


def test_a_second_table_does_not_explain_everything_again():
    first, second = sets_latex(evaluated())
    assert "Gap: test value" in first
    assert "Gap: test value" not in second
    assert "Out of distribution: mnli, macro F1. Numbers as in the table before." in second


@pytest.mark.parametrize("width", [64, 72, 80, 84, 88, 92, 96, 100, 120])
def test_terminal_tables_fit_and_break_no_number(width: int):
    text = rendered(evaluated(records(seeds=3), 3), width)
    assert max(map(len, text.splitlines())) <= width
    tables = text.count("Out of distribution: mnli")
    assert tables == (4 if width < 92 else 2)  # a set in each, or both sets beside each other
    entries = re.findall(r"-?\d+\.\d\d ± \d+\.\d\d", text)
    assert len(entries) == 3 * (2 * 2 * 2 + tables)  # of three rows: value and gap on each set, and the test value
    assert "Each set was read once" in " ".join(text.split())


def test_a_long_name_of_a_set_is_folded():
    long = [entry | {"evaluations": {"a" * 60: entry["evaluations"]["hans"]}} for entry in records(("rtm",), seeds=2)]
    text = rendered(evaluated(long, 2), 80)
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("a" * 16) >= 3


def test_rows_are_those_of_the_result_table():
    found = [entry for entry in PLANTED if entry["method"] != "rtm"]
    found += [entry | {"variant": "w", "key": f"w{entry['key']}"} for entry in planted("rtm", 0.7)]
    found += [entry | {"mask_mean": 0.3, "key": f"m{entry['key']}"} for entry in planted("l3masking", 0.7, hans=0.6)]
    shown = evaluated(found, 2)
    labels = [row.label for table in set_tables(shown) for _, rows in table.blocks for row in rows]
    assert labels == ["L3Masking (mean 0.15)", "L3Masking (mean 0.3)", "RTM (w, mean 0.15)", "STL"]
    results = [line for line in markdown(shown).split("## Out")[0].splitlines() if line.startswith("|")]
    assert [line.split(" | ")[1] for line in results[2:]] == labels


# ---- what is missing


def test_a_set_that_seeds_lack_shows_its_count_and_no_number():
    lacking = planted("rtm", 0.75, hans=0.50, anli=0.40)
    del lacking[1]["evaluations"]["hans"]
    older = planted("stl", 0.70)
    found = cells([*planted("l3masking", 0.74, hans=0.60, anli=0.40), *lacking, *older], [], 2)
    _, _, *rows = rows_of(markdown(found))
    assert rows == [
        "| bert | L3Masking | 74.00 ± 1.41 | 60.00 ± 2.83 | 14.00 ± 1.41 | **40.00** ± 2.83 | 34.00 ± 1.41 |",
        "|  | RTM | **75.00** ± 1.41 | incomplete (1/2) |  | **40.00** ± 2.83 | 35.00 ± 1.41 |",
        "|  | STL | 70.00 ± 1.41 | incomplete (0/2) |  | incomplete (0/2) |  |",
    ]
    assert "Incomplete (k/N): only k of N seeds have a value on the set" in caption(found)
    assert 'class="gap">incomplete (1/2)</span>' in made(found)
    assert "incomplete (1/2)" in rendered(found, 120)


def test_failed_seeds_are_counted_and_a_cell_without_records_is_empty():
    one, _ = planted("rtm", 0.75, hans=0.50)
    _, failed = planted("rtm", 0.75)
    lost = [
        {name: value for name, value in entry.items() if name not in ("test", "validation")}
        for entry in [failed, *planted("stl", 0.7)]
    ]
    _, _, *rows = rows_of(markdown(cells([one, *planted("l3masking", 0.74, hans=0.60)], lost, 2)))
    assert rows == [
        "| bert | L3Masking | **74.00** ± 1.41 | **60.00** ± 2.83 | 14.00 ± 1.41 |",
        "|  | RTM | **74.00** (n=1/2) | 48.00 (n=1/2) | 26.00 |",
        "|  | STL | failed (0/2) |  |  |",
    ]


def test_other_datasets_have_no_table():
    found = [*evaluated(PLANTED, 2), cell("rtm", 0.6, dataset="imdb"), cell("stl", 0.7, dataset="imdb")]
    assert [table.title for table in set_tables(found)] == ["mnli, accuracy"]
    assert sets_markdown([cell("rtm")]) == ""
    assert sets_latex([cell("rtm")]) == terminal_sets([cell("rtm")], 80) == []


# ---- machine-readable


def test_json_holds_the_sets_of_the_cells_that_have_them():
    found = [*evaluated(PLANTED, 2), cell("rtm", 0.6, dataset="imdb")]
    first, *_, other = json.loads(results_json(found))
    assert "evaluations" not in other
    on_set = first["evaluations"]["hans"]
    assert list(on_set) == [
        *("n", "mean", "std", "ci_low", "ci_high", "gap_mean", "gap_std", "gap_ci_low", "gap_ci_high"),
        *("classes", "merged", "absent", "texts", "values", "gaps"),
    ]
    assert (on_set["n"], on_set["mean"], on_set["gap_mean"]) == (2, pytest.approx(0.6), pytest.approx(0.14))
    assert on_set["values"] == {"0": pytest.approx(0.58), "1": pytest.approx(0.62)}
    assert on_set["gaps"] == {"0": pytest.approx(0.15), "1": pytest.approx(0.13)}


def test_csv_has_a_line_for_each_cell_and_set():
    rows = list(csv.DictReader(io.StringIO(sets_csv(evaluated(PLANTED, 2)))))
    assert [(row["method"], row["evaluation"]) for row in rows] == [
        (method, name) for method in ("l3masking", "rtm", "stl") for name in ("hans", "anli")
    ]
    numbers = [float(rows[0][name]) for name in ("test_mean", "mean", "gap_mean", "gap_std")]
    assert numbers == [pytest.approx(value) for value in (0.74, 0.6, 0.14, 0.02 / 2**0.5)]
    assert (rows[0]["n"], rows[0]["test_n"], rows[0]["wanted"], rows[0]["texts"]) == ("2", "2", "2", "2")
    assert (rows[0]["classes"], rows[0]["merged"]) == ("a | b", "true")
    assert "gap is test value minus value on the set" in rows[0]["definition"]


def test_comparisons_on_sets_are_exported_apart():
    found = evaluated(records(seeds=3), 3)
    on_sets = compare_sets(found)
    rows = list(csv.DictReader(io.StringIO(set_comparisons_csv(on_sets))))
    assert {(row["evaluation"], row["measure"]) for row in rows} == {
        (name, measure) for name in ("hans", "anli") for measure in ("value", "gap")
    }
    assert float(rows[0]["difference"]) == on_sets[0].difference
    read = json.loads(comparisons_json(compare(found), on_sets=on_sets))
    assert [(e["evaluation"], e["measure"], e["difference"]) for e in read["evaluation_comparisons"]] == [
        (entry.evaluation, entry.measure, entry.difference) for entry in on_sets
    ]
    assert read["comparisons"] == json.loads(comparisons_json(compare(found)))["comparisons"]
    text = comparisons_markdown([*compare(found), *on_sets])
    assert "## L3Masking against RTM, accuracy on evaluation sets (exploratory)" in text
    assert "| bert / mnli on hans | n=3 |" in text
    assert "Exploratory on evaluation sets: 24 of 24 planned comparisons are complete." in text


def test_the_files_of_a_study_with_sets(tmp_path: Path):
    found = evaluated(records(seeds=2), 2)
    files = export(tmp_path, found, [], comparisons=compare(found), on_sets=compare_sets(found))
    names = {str(file.relative_to(tmp_path)) for file in files}
    assert {"tables/evaluations.csv", "tables/evaluation_comparisons.csv"} <= names
    assert all(file.is_file() for file in files)
    only = export(tmp_path / "md", found, [], ["md"], comparisons=compare(found), on_sets=compare_sets(found))
    assert sorted(file.name for file in only) == ["comparisons.md", "results.md"]


def test_files_of_sets_that_are_gone_are_removed(tmp_path: Path):
    found = evaluated(records(seeds=2), 2)
    export(tmp_path, found, [], comparisons=compare(found), on_sets=compare_sets(found))
    without = [dataclasses.replace(entry, evaluations={}) for entry in found]
    files = {tmp_path / name for name in ("tables/evaluations.csv", "tables/evaluation_comparisons.csv")}
    export(tmp_path, without, [], ["md"], comparisons=compare(without))
    assert all(file.is_file() for file in files), "an export without CSV leaves the CSV files as they are"
    written = export(tmp_path, without, [], comparisons=compare(without))
    assert not any(file.exists() or file in written for file in files)


# ---- what stays as it was

BEFORE = {  # of the same cells, exported by the commit before there were evaluation sets
    "results.csv": "13b9fc16e53ad2d67cc9ddf719d2bf32e10c69eb257a7ed59c783ee2ed3e60c1",
    "results.json": "f8d864d5dddd23896d819e0bfada0757317ccd93df650a67d8a01bc915a3bfc1",
}


def test_a_study_without_sets_has_the_bytes_that_it_had():
    found = cells(plain_records(), [], 3)
    made = {"results.csv": results_csv(found), "results.json": results_json(found)}
    made["results.json"] = re.sub(r'^  "cell": .*\n', "", made["results.json"], flags=re.MULTILINE)  # newer than sets
    assert {name: hashlib.sha256(text.encode()).hexdigest() for name, text in made.items()} == BEFORE


def test_sets_add_to_the_files_and_change_nothing_in_them():
    with_sets = evaluated(records(seeds=3), 3)
    without = [dataclasses.replace(entry, evaluations={}) for entry in with_sets]
    makers = [markdown, latex, lambda found: page(ABOUT, PageResults(cells=found, comparisons=compare(found)))]
    for maker in makers:
        before, after = (maker(found).splitlines() for found in (without, with_sets))
        changes = {change for change, *_ in difflib.SequenceMatcher(None, before, after, False).get_opcodes()}
        assert changes == {"equal", "insert"}
    assert results_csv(with_sets) == results_csv(without)
    rows = json.loads(results_json(with_sets))
    assert [{k: v for k, v in row.items() if k != "evaluations"} for row in rows] == json.loads(results_json(without))
    mixed = [cell("rtm", 0.6, dataset="imdb"), cell("stl", 0.7, dataset="imdb")]
    assert results_json(mixed)[2:-3] in results_json([*mixed, *with_sets])


# ---- names that attack


@pytest.mark.parametrize("text", PAYLOADS)
def test_names_stay_text_in_every_format(text: str):
    hostile = [
        entry
        | {"encoder": text, "dataset": text}
        | {"evaluations": {text: entry["evaluations"]["hans"] | {"labels": [text, "z"]}}}
        for entry in records(("stl", "rtm"), seeds=2, objectives=("accuracy",))
    ]
    found = evaluated(hostile, 2)
    [row, _] = csv.reader(io.StringIO(sets_csv(found).split("\n", 1)[1], newline=""))
    assert row[0] == row[1] == row[6] == ("'" + text if text[0] in "=+-@\t\r" else text)
    bare = re.sub(r"\\[\\`*_\[\]|~]", "", sets_markdown(found))
    assert {line.count("|") for line in bare.splitlines() if line.startswith("|")} == {6}
    assert not set("<>$`[]\x1b\r\t\u202e") & set(bare)
    [body] = sets_latex(found)
    bare = re.sub(r"\\(text\w+\{\}|[&%$#_{}])", "", body)
    known = r"\\(begin|end|caption|centering|small|toprule|midrule|bottomrule|textbf|pm|\\)(?![a-z])"
    assert re.findall(r"\\.", re.sub(known, "", bare)) == []
    assert bare.count("{") == bare.count("}")
    assert not set("%#_^~") & set(bare)
    assert {line.count("&") for line in bare.splitlines() if line.endswith(r"\\")} == {4}
    assert "\x1b" not in rendered(found, 200)
    plain = made(evaluated(records(("stl", "rtm"), seeds=2, objectives=("accuracy",)), 2))
    assert set(re.findall(r"<(\w+)", made(found))) <= set(re.findall(r"<(\w+)", plain))
    assert not set("\x1b\r\u202e") & set(made(found))


def test_every_arm_that_is_planted_is_shown():
    assert len(evaluated()) == 2 * len(RIGHT)
