"""Effort against result (Figure 3 of Kimura et al. 2024): a point for each cell, with deviations in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
from typing import TYPE_CHECKING, NamedTuple

from study.report.epoch_wording import UNITS
from study.report.layout import OBJECTIVES
from study.report.panel_grid import (
    FigureRows,
    Frame,
    PanelPlace,
    RowLook,
    counted,
    marker_style,
    panel_figure,
    places,
    without,
)
from study.results.effort import WALL_TIME, EffortPoint
from study.space.report_section import EpochUnit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {  # of EFFORTS: the label of the axis, and what a caption calls it; {unit}: what stands for epochs
    "epochs_to_best": ("{unit} to best", "{unit} until the best validation value (the first of equal ones)"),
    "epochs_to_stop": ("{unit} to stop", "{unit} until early stopping ended the main stage"),
    "updates": ("optimizer updates", "optimizer updates of the main stage"),
    WALL_TIME: ("wall time (minutes)", "wall time of the training, which serves all objectives, in minutes"),
}
SECONDS_IN_A_MINUTE = 60  # of a minute, as wall times are drawn


class Dot(NamedTuple):
    """One cell: effort in the unit of its axis, test value in percent. A deviation is None for one seed."""

    label: str
    x: float
    x_std: float | None
    y: float
    y_std: float | None


class EffortPanel(NamedTuple):
    """One encoder and dataset under one objective."""

    encoder: str
    dataset: str
    objective: str
    dots: tuple[Dot, ...]


def effort_panels(points: Sequence[EffortPoint], rows: FigureRows, effort: str) -> list[EffortPanel]:
    """What the figure shows, in the order of the cells. effort: one of EFFORTS."""
    found: dict[tuple[str, str, str], list[Dot]] = {}
    scale = 1 / SECONDS_IN_A_MINUTE if effort == WALL_TIME else 1.0
    for point in points:
        if (label := rows.labels.get(point.key)) is not None and effort in point.efforts:
            cost, value = point.efforts[effort], point.value
            x_std = None if cost.std is None else scale * cost.std
            y_std = None if value.std is None else 100 * value.std
            dot = Dot(label, scale * cost.mean, x_std, 100 * value.mean, y_std)
            found.setdefault((point.key.encoder, point.key.dataset, point.key.objective), []).append(dot)
    return [EffortPanel(*name, tuple(dots)) for name, dots in found.items()]


def effort_caption(points: Sequence[EffortPoint], rows: FigureRows, effort: str, unit: EpochUnit = "primary") -> str:
    """What the figure shows."""
    bars, shown = "", [point for point in points if effort in point.efforts]
    if any(point.n > 1 for point in shown):
        bars = " Bars: one sample standard deviation over the seeds in either direction."
    return (
        f"Test value in percent against {_axis(effort, unit)[1]}. One point for each row of the result table: mean "
        f"over {counted(point.n for point in shown)}.{bars} Up and to the left is better. Rows without a finished seed "
        f"are left out.{left_out(points, shown)}{without(rows)}"
    )


def left_out(given: Sized, shown: Sized) -> str:
    """What a caption says of rows that have no length in masked-LM epochs."""
    return " So are rows without a masked-LM task beside the task." if len(shown) < len(given) else ""


def _axis(effort: str, unit: EpochUnit) -> tuple[str, ...]:
    return tuple(text.format(unit=UNITS[unit].counted) for text in AXES[effort])


def effort_frame(
    shown: Sequence[EffortPanel], looks: Mapping[str, RowLook], effort: str, unit: EpochUnit = "primary"
) -> Frame:
    """A row of panels per encoder and dataset, a column per objective; one objective fills several columns."""
    objectives = list(dict.fromkeys(panel.objective for panel in shown))
    spots = places([panel[:3] for panel in shown], objectives)
    panels = tuple(
        PanelPlace(
            *spot,
            f"{panel.encoder} · {panel.dataset}",
            _axis(effort, unit)[0],
            f"test {OBJECTIVES.get(panel.objective, panel.objective)} (%)",
        )
        for spot, panel in zip(spots, shown, strict=True)
    )
    used = {dot.label for panel in shown for dot in panel.dots}
    return Frame(panels, {label: look for label, look in looks.items() if label in used}, lines=False)


def draw_effort(shown: Sequence[EffortPanel], frame: Frame) -> Figure:
    """The points of each panel, in its frame."""
    figure, axes = panel_figure(frame)
    for axis, panel in zip(axes, shown, strict=True):
        for dot in panel.dots:
            look = frame.looks[dot.label]
            axis.errorbar(
                [dot.x],
                [dot.y],
                xerr=None if dot.x_std is None else [dot.x_std],
                yerr=None if dot.y_std is None else [dot.y_std],
                color=look.color,
                elinewidth=1.0,
                capsize=2,
                capthick=1.0,
                **marker_style(look, 6),  # type: ignore[arg-type]
            )
        axis.margins(0.12)
        axis.ticklabel_format(useOffset=False, style="plain")
    return figure
