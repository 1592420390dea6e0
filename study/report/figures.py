"""The result figure: every seed, the mean and its 95 % interval. What is drawn is computed apart from the drawing."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from l3masking.methods import color_of
from study.report.drawing import EDGE, GRID, LABEL, SMALL, SOFT, TITLE, as_png, broken, figure_size, load_matplotlib
from study.report.layout import OBJECTIVES, grid, plain, seeds, shown
from study.results.aggregate import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RESULTS_FIGURE = "results"  # name of the figure and of its files
LEGEND = (
    "Test set, percent. Open dots: seeds, the same height for the same seed.\n"
    "Diamond and bar: mean over the seeds and its 95 % t interval."
)
# Inches. Places are computed here: matplotlib's own layout engine takes half a minute for a hundred panels (measured).
PLOT_WIDTH = 3.2  # of the plotted part of a panel
LETTER_WIDTH = 0.078  # upper estimate for a letter of a label at 9 points
ROW_HEIGHT = 0.42  # of one method: a lane of dots above its bar
TITLE_HEIGHT, AXIS_HEIGHT, LEGEND_HEIGHT, MARGIN = 0.34, 0.34, 0.45, 0.15
TITLE_LINE, TITLE_LETTERS = 0.165, 36  # of a further line of a title, and letters of a line
DOT_LANE = (-0.36, -0.06)  # where the seeds lie, first to last, in rows relative to the label; negative is up
BAR_LANE = 0.17  # where mean and interval lie: apart, so that they hide no seed


class Series(NamedTuple):
    """One method in a panel, in percent."""

    label: str
    method: str
    points: tuple[tuple[int, float], ...]
    """(seed, test value), in the order of the seeds."""
    mean: float | None
    low: float | None
    high: float | None
    note: str
    """What is missing, as in the tables; empty if nothing is."""


class Panel(NamedTuple):
    """One encoder and dataset (row of the figure) under one objective (column)."""

    row: int
    column: int
    title: str
    series: tuple[Series, ...]


def panels(cells: Sequence[Cell]) -> list[Panel]:
    """What the figure shows, in percent: a row per encoder × dataset, a column per objective, ordered as the cells."""
    layout = grid(cells, ["encoder", "dataset"], ["objective"])
    out = []
    for row, block in enumerate(layout.blocks):
        for column, (objective,) in enumerate(layout.columns):
            series = tuple(
                _series(line.label, entry) for line in block.rows if (entry := line.entries[column]) is not None
            )
            title = " · ".join([*block.heading, OBJECTIVES.get(objective, objective)])
            out.append(Panel(row, column, plain(title), series))
    return out


def draw(shown_panels: Sequence[Panel]) -> Figure:
    """One axis per panel, methods from top to bottom; a matplotlib Figure without any global state (no pyplot)."""
    load_matplotlib()
    from matplotlib.figure import Figure

    lines = _lines(shown_panels)
    columns = max((panel.column for panel in shown_panels), default=0) + 1
    named = _named_columns(shown_panels)
    names = [line for panel in shown_panels for name in _names(panel) for line in name.splitlines()]
    letters = max(map(len, names), default=0)
    wide = MARGIN + LETTER_WIDTH * letters
    lefts = [0.0]  # where the plot of each column begins, and the end of the last one
    for column in range(columns):
        lefts[-1] += wide if column in named else 2 * MARGIN
        lefts.append(lefts[-1] + PLOT_WIDTH)
    width = lefts[-1] + MARGIN
    heights = _heights(shown_panels)
    height = sum(heights.values()) + LEGEND_HEIGHT
    figure = Figure(**figure_size(width, height))
    bottom, tops = height, {}
    breaks = _title_lines(shown_panels)
    for row, tall in heights.items():
        tops[row] = bottom - TITLE_HEIGHT - breaks[row] * TITLE_LINE
        bottom -= tall
    for panel in shown_panels:
        tall = ROW_HEIGHT * lines[panel.row]
        x, y = lefts[panel.column], tops[panel.row] - tall
        axis = figure.add_axes((x / width, y / height, PLOT_WIDTH / width, tall / height))
        _draw_panel(axis, panel, lines[panel.row], panel.column in named)
    figure.text(0.5, MARGIN / 2 / height, LEGEND, fontsize=LABEL, color=SOFT, ha="center", va="bottom")
    return figure


def png(shown_panels: Sequence[Panel]) -> bytes:
    """The figure as PNG; equal panels give equal bytes."""
    return as_png(lambda: draw(shown_panels))


def results_caption(cells: Sequence[Cell]) -> str:
    """What the figure shows."""
    return (
        f"Test values in percent of {seeds(cells)}. Open dots: seeds, the same height for the same seed. Diamond and "
        "bar: mean over the seeds and its 95 % t interval. n=k/N: k of N seeds have finished."
    )


def result_cuts(shown_panels: Sequence[Panel]) -> tuple[float, ...]:
    """Where a printed page may end: shares of the height, from the top, between two rows of panels."""
    heights = _heights(shown_panels)
    total = sum(heights.values()) + LEGEND_HEIGHT
    return tuple(below / total for below in itertools.accumulate(list(heights.values())[:-1]))


def _lines(shown_panels: Sequence[Panel]) -> dict[int, int]:
    """Methods of each row of panels, from the top."""
    lines: dict[int, int] = {}
    for panel in sorted(shown_panels, key=lambda panel: panel.row):
        lines[panel.row] = max(lines.get(panel.row, 1), len(panel.series))
    return lines


def _heights(shown_panels: Sequence[Panel]) -> dict[int, float]:
    """Of each row of panels, inches, from the top."""
    lines, titles = _lines(shown_panels), _title_lines(shown_panels)
    return {row: TITLE_HEIGHT + titles[row] * TITLE_LINE + ROW_HEIGHT * lines[row] + AXIS_HEIGHT for row in lines}


def _title_lines(shown_panels: Sequence[Panel]) -> dict[int, int]:
    """Line breaks in the titles of each row of panels."""
    found: dict[int, int] = {}
    for panel in shown_panels:
        found[panel.row] = max(found.get(panel.row, 0), _title(panel).count("\n"))
    return found


def _title(panel: Panel) -> str:
    return broken(panel.title, TITLE_LETTERS)


def _series(label: str, cell: Cell) -> Series:
    def percent(value: float | None) -> float | None:
        return None if value is None else 100 * value

    points = tuple((seed, 100 * value) for seed, value in cell.values.items())
    interval = percent(cell.ci_low), percent(cell.ci_high)
    return Series(plain(label), cell.method, points, percent(cell.mean), *interval, shown(cell).note)


def _names(panel: Panel) -> list[str]:
    return [s.label if s.mean is None or not s.note else f"{s.label}\n{s.note}" for s in panel.series]


def _named_columns(shown_panels: Sequence[Panel]) -> set[int]:
    """The columns that need names: the first, and those where some panel has others than the first of its row."""
    first = {panel.row: _names(panel) for panel in shown_panels if panel.column == 0}
    return {0} | {panel.column for panel in shown_panels if _names(panel) != first.get(panel.row)}


def _draw_panel(axis: Axes, panel: Panel, lines: int, with_names: bool) -> None:
    axis.set_yticks([])
    beside = axis.get_yaxis_transform()  # plain text: a tick costs ten times as much
    for line, name in enumerate(_names(panel) if with_names else ()):
        axis.text(-0.015, line, name, transform=beside, ha="right", va="center", fontsize=TITLE, parse_math=False)
    axis.set_ylim(lines - 0.5, -0.5)
    axis.set_title(_title(panel), fontsize=TITLE, fontweight="bold", loc="left", parse_math=False)
    axis.grid(axis="x", color=GRID, linewidth=0.8)
    axis.set_axisbelow(True)
    axis.tick_params(axis="x", labelsize=SMALL, color=EDGE)
    axis.locator_params(axis="x", nbins=7, steps=[1, 2, 5, 10])
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.spines["bottom"].set_color(EDGE)
    seeds = sorted({seed for series in panel.series for seed, _ in series.points})
    first, last = DOT_LANE
    lane = {seed: first + (last - first) * (rank + 0.5) / len(seeds) for rank, seed in enumerate(seeds)}
    _draw_values(axis, panel.series, lane)


def _draw_values(axis: Axes, rows: Sequence[Series], lane: Mapping[int, float]) -> None:
    dots, bars, means = [], [], []
    for line, series in enumerate(rows):
        color = color_of(series.method)  # a variant has the colour of its method
        if series.mean is None:
            place = axis.get_yaxis_transform()  # x as a share of the panel: there is no value to place it at
            axis.text(0.02, line, series.note, transform=place, va="center", fontsize=8, color="#b00020")
            continue
        means.append((series.mean, line + BAR_LANE, color))
        dots += [(value, line + lane[seed], color) for seed, value in series.points]
        if series.low is not None and series.high is not None:
            bars.append((line + BAR_LANE, series.low, series.high, color))
    if not means:
        axis.set_xticks([])  # an axis without values would show the numbers 0 to 1
        return
    x, y, colors = zip(*dots, strict=True)  # one call for a panel: a call for each method is much slower
    axis.scatter(x, y, s=16, facecolors="none", edgecolors=colors, linewidths=0.9, zorder=2)
    x, y, colors = zip(*means, strict=True)
    axis.scatter(x, y, s=42, marker="D", c=colors, edgecolors="white", linewidths=0.8, zorder=4)
    if bars:
        height, low, high, colors = zip(*bars, strict=True)
        axis.hlines(height, low, high, colors=colors, linewidth=2.2, zorder=3)
