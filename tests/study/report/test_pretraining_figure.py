"""The figure of results against general pre-training: what it holds, and when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from result_cells import cell

from study.report.pretraining_figure import (
    Checkpoint,
    CheckpointRow,
    draw_pretraining,
    export_pretraining,
    pretraining_frame,
    pretraining_panels,
)
from study.space.reader import read_space

STEPS = {"early": 100_000, "late": 300_000, "full": 1_000_000}
CELLS = [
    cell("stl", 0.8, encoder="late"),
    cell("stl", 0.7, encoder="early", std=None),
    cell("selective", 0.9, encoder="early", variant="yelp"),
    cell("selective", None, encoder="late", variant="yelp"),
    cell("stl", 0.75, encoder="other"),
    cell("stl", 0.6, encoder="early", objective="macro_f1"),
]


def test_a_panel_holds_each_row_over_the_checkpoints_with_results() -> None:
    accuracy, f1 = pretraining_panels(CELLS, STEPS)
    assert (accuracy.dataset, accuracy.objective, f1.objective) == ("arc", "accuracy", "macro_f1")
    early, late = Checkpoint(100_000, 70, None), Checkpoint(300_000, 80, pytest.approx(1.23))
    assert accuracy.rows == (
        CheckpointRow("STL", "stl", None, (early, late)),
        CheckpointRow("Selective (yelp)", "selective", "yelp", (Checkpoint(100_000, 90, pytest.approx(1.23)),)),
    )
    assert f1.rows == (CheckpointRow("STL", "stl", None, (Checkpoint(100_000, 60, pytest.approx(1.23)),)),)


@pytest.mark.parametrize("steps", [{}, {"early": 100_000}, {"early": 7, "late": 7}, {"full": 7, "late": 8}])
def test_results_of_fewer_than_two_numbers_of_steps_give_no_panel(steps: dict[str, int]) -> None:
    assert pretraining_panels(CELLS, steps) == []


def test_what_is_drawn_is_what_the_panels_hold() -> None:
    panels = pretraining_panels(CELLS, STEPS)
    figure = draw_pretraining(panels, pretraining_frame(panels))
    axis, _ = figure.axes
    stl, selective = (container.lines[0] for container in axis.containers)
    assert stl.get_xydata().tolist() == [[100_000, 70], [300_000, 80]]
    assert selective.get_xydata().tolist() == [[100_000, 90]]
    assert stl.get_color() != selective.get_color()
    assert axis.get_xlim()[0] == 0


def test_the_file_is_written_and_removed_with_its_results(tmp_path: Path) -> None:
    (tmp_path / "space.yaml").write_text(
        "name: steps\nencoders:\n  early: {hub: a/b, pretraining_steps: 100000}\n  late: {hub: a/c, pretraining_steps: "
        "300000}\n  other: {hub: a/d}\ndatasets: {arc: {train: t.jsonl}}\nmethods: [stl]\nseeds: 1\n"
    )
    spec = read_space(tmp_path / "space.yaml")
    [drawn] = export_pretraining(tmp_path, spec, CELLS)
    assert drawn.files == (tmp_path / "figures/pretraining.png", tmp_path / "figures/pretraining.svg")
    assert [file.read_bytes() for file in drawn.files] == [drawn.png, drawn.svg]
    assert drawn.png.startswith(b"\x89PNG")
    assert export_pretraining(tmp_path, spec, CELLS[:1]) == []
    assert not any(file.exists() for file in drawn.files)
