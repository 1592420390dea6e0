"""Cells into files: Markdown, LaTeX, CSV, JSON, one figure, and the table that ends a run.

Equal cells give equal bytes; wall times appear in timing.csv alone. Names come from users, so each format escapes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from rich import box
from rich.table import Table
from rich.text import Text

from l3masking.errors import InputError
from study.aggregate import Cell, TimingRow
from study.figures import panels, png
from study.layout import EPOCHS, OBJECTIVES, best, caption, epochs, grid, notes, plain, seeds, shown
from study.layout import LABELS as LABELS  # shared with figures, looked for here
from study.store import write_atomic

FORMATS = ("md", "tex", "csv", "json")
CSV_FIELDS = (*(field.name for field in fields(Cell) if field.name != "values"), "definition")
DEFINITION = (
    "test fractions; std sample (n-1); ci 95% t interval over seeds; epochs are primary passes of the main stage"
)
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
MARKDOWN_ESCAPES = str.maketrans(
    {"&": "&amp;", "<": "&lt;", ">": "&gt;", "$": "&#36;"} | {mark: f"\\{mark}" for mark in r"\`*_[]|~"}
)
LATEX_ESCAPES = str.maketrans(
    {mark: f"\\{mark}" for mark in "&%$#_{}"}
    | {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}
    | {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "±": r"$\pm$", "–": "--"}
)


def export(
    root: Path, cells: Sequence[Cell], timing: Sequence[TimingRow], formats: Sequence[str] = FORMATS
) -> list[Path]:
    """Write `root`/tables/results.<format>, tables/timing.csv (with csv) and figures/results.png; return their paths.

    `cells` and `timing` come from study.aggregate in the order to show. InputError for a format outside FORMATS.
    """
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"--format {name}: choose from {', '.join(FORMATS)}")
    makers = {"md": markdown, "tex": latex, "csv": results_csv, "json": results_json}
    files = {f"tables/results.{name}": makers[name](cells).encode() for name in FORMATS if name in formats}
    if "csv" in formats:
        files["tables/timing.csv"] = _csv(TimingRow._fields, timing).encode()
    files["figures/results.png"] = png(panels(cells))
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, data)
    return [root / name for name in files]


def results_json(cells: Sequence[Cell]) -> str:
    """A list of cells, fractions at full precision, null where there is no number."""
    return json.dumps([asdict(cell) for cell in cells], indent=1, allow_nan=False) + "\n"


def results_csv(cells: Sequence[Cell]) -> str:
    """One line per cell with the fields of results.json that are single values, and what the statistics mean."""
    rows = ([DEFINITION if field == "definition" else getattr(cell, field) for field in CSV_FIELDS] for cell in cells)
    return _csv(CSV_FIELDS, rows)


def markdown(cells: Sequence[Cell]) -> str:
    """Results and epochs as two Markdown tables."""
    bold = best(cells)

    def result(cell: Cell) -> str:
        mean, std, note = shown(cell)
        value = (f"**{mean}**" if cell.key in bold else mean) + (f" ± {std}" if std else "")
        return f"{value} ({note})" if mean and note else value or note

    remarks = "\n".join(f"- {_md(line)}" for line in notes(cells))
    results = f"# Results\n\n{caption(cells)}\n\n{_md_table(cells, result)}\n\n{remarks}\n\n"
    return f"{results}## Epochs\n\n{EPOCHS}\n\n{_md_table(cells, epochs)}\n"


def latex(cells: Sequence[Cell]) -> str:
    """Results and epochs as two LaTeX tables with booktabs."""
    bold = best(cells)

    def result(cell: Cell) -> str:
        mean, std, note = shown(cell)
        value = (rf"\textbf{{{mean}}}" if cell.key in bold else mean) + (rf" $\pm$ {std}" if std else "")
        return f"{value} ({_tex(note)})" if mean and note else value or _tex(note)

    tables = [
        _tex_table(cells, result, " ".join([caption(cells), *notes(cells)])),
        _tex_table(cells, lambda cell: _tex(epochs(cell)), EPOCHS),
    ]
    return "\n".join(["% needs \\usepackage{booktabs}", *tables])


def terminal_table(cells: Sequence[Cell]) -> Table:
    """The result for the end of a run: a block per encoder and dataset, fits 80 columns with two objectives."""
    bold = best(cells)
    layout = grid(cells, ["encoder", "dataset"], ["objective"])
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        caption=f"Test, percent: mean ± sample standard deviation over {seeds(cells)}, best in bold.\n"
        "Epochs: passes over the primary training data to best / to stop.\n" + notes(cells)[0],
        caption_justify="left",
    )
    table.add_column("Encoder, data", overflow="fold")
    table.add_column("Method", overflow="fold")
    for (objective,) in layout.columns:
        table.add_column(Text(plain(OBJECTIVES.get(objective, objective))), justify="right", no_wrap=True)
        table.add_column("epochs", justify="right", no_wrap=True, style="dim")
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
    goals = [f"{_md(dataset)} {_md(OBJECTIVES.get(objective, objective))}" for dataset, objective in layout.columns]
    lines = [["Encoder", "Method", *goals], ["---", "---", *["---:"] * len(goals)]]
    for heading, rows in layout.blocks:
        for position, row in enumerate(rows):
            first = "" if position else _md(heading[0])
            lines.append([first, _md(row.label), *(write(entry) if entry else "" for entry in row.entries)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _tex_table(cells: Sequence[Cell], write: Callable[[Cell], str], text: str) -> str:
    layout = grid(cells, ["encoder"], ["dataset", "objective"])
    datasets = [dataset for dataset, _ in layout.columns]
    spans, rules, start = [], [], 3
    for dataset in dict.fromkeys(datasets):
        width = datasets.count(dataset)
        spans.append(rf"\multicolumn{{{width}}}{{c}}{{{_tex(dataset)}}}")
        rules.append(rf"\cmidrule(lr){{{start}-{start + width - 1}}}")
        start += width
    body = []
    for heading, rows in layout.blocks:
        body.append(r"\midrule")
        for position, row in enumerate(rows):
            first = "" if position else _tex(heading[0])
            entries = (write(entry) if entry else "" for entry in row.entries)
            body.append(" & ".join([first, _tex(row.label), *entries]) + r" \\")
    goals = [_tex(OBJECTIVES.get(objective, objective)) for _, objective in layout.columns]
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{_tex(text)}}}",
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


def _csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    return "".join(",".join(map(_csv_entry, row)) + "\n" for row in (header, *rows))


def _csv_entry(value: object) -> str:
    """One entry after RFC 4180; Python 3.11's csv writer leaves a lone carriage return unquoted."""
    if value is None:
        return ""
    text = str(value)
    if isinstance(value, str) and text.startswith(FORMULA_STARTS):
        text = f"'{text}"  # a spreadsheet would run it; numbers keep their sign
    return f'"{text.replace(chr(34), 2 * chr(34))}"' if any(mark in text for mark in ',"\r\n') else text


def _md(text: str) -> str:
    return plain(text).translate(MARKDOWN_ESCAPES)


def _tex(text: str) -> str:
    return plain(text).translate(LATEX_ESCAPES)
