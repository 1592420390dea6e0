"""The result against general pre-training: the test metric of each method from several checkpoints of one encoder.

The kind of figure is that of Gu et al. 2020 ("Train No Evil", Figure 2): it shows how much general pre-training a stage
before fine-tuning makes up for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from l3masking.encoders.table import EncoderSpec
from study.report.drawing import Drawn, forget_drawn, keep_drawn
from study.report.layout import OBJECTIVES, GridRow, grid, plain
from study.report.panel_grid import Frame, PanelPlace, cuts_of, line_style, looks_of, marker_style, panel_figure, places
from study.results.aggregate import Cell
from study.space.spec import StudySpec

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRETRAINING = "pretraining"  # name of the figure and of its files
PRETRAINING_CAPTION = (
    "Test values in percent against the updates of general pre-training behind the checkpoint (`pretraining_steps`): "
    "mean over the seeds. Bars: one sample standard deviation on either side. Updates of stages before fine-tuning are "
    "not counted."
)


class Checkpoint(NamedTuple):
    """One row of the study from one checkpoint, in percent."""

    steps: int  # of general pre-training
    mean: float
    std: float | None  # over the seeds; None for one seed


class CheckpointRow(NamedTuple):
    """One row of the study over the checkpoints that have results, fewest steps first."""

    label: str
    method: str
    variant: str | None
    checkpoints: tuple[Checkpoint, ...]


class PretrainingPanel(NamedTuple):
    """One dataset (row of the figure) under one objective (column)."""

    dataset: str
    objective: str
    rows: tuple[CheckpointRow, ...]


def pretraining_panels(cells: Sequence[Cell], steps: Mapping[str, int]) -> list[PretrainingPanel]:
    """What the figure shows, in the order of the cells; empty with results from fewer than two numbers of steps.

    steps: updates of general pre-training by the name of the encoder; cells of other encoders are left out.
    """
    known = [cell for cell in cells if cell.encoder in steps and cell.mean is not None]
    if len({steps[cell.encoder] for cell in known}) < 2:
        return []
    return [
        PretrainingPanel(dataset, objective, tuple(_row_of(row, steps) for row in rows))
        for (dataset, objective), rows in grid(known, ["dataset", "objective"], ["encoder"]).blocks
    ]


def _row_of(row: GridRow, steps: Mapping[str, int]) -> CheckpointRow:
    own = [cell for cell in row.entries if cell is not None]
    checkpoints = [
        Checkpoint(steps[cell.encoder], 100 * cell.mean, None if cell.std is None else 100 * cell.std)
        for cell in own
        if cell.mean is not None
    ]
    return CheckpointRow(plain(row.label), own[0].method, own[0].variant, tuple(sorted(checkpoints)))


def export_pretraining(root: Path, spec: StudySpec, cells: Sequence[Cell]) -> list[Drawn]:
    """Draw figures/pretraining where results of at least two checkpoints are there; an older one is removed."""
    declared = {name: place for name, place in spec.encoders.items() if isinstance(place, EncoderSpec)}
    steps = {name: n for name, place in declared.items() if (n := place.pretraining_steps) is not None}
    found = pretraining_panels(cells, steps)
    if not found:
        forget_drawn(root, PRETRAINING)
        return []
    frame = pretraining_frame(found)
    data, cuts = [found, frame], cuts_of(frame)
    drawn = keep_drawn(root, PRETRAINING, data, PRETRAINING_CAPTION, lambda: draw_pretraining(found, frame), cuts)
    return [] if drawn is None else [drawn]


def pretraining_frame(found: Sequence[PretrainingPanel]) -> Frame:
    """A row of panels per dataset, a column per objective; one objective fills several columns."""
    spots = places([(p.dataset, p.objective) for p in found], list(dict.fromkeys(p.objective for p in found)))
    panels = tuple(
        PanelPlace(
            *spot,
            panel.dataset,
            "updates of general pre-training",
            f"test {OBJECTIVES.get(panel.objective, panel.objective)} (%)",
        )
        for spot, panel in zip(spots, found, strict=True)
    )
    return Frame(panels, looks_of((row.label, row.method, row.variant is None) for p in found for row in p.rows))


def draw_pretraining(found: Sequence[PretrainingPanel], frame: Frame) -> Figure:
    """The rows of each panel over the checkpoints, in their frame."""
    figure, axes = panel_figure(frame)
    for axis, panel in zip(axes, found, strict=True):
        for row in panel.rows:
            look = frame.looks[row.label]
            axis.errorbar(
                [checkpoint.steps for checkpoint in row.checkpoints],
                [checkpoint.mean for checkpoint in row.checkpoints],
                yerr=[checkpoint.std or 0.0 for checkpoint in row.checkpoints],
                color=look.color,
                linestyle=line_style(look),
                linewidth=1.3,
                elinewidth=1,
                capsize=2,
                **marker_style(look, 5),  # type: ignore[arg-type]
            )
        axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k")
        axis.set_xlim(left=0)
    return figure
