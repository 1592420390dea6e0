"""Learning curves and paths of task weights: what is drawn, and what the captions say of it."""

from __future__ import annotations

from collections.abc import Sequence

from study.report.epoch_wording import UNITS
from study.report.layout import OBJECTIVES
from study.report.line_figure import MAX_BANDS, LinePanel, PanelLine
from study.report.panel_grid import FigureRows, counted, without
from study.results.mean_paths import PRIMARY, MeanPath
from study.space.report_section import EpochUnit

STILL = (
    " Seeds stop at different times: the line is thin behind the first stop, where it is the mean of the seeds that "
    "still train, and ends when fewer than half of them do."
)


MLM_ALONE = " Rows without a masked-LM task beside the task are left out."


def curve_panels(paths: Sequence[MeanPath], rows: FigureRows, unit: EpochUnit = "primary") -> list[LinePanel]:
    """Validation values in percent against epochs: a row per encoder and dataset, a column per objective."""
    found: dict[tuple[str, str, str], list[PanelLine]] = {}
    for path in paths:
        if (label := rows.labels.get(path.key)) is not None:
            line = _line(path, label, [point.epoch for point in path.points], 100.0)
            found.setdefault((path.key.encoder, path.key.dataset, path.key.objective), []).append(line)
    return [
        LinePanel(
            (encoder, dataset),
            objective,
            UNITS[unit].counted,
            f"validation {OBJECTIVES.get(objective, objective)} (%)",
            tuple(lines),
        )
        for (encoder, dataset, objective), lines in found.items()
    ]


def weight_panels(paths: Sequence[MeanPath], rows: FigureRows) -> list[LinePanel]:
    """The weight of the primary task against updates: a panel per encoder and dataset."""
    found: dict[tuple[str, ...], list[PanelLine]] = {}
    for path in paths:
        label = rows.labels.get(path.key)
        if path.what == PRIMARY and label is not None:
            line = _line(path, label, [point.update for point in path.points], 1.0)
            found.setdefault((path.key.encoder, path.key.dataset), []).append(line)
    return [
        LinePanel(name, "", "optimizer updates", "weight of the primary task", tuple(lines))
        for name, lines in found.items()
    ]


def curves_caption(paths: Sequence[MeanPath], rows: FigureRows, unit: EpochUnit = "primary") -> str:
    """What the figure of learning curves shows."""
    return (
        f"Validation value in percent against {UNITS[unit].counted} of the main stage, of the trainings that the same "
        "metric selected: "
        f"mean over {counted(path.points[0].n for path in paths)}.{_band(paths)}{_stops(paths)}{without(rows)}"
        f"{MLM_ALONE if unit == 'mlm' else ''}"
    )


def weights_caption(paths: Sequence[MeanPath], rows: FigureRows) -> str:
    """What the figure of task weights shows."""
    return (
        "Weight of the primary task's loss against optimizer updates of the main stage, at each evaluation on the "
        "validation split; the weights of all tasks sum to 1. For each training, the longest curve of its objectives, "
        f"mean over {counted(path.points[0].n for path in paths)}.{_band(paths)}{_stops(paths)}{without(rows)}"
    )


def _line(path: MeanPath, label: str, x: Sequence[float], scale: float) -> PanelLine:
    """As far as at least half of the seeds train; the band, as far as two of them do."""
    points = [point for point in path.points if 2 * point.n >= path.points[0].n]
    spread = [(point.mean, point.std) for point in points if point.std is not None]
    return PanelLine(
        label,
        tuple(x[: len(points)]),
        tuple(scale * point.mean for point in points),
        tuple(scale * (mean - std) for mean, std in spread),
        tuple(scale * (mean + std) for mean, std in spread),
        path.whole,
    )


def _band(paths: Sequence[MeanPath]) -> str:
    if all(path.points[0].n == 1 for path in paths):
        return " One seed: no band."
    return (
        " Band: one sample standard deviation over the seeds on either side, in panels of at most "
        f"{MAX_BANDS} rows; the CSV file holds it for all, with the smallest and largest value."
    )


def _stops(paths: Sequence[MeanPath]) -> str:
    return STILL if any(path.whole < len(path.points) for path in paths) else ""
