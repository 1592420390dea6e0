"""The result against general pre-training: the test metric of each method from several checkpoints of one encoder.

The kind of figure is that of Gu et al. 2020 ("Train No Evil", Figure 2): it shows how much general pre-training a stage
before fine-tuning makes up for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from l3masking.encoders.table import EncoderSpec
from study.report.drawing import (
    LABEL,
    SMALL,
    SOFT,
    TITLE,
    Drawn,
    figure_size,
    forget_drawn,
    keep_drawn,
    load_matplotlib,
    quiet_axis,
)
from study.report.layout import OBJECTIVES, GridRow, grid, plain
from study.report.panel_grid import Look, line_style, looks_of, marker_style
from study.results.aggregate import Cell
from study.space.spec import StudySpec

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PRETRAINING = "pretraining"  # name of the figure and of its files
WIDTH, HEIGHT, NAMES = 3.6, 2.7, 2.2  # inches: of a panel with its labels, and of the names at the right of a row
PRETRAINING_LEGEND = (
    "Test set, percent: mean ± sample standard deviation over the seeds, against the updates of general pre-training\n"
    "behind the checkpoint (`pretraining_steps`). Updates of stages before fine-tuning are not counted."
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
    text = PRETRAINING_LEGEND.replace("\n", " ")
    drawn = keep_drawn(root, PRETRAINING, found, text, lambda: draw_pretraining(found))
    return [] if drawn is None else [drawn]


def draw_pretraining(found: Sequence[PretrainingPanel]) -> Figure:
    """A row of panels per dataset, a column per objective; a matplotlib Figure without any global state."""
    load_matplotlib()
    from matplotlib.figure import Figure

    datasets = list(dict.fromkeys(panel.dataset for panel in found))
    objectives = list(dict.fromkeys(panel.objective for panel in found))
    width, height = len(objectives) * WIDTH + NAMES, len(datasets) * HEIGHT + 0.5
    figure = Figure(**figure_size(max(width, 6.8), height))
    wide = figure.get_figwidth()
    looks = looks_of((row.label, row.method, row.variant is None) for panel in found for row in panel.rows)
    for panel in found:
        row, column = datasets.index(panel.dataset), objectives.index(panel.objective)
        left, bottom = (column * WIDTH + 0.62) / wide, 1 - ((row + 1) * HEIGHT - 0.5) / height
        axis = figure.add_axes((left, bottom, (WIDTH - 0.8) / wide, (HEIGHT - 0.85) / height))
        _draw(axis, panel, looks, named=column == len(objectives) - 1)
    figure.text(0.02, 0.1 / height, PRETRAINING_LEGEND, fontsize=SMALL, color=SOFT, ha="left", va="bottom")
    return figure


def _draw(axis: Axes, panel: PretrainingPanel, looks: Mapping[str, Look], *, named: bool) -> None:
    for row in panel.rows:
        look = looks[row.label]
        axis.errorbar(
            [checkpoint.steps for checkpoint in row.checkpoints],
            [checkpoint.mean for checkpoint in row.checkpoints],
            yerr=[checkpoint.std or 0.0 for checkpoint in row.checkpoints],
            color=look.color,
            linestyle=line_style(look),
            linewidth=1.3,
            elinewidth=1,
            capsize=2,
            label=row.label,
            **marker_style(look, 5),  # type: ignore[arg-type]
        )
    axis.set_title(plain(panel.dataset), fontsize=TITLE, fontweight="bold", loc="left", parse_math=False)
    axis.set_xlabel("updates of general pre-training", fontsize=LABEL)
    axis.set_ylabel(f"test {plain(OBJECTIVES.get(panel.objective, panel.objective))}", fontsize=LABEL)
    axis.xaxis.set_major_formatter(lambda value, _: f"{value / 1e6:g}M" if value >= 1e6 else f"{value / 1e3:g}k")
    axis.set_xlim(left=0)
    quiet_axis(axis)
    if named:
        legend = axis.legend(loc="upper left", bbox_to_anchor=(1.03, 1.02), fontsize=SMALL, frameon=False)
        for text in legend.get_texts():
            text.set_parse_math(False)
