"""Effort against result (Figure 3 of Kimura et al. 2024): a point for each cell, with deviations in both directions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from study.report.layout import OBJECTIVES
from study.report.panel_grid import (
    FigureRows,
    Frame,
    Look,
    PanelPlace,
    counted,
    marker_style,
    panel_figure,
    places,
    without,
)
from study.results.effort import WALL_TIME, EffortPoint

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {  # of EFFORTS: the label of the axis, and what a caption calls it
    "epochs_to_best": ("epochs to best", "epochs until the best validation value (the first of equal ones)"),
    "epochs_to_stop": ("epochs to stop", "epochs until early stopping ended the main stage"),
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
        if (label := rows.labels.get(point.key)) is not None:
            cost, value = point.efforts[effort], point.value
            x_std = None if cost.std is None else scale * cost.std
            y_std = None if value.std is None else 100 * value.std
            dot = Dot(label, scale * cost.mean, x_std, 100 * value.mean, y_std)
            found.setdefault((point.key.encoder, point.key.dataset, point.key.objective), []).append(dot)
    return [EffortPanel(*name, tuple(dots)) for name, dots in found.items()]


def effort_caption(points: Sequence[EffortPoint], rows: FigureRows, effort: str) -> str:
    """What the figure shows."""
    bars = ""
    if any(point.n > 1 for point in points):
        bars = " Bars: one sample standard deviation over the seeds in either direction."
    return (
        f"Test value in percent against {AXES[effort][1]}. One point for each row of the result table: mean over "
        f"{counted(point.n for point in points)}.{bars} Up and to the left is better. Rows without a finished seed are "
        f"left out.{without(rows)}"
    )


def effort_frame(shown: Sequence[EffortPanel], looks: Mapping[str, Look], effort: str) -> Frame:
    """A row of panels per encoder and dataset, a column per objective; one objective fills several columns."""
    objectives = list(dict.fromkeys(panel.objective for panel in shown))
    spots = places([panel[:3] for panel in shown], objectives)
    panels = tuple(
        PanelPlace(
            *spot,
            f"{panel.encoder} · {panel.dataset}",
            AXES[effort][0],
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
