"""Lines with bands in panels: learning curves, task weights, mask probabilities and what a search finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from study.report.panel_grid import Frame, Look, PanelPlace, line_style, marker_style, panel_figure, places

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MARKS_ON_A_LINE = 6  # markers on a line, about: they tell lines apart in grey
MAX_BANDS = 6  # lines of a panel that have bands; more bands hide each other
THICK, THIN = 1.6, 0.7


class Line(NamedTuple):
    """One row of the result table in a panel; x and y are of one length."""

    label: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()  # ends of the band at the first points; empty: no band
    high: tuple[float, ...] = ()
    thick: int | None = None  # points that are drawn thick, the first ones; None: all of them


class LinePanel(NamedTuple):
    """A panel: what the panels of its row have in common, its column, its axes and its lines."""

    name: tuple[str, ...]
    column: str
    x_label: str
    y_label: str
    lines: tuple[Line, ...]


def line_frame(shown: Sequence[LinePanel], looks: Mapping[str, Look]) -> Frame:
    """A row of panels per `name`, a column per `column`; one column is wrapped."""
    spots = places([(*panel.name, panel.column) for panel in shown], list(dict.fromkeys(one.column for one in shown)))
    panels = tuple(
        PanelPlace(*spot, " · ".join(panel.name), panel.x_label, panel.y_label)
        for spot, panel in zip(spots, shown, strict=True)
    )
    used = {line.label for panel in shown for line in panel.lines}
    return Frame(panels, {label: look for label, look in looks.items() if label in used})


def draw_lines(shown: Sequence[LinePanel], frame: Frame, *, whole_x: bool = False) -> Figure:
    """The lines of each panel, in its frame. whole_x: x holds whole numbers."""
    figure, axes = panel_figure(frame)
    order = list(frame.looks)
    for axis, panel in zip(axes, shown, strict=True):
        for line in panel.lines:
            banded = bool(line.low) and len(panel.lines) <= MAX_BANDS
            _draw_line(axis, line, frame.looks[line.label], order.index(line.label), banded=banded)
        axis.ticklabel_format(useOffset=False, style="plain")
        if whole_x:
            axis.locator_params(axis="x", integer=True)
    return figure


def _draw_line(axis: Axes, line: Line, look: Look, rank: int, *, banded: bool) -> None:
    """Thick to the last point of all seeds, thin behind it. Markers are staggered, so that equal lines show both."""
    thick = len(line.x) if line.thick is None else line.thick
    every = max(1, len(line.x) // MARKS_ON_A_LINE)
    style = marker_style(look)
    order = 3 + rank / 100
    if banded:
        x = line.x[: len(line.low)]
        axis.fill_between(x, line.low, line.high, color=look.color, alpha=0.15, linewidth=0, zorder=2)
    axis.plot(
        line.x[:thick],
        line.y[:thick],
        color=look.color,
        linestyle=line_style(look),
        linewidth=THICK,
        markevery=(rank % every, every),
        zorder=order,
        **style,  # type: ignore[arg-type]
    )
    if thick < len(line.x):
        start = max(thick - 1, 0)
        axis.plot(
            line.x[start:],
            line.y[start:],
            color=look.color,
            linestyle=line_style(look),
            linewidth=THIN,
            markevery=[len(line.x) - start - 1],
            zorder=order,
            **marker_style(look, 3),  # type: ignore[arg-type]
        )
