"""The figures of a study that its records allow, with their data as CSV: effort, curves, task weights, masks."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from l3masking.errors import InputError
from study.report.drawing import FOLDER, Drawn, forget_drawn, keep_drawn
from study.report.effort_figure import draw_effort, effort_caption, effort_frame, effort_panels
from study.report.epoch_wording import unit_of
from study.report.escape import csv_text, markdown_text
from study.report.figures import RESULTS_FIGURE, draw, panels, result_cuts, results_caption
from study.report.line_figure import LinePanel, draw_lines, line_frame
from study.report.panel_grid import FigureRows, RowLook, cuts_of, rows_of
from study.report.path_figures import curve_panels, curves_caption, weight_panels, weights_caption
from study.report.spread_figures import (
    mask_caption,
    mask_panels,
    performance_caption,
    performance_looks,
    performance_panels,
)
from study.results.aggregate import Cell
from study.results.courses import Course
from study.results.effort import EFFORTS, REPEATABLE, WALL_TIME, effort_columns, effort_points, effort_rows
from study.results.mask_histograms import COLUMNS_OF_BINS, bin_rows, mask_distributions
from study.results.mean_paths import (
    CURVE_COLUMNS,
    WEIGHT_COLUMNS,
    curve_rows,
    learning_curves,
    weight_paths,
    weight_rows,
)
from study.results.responses import Response
from study.results.search_performance import BUDGET_COLUMNS, budget_rows, search_performance
from study.space.report_section import EpochUnit
from study.store.store import write_atomic

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EFFORT, CURVES, WEIGHTS = "effort", "curves", "task_weights"  # names of figures and of their files
MASKS, PERFORMANCE = "mask_probabilities", "search_performance"


class Planned(NamedTuple):
    """A figure before it is drawn."""

    name: str
    caption: str
    data: object  # all that the drawing depends on, as plain values
    draw: Callable[[], Figure]
    cuts: tuple[float, ...]  # where a printed page may end
    header: Sequence[str]  # of its CSV file
    rows: Sequence[Sequence[object]]


def export_figures(
    root: Path, cells: Sequence[Cell], courses: Sequence[Course], formats: Collection[str], effort: str | None = None
) -> list[Drawn]:
    """Draw the figures that the records allow into `root`/figures; those that do not apply any more are removed.

    formats: with csv, the data of each figure are written beside it. effort: of EFFORTS, for a further figure of what
    results cost, against this; InputError for another name. A figure that an earlier export drew for another effort is
    removed.
    """
    if effort is not None and effort not in EFFORTS:
        raise InputError(f"--x {effort}: choose from {', '.join(EFFORTS)}")
    rows, unit = rows_of(cells), unit_of(cells)
    placed = [course for course in courses if course.in_epochs]
    names = list(dict.fromkeys([EFFORTS[0], effort or EFFORTS[0]]))
    planned = {
        **{effort_name(name): _effort(cells, courses, rows, name, unit) for name in names},
        CURVES: _curves(cells, placed, rows, unit),
        WEIGHTS: _weights(cells, placed, rows, unit),
        MASKS: _masks(cells, courses, rows),
    }
    for name in EFFORTS:
        planned.setdefault(effort_name(name), None)
    return [drawn for name, figure in planned.items() if (drawn := _kept(root, name, figure, formats)) is not None]


def export_performance(root: Path, found: Sequence[Response], formats: Collection[str]) -> list[Drawn]:
    """Draw what searches of two settings or more are expected to find; without any, older files are removed."""
    searched = [one for one in search_performance(found) if len(one.budgets) > 1]
    figure = None
    if searched:
        panels, looks = performance_panels(searched), performance_looks(searched)
        rows = budget_rows(searched)
        figure = _lines(PERFORMANCE, performance_caption(searched), panels, looks, BUDGET_COLUMNS, rows, whole_x=True)
    drawn = _kept(root, PERFORMANCE, figure, formats)
    return [] if drawn is None else [drawn]


def export_results_figure(root: Path, cells: Sequence[Cell]) -> list[Drawn]:
    """Draw figures/results: every seed, the mean and its interval."""
    shown = panels(cells)
    drawn = keep_drawn(root, RESULTS_FIGURE, shown, results_caption(cells), lambda: draw(shown), result_cuts(shown))
    return [] if drawn is None else [drawn]


def write_captions(root: Path, drawn: Sequence[Drawn]) -> Path:
    """Write `root`/figures/captions.md: what each figure of an export shows."""
    parts = [f"## {figure.name}\n\n{markdown_text(figure.caption)}\n" for figure in drawn]
    file = root / FOLDER / "captions.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, "\n".join(["# Figures\n", *parts]).encode())
    return file


def on_page(figure: Drawn) -> bool:
    """Whether report.html may show a figure: it holds no wall time, so that equal results give equal bytes."""
    return figure.name != effort_name(WALL_TIME)


def effort_name(effort: str) -> str:
    """Of the files of a figure of effort: the first of EFFORTS is the one that every export draws."""
    return EFFORT if effort == EFFORTS[0] else f"{EFFORT}_{effort}"


def _kept(root: Path, name: str, figure: Planned | None, formats: Collection[str]) -> Drawn | None:
    """The figure, drawn, with its data beside it; None if it does not apply or cannot be drawn."""
    if figure is None:
        forget_drawn(root, name)
        return None
    drawn = keep_drawn(root, name, figure.data, figure.caption, figure.draw, figure.cuts)
    if drawn is None or "csv" not in formats:
        return drawn
    file = root / FOLDER / f"{name}.csv"
    write_atomic(file, csv_text(figure.header, figure.rows).encode())
    return drawn._replace(files=(*drawn.files, file))


def _effort(
    cells: Sequence[Cell], courses: Sequence[Course], rows: FigureRows, effort: str, unit: EpochUnit
) -> Planned | None:
    points = effort_points(cells, courses)
    panels = effort_panels(points, rows, effort)
    if not panels:
        return None
    columns = REPEATABLE if effort in REPEATABLE else (effort,)
    frame = effort_frame(panels, rows.looks, effort, unit)
    return Planned(
        effort_name(effort),
        effort_caption(points, rows, effort, unit),
        [panels, frame],
        lambda: draw_effort(panels, frame),
        cuts_of(frame),
        *with_unit(effort_columns(columns), effort_rows(points, columns), unit),
    )


def _curves(cells: Sequence[Cell], courses: Sequence[Course], rows: FigureRows, unit: EpochUnit) -> Planned | None:
    paths = learning_curves(cells, courses)
    panels = curve_panels(paths, rows, unit)
    if not panels:
        return None
    data = with_unit(CURVE_COLUMNS, curve_rows(paths), unit)
    return _lines(CURVES, curves_caption(paths, rows, unit), panels, rows.looks, *data)


def _weights(cells: Sequence[Cell], courses: Sequence[Course], rows: FigureRows, unit: EpochUnit) -> Planned | None:
    paths = weight_paths(cells, courses)
    panels = weight_panels(paths, rows)
    if not panels:
        return None
    data = with_unit(WEIGHT_COLUMNS, weight_rows(paths), unit)
    return _lines(WEIGHTS, weights_caption(paths, rows), panels, rows.looks, *data)


def with_unit(
    header: Sequence[str], rows: Sequence[Sequence[object]], unit: EpochUnit
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """A CSV table with a last column that names the unit of its epochs, where that is not passes over train."""
    return (header, rows) if unit == "primary" else ([*header, "epoch_unit"], [[*row, unit] for row in rows])


def _masks(cells: Sequence[Cell], courses: Sequence[Course], rows: FigureRows) -> Planned | None:
    found = mask_distributions(cells, courses)
    panels = mask_panels(found, rows)
    if not panels:
        return None
    return _lines(MASKS, mask_caption(found, rows), panels, rows.looks, COLUMNS_OF_BINS, bin_rows(found))


def _lines(
    name: str,
    caption: str,
    panels: Sequence[LinePanel],
    looks: Mapping[str, RowLook],
    header: Sequence[str],
    rows: Sequence[Sequence[object]],
    *,
    whole_x: bool = False,
) -> Planned:
    frame = line_frame(panels, looks)
    return Planned(
        name,
        caption,
        [panels, frame, whole_x],
        lambda: draw_lines(panels, frame, whole_x=whole_x),
        cuts_of(frame),
        header,
        rows,
    )
