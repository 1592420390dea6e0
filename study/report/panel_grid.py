"""Panels in rows and columns over one legend, with names of any length: the frame of the figures with two axes.

Every row of the result table has one look in all figures of a study: the colour of its arm, and a marker and a line
style of its own, so that it can be told apart in grey too. Places are computed here, because matplotlib's own layout
engine takes half a minute for a hundred panels (measured).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from l3masking.methods import METHODS, color_of
from study.report.drawing import INK, LABEL, SMALL, SOFT, TITLE, broken, figure_size, load_matplotlib, quiet_axis
from study.report.layout import grid, plain
from study.results.aggregate import Cell, CellKey

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

# Inches
WIDTH, PLOT_HEIGHT = 3.3, 1.8  # of a panel with its labels, and of its plotted part
LEFT, RIGHT, BELOW = 0.66, 0.16, 0.44  # around the plotted part: numbers and label of the vertical axis, ...
TITLE_LINE, LEGEND_LINE, TICK_LINE, GAP = 0.165, 0.165, 0.13, 0.12
TITLE_LETTERS, LEGEND_LETTERS = 30, 34  # of a line, before it is broken
LETTER, HANDLE, MARK_ALONE = 0.066, 0.62, 0.4  # width of a letter in the legend (upper estimate), of a sample with gaps
MAX_COLUMNS = 3
TALL_LEGEND = 6  # entries of a legend, beyond which it has two columns
MAX_ROWS = 15  # of the result table in one figure: more cannot be told apart

MARKERS = "os^DvPX<>p*hdH8"
FILLED = 8  # the further ones are hollow, so that similar shapes differ
DASHES: tuple[tuple[float, ...], ...] = (
    (),  # solid
    (5, 2),
    (1.2, 1.4),
    (6, 2, 1.2, 2),
    (3, 1.3, 1.2, 1.3, 1.2, 1.3),
    (10, 3),
)


class Look(NamedTuple):
    """How a row of the result table is drawn."""

    color: str
    marker: str
    hollow: bool
    dashes: tuple[float, ...]  # points of line and gap in turn; empty: solid


class FigureRows(NamedTuple):
    """The rows of a study in figures."""

    labels: Mapping[CellKey, str]  # of the cells that figures show
    looks: Mapping[str, Look]  # by label, in the order of the result table
    left_out: int  # rows beyond MAX_ROWS, variants first


class PanelPlace(NamedTuple):
    """Where a panel stands, and what stands at it."""

    row: int
    column: int
    title: str
    x_label: str
    y_label: str


class Frame(NamedTuple):
    """A figure without its data."""

    panels: tuple[PanelPlace, ...]
    looks: Mapping[str, Look]  # of the legend, by label
    lines: bool = True  # whether the legend shows lines; else markers alone
    further_lines: int = 0  # of the numbers or names below each panel, beyond the first


class Sizes(NamedTuple):
    """The sizes of a figure, in inches."""

    width: float
    height: float
    tall: float  # of a row of panels
    below: float  # the plotted part of a panel
    titles: tuple[str, ...]  # broken into lines
    names: Mapping[str, str]  # label -> the same, broken into lines
    beside: int  # entries of the legend beside each other


def rows_of(cells: Sequence[Cell]) -> FigureRows:
    """Labels and looks of the rows: at most MAX_ROWS of them, plain rows before variants."""
    blocks = grid(cells, [], ["encoder", "dataset", "objective"]).blocks
    lines = [line for _, rows in blocks for line in rows]
    own = [[cell for cell in line.entries if cell is not None] for line in lines]
    order = sorted(range(len(lines)), key=lambda line: (own[line][0].variant is not None, line))
    shown = sorted(order[:MAX_ROWS])
    labels = {cell.key: plain(lines[line].label) for line in shown for cell in own[line]}
    looks = looks_of((plain(lines[line].label), own[line][0].method, own[line][0].variant is None) for line in shown)
    return FigureRows(labels, looks, len(lines) - len(shown))


def looks_of(rows: Iterable[tuple[str, str, bool]]) -> dict[str, Look]:
    """A look for each (label, method, whether it is the plain row), in that order.

    The plain row of an arm has the same look in every study: that of its place in METHODS. Variants, and the arms of a
    space file, get those that are free.
    """
    given = list({row[0]: row for row in rows}.values())
    order, taken = list(METHODS), dict[str, int]()
    own = {label: order.index(method) for label, method, is_plain in given if is_plain and method in METHODS}
    for label, _, _ in sorted(given, key=lambda row: row[0] not in own):
        wanted = own[label] % len(MARKERS) if label in own else None
        free = [number for number in range(len(MARKERS)) if number not in taken.values()]
        taken[label] = wanted if wanted in free else free[0] if free else len(taken) % len(MARKERS)
    return {
        label: Look(color_of(method), MARKERS[number], number >= FILLED, DASHES[number % len(DASHES)])
        for label, method, _ in given
        for number in (taken[label],)
    }


def places(names: Sequence[tuple[str, ...]], columns: Sequence[str]) -> list[tuple[int, int]]:
    """Row and column of each panel. names: what a row of panels has in common, then the name of its column.

    columns: their names, in order. A single one is wrapped: its panels stand up to MAX_COLUMNS beside each other.
    """
    rows = list(dict.fromkeys(name[:-1] for name in names))
    if len(columns) > 1:
        return [(rows.index(name[:-1]), columns.index(name[-1])) for name in names]
    beside = 2 if len(rows) == 4 else min(MAX_COLUMNS, max(len(rows), 1))
    return [divmod(rows.index(name[:-1]), beside) for name in names]


def sizes_of(frame: Frame) -> Sizes:
    """How large a figure becomes; nothing is drawn."""
    columns, rows = 1 + max(panel.column for panel in frame.panels), 1 + max(panel.row for panel in frame.panels)
    titles = tuple(broken(panel.title, TITLE_LETTERS) for panel in frame.panels)
    above = TITLE_LINE * max(title.count("\n") + 1 for title in titles) + GAP
    names = {label: broken(label, LEGEND_LETTERS) for label in frame.looks}
    handle = HANDLE if frame.lines else MARK_ALONE
    wide = handle + LETTER * max((len(line) for name in names.values() for line in name.split("\n")), default=0)
    least = 2 if len(names) > TALL_LEGEND else 1  # a long list beside nothing looks like a mistake
    width = max(columns * WIDTH, least * wide + 2 * GAP)
    beside = max(1, min(len(names), int((width - 2 * GAP) / wide)))
    columns_of_legend = np.array_split([name.count("\n") + 1 for name in names.values()], beside)  # as matplotlib does
    lines = max(int(column.sum()) for column in columns_of_legend)
    below = BELOW + TICK_LINE * frame.further_lines
    tall = above + PLOT_HEIGHT + below
    return Sizes(width, rows * tall + lines * LEGEND_LINE + GAP, tall, below, titles, names, beside)


def cuts_of(frame: Frame) -> tuple[float, ...]:
    """Where a printed page may end: shares of the height, from the top, between two rows of panels."""
    sizes = sizes_of(frame)
    return tuple(row * sizes.tall / sizes.height for row in range(1, 1 + max(panel.row for panel in frame.panels)))


def panel_figure(frame: Frame) -> tuple[Figure, list[Axes]]:
    """A figure with an empty axis for each panel, and below them a legend, without any global state."""
    load_matplotlib()
    from matplotlib.figure import Figure

    sizes = sizes_of(frame)
    width, height = sizes.width, sizes.height
    figure = Figure(**figure_size(width, height))
    axes = []
    for panel, title in zip(frame.panels, sizes.titles, strict=True):
        left, bottom = panel.column * WIDTH + LEFT, height - (panel.row + 1) * sizes.tall + sizes.below
        size = (WIDTH - LEFT - RIGHT) / width, PLOT_HEIGHT / height
        axis = figure.add_axes((left / width, bottom / height, *size))
        quiet_axis(axis)
        axis.set_title(title, fontsize=TITLE, fontweight="bold", loc="left", color=INK, parse_math=False)
        axis.set_xlabel(panel.x_label, fontsize=LABEL, color=SOFT, parse_math=False)
        axis.set_ylabel(panel.y_label, fontsize=LABEL, color=SOFT, parse_math=False)
        axis.locator_params(axis="both", nbins=6, steps=[1, 2, 5, 10])
        axes.append(axis)
    legend = figure.legend(
        handles=[_sample(name, frame.looks[label], lines=frame.lines) for label, name in sizes.names.items()],
        loc="lower left",
        bbox_to_anchor=(GAP / width, GAP / 2 / height),
        ncols=sizes.beside,
        fontsize=SMALL,
        frameon=False,
        handlelength=3.2 if frame.lines else 1.2,
        borderpad=0,
        borderaxespad=0,
        columnspacing=1.2,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
    return figure, axes


def marker_style(look: Look, size: float = 4.5) -> dict[str, object]:
    """Arguments of `plot` and `errorbar` for the marker of a row."""
    return {
        "marker": look.marker,
        "markersize": size,
        "markerfacecolor": "white" if look.hollow else look.color,
        "markeredgecolor": look.color,
        "markeredgewidth": 1.0,
    }


def line_style(look: Look) -> tuple[float, tuple[float, ...]] | str:
    """The line style of a row."""
    return (0, look.dashes) if look.dashes else "-"


def without(rows: FigureRows) -> str:
    """The sentence of a caption that says which rows a figure leaves out; empty if it shows all."""
    if not rows.left_out:
        return ""
    total = len(rows.looks) + rows.left_out
    return f" {len(rows.looks)} of {total} rows of the study are drawn, variants last; the CSV file holds all of them."


def counted(numbers: Iterable[int], noun: str = "seed") -> str:
    """How many, such as "10 seeds" or "3 to 10 seeds"."""
    counts = sorted(set(numbers)) or [0]
    many = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    return f"{many} {noun}{'' if many == '1' else 's'}"


def _sample(label: str, look: Look, *, lines: bool) -> Line2D:
    from matplotlib.lines import Line2D

    style, line = marker_style(look), line_style(look) if lines else "none"
    return Line2D([], [], color=look.color, linestyle=line, linewidth=1.4, label=label, **style)  # type: ignore[arg-type]
