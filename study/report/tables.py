"""Cells into files: Markdown, LaTeX, CSV, JSON, one figure, and the table that ends a run.

Equal cells give equal bytes; wall times appear in timing.csv alone. Names come from users, so each format escapes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from l3masking.errors import InputError
from study.report.comparisons import comparisons_csv, comparisons_json, comparisons_markdown, set_comparisons_csv
from study.report.epoch_wording import NO_MLM, UNITS, epochs, epochs_note, unit_of
from study.report.escape import csv_text, latex_text, latex_value, markdown_table, markdown_text, markdown_value
from study.report.layout import (
    MARK,
    MARKED,
    OBJECTIVES,
    best,
    caption,
    completeness,
    grid,
    notes,
    plain,
    seeds,
    shown,
)
from study.report.set_tables import sets_csv, sets_latex, sets_markdown
from study.results.aggregate import Cell, CellKey, TimingRow
from study.results.comparison import Comparison
from study.results.set_comparisons import SetComparison
from study.results.verdicts import better_than_random
from study.store.store import write_atomic

FORMATS = ("md", "tex", "csv", "json")
OPTIONAL = (
    "epochs_shown",
    "evaluations",
    "remarks",
    "resampled",
    "retried",
)  # fields of a cell that are left out of exports where they are empty
RESULT_FIELDS = (*(field.name for field in fields(Cell) if field.name not in ("values", *OPTIONAL)), "definition")
SET_FILES = ("tables/evaluations.csv", "tables/evaluation_comparisons.csv")  # only with evaluation sets
DEFINITION = (
    "test fractions; std sample (n-1); ci 95% t interval over seeds; epochs are primary passes of the main stage"
)


def export(
    root: Path,
    cells: Sequence[Cell],
    timing: Sequence[TimingRow],
    formats: Sequence[str] = FORMATS,
    *,
    comparisons: Sequence[Comparison] | None = None,
    on_sets: Sequence[SetComparison] = (),
    remarks: Sequence[str] = (),
) -> list[Path]:
    """Write `root`/tables/results.<format>, tables/timing.csv (with csv) and figures/results; return their paths.

    With `comparisons`, tables/comparisons.<format> too, for all formats but tex. With csv, where there are evaluation
    sets: tables/evaluations.csv, and with `on_sets`, which go with `comparisons`, tables/evaluation_comparisons.csv;
    those of an earlier export are removed. `remarks`: what to know of all comparisons.
    `cells` and `timing` come from study.results.aggregate in the order to show. InputError for another format.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"--format {name}: choose from {', '.join(FORMATS)}")
    marked = better_than_random(comparisons or ())
    makers: dict[str, Callable[[], str]] = {
        "md": lambda: markdown(cells, marked),
        "tex": lambda: latex(cells, marked),
        "csv": lambda: results_csv(cells),
        "json": lambda: results_json(cells),
    }
    files = {f"tables/results.{name}": makers[name]().encode() for name in FORMATS if name in formats}
    if "csv" in formats:
        files["tables/timing.csv"] = csv_text(TimingRow._fields, timing).encode()
        for name in SET_FILES:  # of an earlier export: they may show sets that the study no longer has
            (root / name).unlink(missing_ok=True)
        if any(cell.evaluations for cell in cells):
            files[SET_FILES[0]] = sets_csv(cells).encode()
    if comparisons is not None:
        files |= _comparison_files(comparisons, on_sets, formats, remarks)
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, data)
    return [root / name for name in files]


def _comparison_files(
    comparisons: Sequence[Comparison],
    on_sets: Sequence[SetComparison],
    formats: Collection[str],
    remarks: Sequence[str],
) -> dict[str, bytes]:
    makers: dict[str, Callable[[], str]] = {
        "md": lambda: comparisons_markdown([*comparisons, *on_sets], remarks),
        "csv": lambda: comparisons_csv(comparisons),
        "json": lambda: comparisons_json(comparisons, notes=remarks, on_sets=on_sets),
    }
    files = {f"tables/comparisons.{name}": make().encode() for name, make in makers.items() if name in formats}
    if on_sets and "csv" in formats:
        files[SET_FILES[1]] = set_comparisons_csv(on_sets).encode()
    return files


def results_json(cells: Sequence[Cell]) -> str:
    """A list of cells, fractions at full precision, null where there is no number."""
    return json.dumps([_entry(cell) for cell in cells], indent=1, allow_nan=False) + "\n"


def _entry(cell: Cell) -> dict[str, Any]:
    """All of a cell under its name; OPTIONAL fields only where they say something."""
    fields_of = {name: value for name, value in asdict(cell).items() if name not in OPTIONAL or value}
    return {"cell": cell.key.name, **fields_of}


def results_csv(cells: Sequence[Cell]) -> str:
    """One line per cell with the fields of results.json that are single values, and what the statistics mean.

    The column `retried` is there where a cell has such seeds.
    """
    head = (*RESULT_FIELDS, "retried") if any(cell.retried for cell in cells) else RESULT_FIELDS
    rows = ([DEFINITION if field == "definition" else getattr(cell, field) for field in head] for cell in cells)
    return csv_text(head, rows)


def markdown(cells: Sequence[Cell], marked: Collection[CellKey] = ()) -> str:
    """Results and epochs as two Markdown tables; the cells in `marked` carry MARK."""
    bold = best(cells)

    def result(cell: Cell) -> str:
        return markdown_value(shown(cell), bold=cell.key in bold, mark=MARK if cell.key in marked else "")

    remarks = "\n".join(f"- {markdown_text(line)}" for line in [*notes(cells), *([MARKED] if marked else [])])
    results = f"# Results\n\n{caption(cells)}\n\n{_md_table(cells, result)}\n\n{remarks}\n\n"
    return f"{results}{sets_markdown(cells)}## Epochs\n\n{epochs_note(cells)}\n\n{_md_table(cells, epochs)}\n"


def latex(cells: Sequence[Cell], marked: Collection[CellKey] = ()) -> str:
    """Results and epochs as two LaTeX tables with booktabs; the cells in `marked` carry MARK."""
    bold = best(cells)

    def result(cell: Cell) -> str:
        return latex_value(shown(cell), bold=cell.key in bold, mark=MARK if cell.key in marked else "")

    text = " ".join([caption(cells), *notes(cells), *([MARKED] if marked else [])])
    tables = [_tex_table(cells, result, text), *sets_latex(cells)]
    tables.append(_tex_table(cells, lambda cell: latex_text(epochs(cell)), epochs_note(cells)))
    return "\n".join(["% needs \\usepackage{booktabs}", *tables])


_TERMINAL_EPOCHS = {
    "primary": "Epochs: passes over the primary training data to best / to stop.",
    "mlm": f"Passes: over the masked-LM texts, to best / to stop ({NO_MLM}).",
    "updates": "Updates: of the optimizer, to best / to stop.",
}


def terminal_table(cells: Sequence[Cell]) -> Table:
    """The result for the end of a run: a block per encoder and dataset, fits 80 columns with two objectives."""
    bold = best(cells)
    layout = grid(cells, ["encoder", "dataset"], ["objective"])
    unit = unit_of(cells)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption="\n".join(
            [
                f"Test, percent: mean ± sample standard deviation over {seeds(cells)}, best in bold.",
                _TERMINAL_EPOCHS[unit],
                *completeness(cells),
            ]
        ),
        caption_justify="left",
    )
    table.add_column("Encoder, data", overflow="fold")
    table.add_column("Method", overflow="fold")
    for (objective,) in layout.columns:
        table.add_column(Text(plain(OBJECTIVES.get(objective, objective))), justify="right", no_wrap=True)
        table.add_column(UNITS[unit].short, justify="right", no_wrap=True, style="dim")
    for heading, rows in layout.blocks:
        for position, row in enumerate(rows):
            here = heading[position:] if position == len(rows) - 1 else heading[position : position + 1]
            line = [Text("\n".join(map(plain, here)), style="bold"), Text(plain(row.label))]
            for entry in row.entries:
                line += _terminal_entry(entry, entry is not None and entry.key in bold)
            table.add_row(*line, end_section=position == len(rows) - 1)
    return table


def _terminal_entry(cell: Cell | None, is_best: bool) -> list[Text]:
    if cell is None:
        return [Text(""), Text("")]
    mean, std, note = shown(cell)
    value = Text(f"{mean} ± {std}" if std else mean, style="bold green" if is_best else "")
    if note:  # below the number, so that the column stays narrow
        value.append(("\n" if mean else "") + note, style="not bold yellow" if mean else "bold red")
    return [value, Text(epochs(cell))]


def _md_table(cells: Sequence[Cell], write: Callable[[Cell], str]) -> str:
    layout = grid(cells, ["encoder"], ["dataset", "objective"])
    goals = [f"{dataset} {OBJECTIVES.get(objective, objective)}" for dataset, objective in layout.columns]
    lines = [
        [
            "" if position else markdown_text(heading[0]),
            markdown_text(row.label),
            *(write(entry) if entry else "" for entry in row.entries),
        ]
        for heading, rows in layout.blocks
        for position, row in enumerate(rows)
    ]
    return markdown_table(["Encoder", "Method", *map(markdown_text, goals)], "ll" + "r" * len(goals), lines)


def _tex_table(cells: Sequence[Cell], write: Callable[[Cell], str], text: str) -> str:
    layout = grid(cells, ["encoder"], ["dataset", "objective"])
    datasets = [dataset for dataset, _ in layout.columns]
    spans, rules, start = [], [], 3
    for dataset in dict.fromkeys(datasets):
        width = datasets.count(dataset)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{latex_text(dataset)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    body = []
    for heading, rows in layout.blocks:
        body.append(r"\midrule")
        for position, row in enumerate(rows):
            first = "" if position else latex_text(heading[0])
            entries = (write(entry) if entry else "" for entry in row.entries)
            body.append(" & ".join([first, latex_text(row.label), *entries]) + r" \\")
    goals = [latex_text(OBJECTIVES.get(objective, objective)) for _, objective in layout.columns]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex_text(text)}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(goals)}}}",
            r"\toprule",
            " & ".join(["", "", *spans]) + r" \\",
            " ".join(rules),
            " & ".join(["Encoder", "Method", *goals]) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )
