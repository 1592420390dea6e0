"""Evaluation sets as tables: for each dataset that has some, the test value, then value and gap on every set.

Rows and their order are those of the result table. Percent here, as in every report; the CSV holds fractions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from study.report.escape import csv_text, latex_text, latex_value, markdown_table, markdown_text, markdown_value
from study.report.layout import OBJECTIVES, GridRow, Shown, grid, plain, seeds, shown
from study.results.aggregate import Cell

HEADING = "Out of distribution"
SET_DEFINITION = (
    "test and set values are fractions; gap is test value minus value on the set, per seed; std sample (n-1); ci 95% t "
    "interval over seeds; empty where a finished seed lacks the set"
)
CELL_FIELDS = ("encoder", "dataset", "method", "variant", "mask_mean", "objective")
SET_FIELDS = ("n", "mean", "std", "ci_low", "ci_high", "gap_mean", "gap_std", "gap_ci_low", "gap_ci_high", "texts")
ABOUT_SET = ("classes", "merged", "absent")
COLUMNS = (*CELL_FIELDS, "evaluation", "wanted", "test_n", "test_mean", *SET_FIELDS, *ABOUT_SET, "definition")
LATEX_LETTERS = 120  # of a line, which a wide page holds in small type
WIDEST_NAME = 16  # letters of a set's name before its head is folded in a terminal
BETWEEN = 2  # blanks that a terminal shows for a column beside its text
WIDEST_ROW = 24  # letters of an encoder's or a row's name before it is folded there


class SetEntry(NamedTuple):
    """A number of the table; all parts are empty where there is none."""

    value: Shown
    best: bool = False  # the highest of its column and encoder


class SetRow(NamedTuple):
    """One row of the result table on the evaluation sets."""

    label: str
    entries: tuple[SetEntry, ...]  # as the columns


class SetTable(NamedTuple):
    """One dataset under one objective."""

    title: str
    columns: tuple[str, ...]  # test, then for each set its name and "gap"
    blocks: tuple[tuple[str, tuple[SetRow, ...]], ...]  # encoder and its rows


EMPTY = SetEntry(Shown("", "", ""))


def set_tables(cells: Sequence[Cell]) -> list[SetTable]:
    """A table for each dataset and objective whose records have evaluation sets, in the order of the result table."""
    layout = grid(cells, ["encoder"], ["dataset", "objective"])
    tables = []
    for column, (dataset, objective) in enumerate(layout.columns):
        names = sets_of([cell for cell in cells if (cell.dataset, cell.objective) == (dataset, objective)])
        if not names:
            continue
        blocks = [
            (heading[0], _rows([row for row in rows if row.entries[column] is not None], column, names))
            for heading, rows in layout.blocks
        ]
        tables.append(
            SetTable(
                f"{dataset}, {OBJECTIVES.get(objective, objective)}",
                ("test", *(head for name in names for head in (name, "gap"))),
                tuple((encoder, rows) for encoder, rows in blocks if rows),
            )
        )
    return tables


def sets_of(cells: Sequence[Cell]) -> list[str]:
    """The evaluation sets that the cells have, each once."""
    return list(dict.fromkeys(name for cell in cells for name in cell.evaluations))


def caption(cells: Sequence[Cell]) -> str:
    """What the numbers of all these tables are."""
    having = {cell.dataset for cell in cells if cell.evaluations}
    own = [cell for cell in cells if cell.dataset in having]
    text = (
        f"Test split and evaluation sets in percent, mean ± sample standard deviation over {seeds(own)}. Gap: test "
        "value minus value on the set, taken for each seed, in percentage points; above zero, the model does worse on "
        "the set. Each set was read once, with the model that was selected on validation data; no model was trained or "
        "selected on it. Values are over the classes of the set. Bold: best mean of an encoder and column."
    )
    return " ".join([text, *_incomplete(own), *_classes(own)])


def sets_markdown(cells: Sequence[Cell]) -> str:
    """The section of results.md, with an empty line behind it; empty without evaluation sets."""
    tables = set_tables(cells)
    if not tables:
        return ""
    parts = [f"## {HEADING}", markdown_text(caption(cells))]
    for table in tables:
        lines = [
            [markdown_text(head), markdown_text(row.label), *_values(row, markdown_value)]
            for head, row in _lines(table)
        ]
        header = ["Encoder", "Method", *map(markdown_text, table.columns)]
        align = "ll" + "r" * len(table.columns)
        parts += [f"### {markdown_text(table.title)}", markdown_table(header, align, lines)]
    return "\n\n".join(parts) + "\n\n"


def sets_latex(cells: Sequence[Cell]) -> list[str]:
    """LaTeX tables for each dataset and objective, cut as in a terminal; the first one explains the numbers of all."""
    tables = [part for table in set_tables(cells) for part in _fitting(table, LATEX_LETTERS)]
    return [
        _latex_table(table, f" {caption(cells)}" if position == 0 else " Numbers as in the table before.")
        for position, table in enumerate(tables)
    ]


def sets_csv(cells: Sequence[Cell]) -> str:
    """One line per cell and evaluation set: fractions, at full precision."""
    rows = []
    for cell in cells:
        for name, on_set in cell.evaluations.items():
            numbers = [getattr(on_set, field) for field in SET_FIELDS]
            classes, absent = " | ".join(on_set.classes), " | ".join(on_set.absent)
            more = [classes, str(on_set.merged).lower(), absent, SET_DEFINITION]
            names = [getattr(cell, field) for field in CELL_FIELDS]
            rows.append([*names, name, cell.wanted, cell.n, cell.mean, *numbers, *more])
    return csv_text(COLUMNS, rows)


def terminal_sets(cells: Sequence[Cell], width: int) -> list[Table]:
    """The same for the end of a run; sets that do not fit beside each other in `width` letters get further tables."""
    tables = [part for table in set_tables(cells) for part in _fitting(table, width)]
    drawn = [_terminal_table(table) for table in tables]
    if drawn:
        drawn[-1].caption = plain(caption(cells))
        drawn[-1].caption_justify = "left"
    return drawn


def _rows(rows: Sequence[GridRow], column: int, names: Sequence[str]) -> tuple[SetRow, ...]:
    """The rows of one encoder under one dataset and objective."""
    cells = [entry for row in rows if (entry := row.entries[column]) is not None]
    found = [[SetEntry(shown(cell)), *(entry for name in names for entry in _on_set(cell, name))] for cell in cells]
    for place in (0, *range(1, 2 * len(names), 2)):  # a small gap is no merit of its own
        means = [float(line[place].value.mean) for line in found if line[place].value.mean]
        for line in found:
            value = line[place].value.mean  # as printed: equal digits tie, and nothing is best without a rival
            line[place] = line[place]._replace(best=bool(value) and len(means) > 1 and float(value) == max(means))
    return tuple(SetRow(row.label, tuple(line)) for row, line in zip(rows, found, strict=True))


def _on_set(cell: Cell, name: str) -> tuple[SetEntry, SetEntry]:
    """Value and gap. Nothing is shown where a finished seed lacks the set, but how many have it."""
    if not cell.n:
        return EMPTY, EMPTY
    on_set = cell.evaluations.get(name)
    if on_set is None or on_set.mean is None or on_set.gap_mean is None:
        return SetEntry(Shown("", "", f"incomplete ({on_set.n if on_set else 0}/{cell.wanted})")), EMPTY
    note = "" if on_set.n == cell.wanted else f"n={on_set.n}/{cell.wanted}"
    return (
        SetEntry(Shown(_percent(on_set.mean), _percent(on_set.std), note)),
        SetEntry(Shown(_percent(on_set.gap_mean), _percent(on_set.gap_std), "")),
    )


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}".replace("-0.00", "0.00")


def _incomplete(cells: Sequence[Cell]) -> list[str]:
    known: dict[str, list[str]] = {}
    for cell in cells:
        known[cell.dataset] = list(dict.fromkeys([*known.get(cell.dataset, []), *cell.evaluations]))
    counts = [
        (cell.n, cell.evaluations[name].n if name in cell.evaluations else 0)
        for cell in cells
        for name in known[cell.dataset]
    ]
    if all(n == here for n, here in counts):
        return []
    return ["Incomplete (k/N): only k of N seeds have a value on the set, so that no mean is shown."]


def _classes(cells: Sequence[Cell]) -> list[str]:
    """Where a map merged classes, which makes a set easier, or a class has no text, which lowers macro F1."""
    merged: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}  # dataset and classes -> sets
    absent: dict[tuple[str, tuple[str, ...]], dict[str, None]] = {}
    for cell in cells:
        for name, one in cell.evaluations.items():
            if one.merged:
                merged.setdefault((cell.dataset, one.classes), {})[name] = None
            if one.absent and cell.objective == "macro_f1":
                absent.setdefault((cell.dataset, one.absent), {})[name] = None
    said = {
        "Labels were merged, so that there are fewer classes than in the test split": merged,
        "Classes without a text in a set, which count 0 in its macro F1": absent,
    }
    lines = []
    for text, found in said.items():
        places = [f"{', '.join(sets)} of {dataset} ({', '.join(names)})" for (dataset, names), sets in found.items()]
        lines += [f"{text}: {'; '.join(places)}."] if places else []
    return lines


def _lines(table: SetTable) -> Iterator[tuple[str, SetRow]]:
    """The rows, with the encoder's name before the first one of each block."""
    for encoder, rows in table.blocks:
        for position, row in enumerate(rows):
            yield "" if position else encoder, row


def _latex_table(table: SetTable, text: str) -> str:
    body = []
    for head, row in _lines(table):
        body += [r"\midrule"] if head else []
        body.append(" & ".join([latex_text(head), latex_text(row.label), *_values(row, latex_value)]) + r" \\")
    return "\n".join(
        [
            r"\begin{table}",
            r"\centering\small",
            rf"\caption{{{latex_text(f'{HEADING}: {table.title}.{text}')}}}",
            rf"\begin{{tabular}}{{ll{'r' * len(table.columns)}}}",
            r"\toprule",
            " & ".join(["Encoder", "Method", *map(latex_text, table.columns)]) + r" \\",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
            "",
        ]
    )


def _values(row: SetRow, write: Callable[..., str]) -> list[str]:
    return [write(entry.value, bold=entry.best) for entry in row.entries]


def _fitting(table: SetTable, width: int) -> list[SetTable]:
    """The table, or several with some of its sets each, so that no number is broken in `width` columns."""
    names, rows = [encoder for encoder, _ in table.blocks], [row for _, rows in table.blocks for row in rows]
    heads = ["Encoder", *names], ["Method", *(row.label for row in rows)]
    fixed = sum(min(WIDEST_ROW, max(map(len, texts))) + BETWEEN for texts in heads)
    widths = [_width(table, rows, column) + BETWEEN for column in range(len(table.columns))]
    room, parts = width - fixed - widths[0], [[0]]
    left = room
    for column in range(1, len(widths), 2):
        needed = widths[column] + widths[column + 1]
        if needed > left and len(parts[-1]) > 1:
            parts.append([0])
            left = room
        parts[-1] += [column, column + 1]
        left -= needed
    return [_only(table, columns) for columns in parts]


def _width(table: SetTable, rows: Sequence[SetRow], column: int) -> int:
    """Letters of a column; a long name of a set is folded."""
    numbers = max(len(line) for row in rows for line in _shown_lines(row.entries[column].value).split("\n"))
    return max(numbers, min(WIDEST_NAME, len(table.columns[column])))


def _only(table: SetTable, columns: Sequence[int]) -> SetTable:
    def cut(row: SetRow) -> SetRow:
        return row._replace(entries=tuple(row.entries[column] for column in columns))

    blocks = tuple((encoder, tuple(map(cut, rows))) for encoder, rows in table.blocks)
    return table._replace(columns=tuple(table.columns[column] for column in columns), blocks=blocks)


def _shown_lines(value: Shown) -> str:
    """A number as the result table of a terminal has it: the note below."""
    text = f"{value.mean} ± {value.std}" if value.std else value.mean
    return "\n".join(part for part in (text, value.note) if part)


def _terminal_table(table: SetTable) -> Table:
    rows = [row for _, rows in table.blocks for row in rows]
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), title_justify="left")
    drawn.title = Text(plain(f"{HEADING}: {table.title}"), style="bold")
    drawn.add_column("Encoder", overflow="fold", max_width=WIDEST_ROW)
    drawn.add_column("Method", overflow="fold", max_width=WIDEST_ROW)
    for number, name in enumerate(table.columns):
        style = "dim" if number and number % 2 == 0 else None  # the gaps
        drawn.add_column(
            Text(plain(name)), justify="right", overflow="fold", style=style, max_width=_width(table, rows, number)
        )
    for encoder, block in table.blocks:
        for position, row in enumerate(block):
            entries = [Text(_shown_lines(entry.value), style="bold" if entry.best else "") for entry in row.entries]
            head = Text("" if position else plain(encoder), style="bold")
            drawn.add_row(head, Text(plain(row.label)), *entries, end_section=position == len(block) - 1)
    return drawn
