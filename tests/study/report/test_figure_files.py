"""The figures of a study: what is drawn, what the files hold, and which of them there are."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from compared_cells import seeded
from hostile_names import PAYLOADS
from made_courses import course, histogram, response, small_study
from result_cells import cell

from l3masking.errors import InputError
from l3masking.methods import METHODS, color_of
from study.report.effort_figure import draw_effort, effort_frame, effort_panels
from study.report.figure_files import export_figures, export_performance, on_page, write_captions
from study.report.line_figure import draw_lines, line_frame
from study.report.panel_grid import MAX_ROWS, cuts_of, looks_of, places, rows_of
from study.report.path_figures import curve_panels, curves_caption
from study.report.spread_figures import mask_panels
from study.results.effort import effort_points
from study.results.mask_histograms import mask_distributions
from study.results.mean_paths import learning_curves

DOCS = Path(__file__).resolve().parents[3] / "docs" / "figures.md"
NAMES = ["effort", "curves", "task_weights", "mask_probabilities"]


def table(root: Path, name: str) -> list[dict[str, str]]:
    with (root / f"figures/{name}.csv").open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


# ---- what is drawn


def test_points_and_bars_are_those_of_the_data() -> None:
    cells, courses = small_study(methods=["stl", "rtm"])
    rows, points = rows_of(cells), effort_points(cells, courses)
    panels = effort_panels(points, rows, "wall_time")
    assert [dot.label for dot in panels[0].dots] == ["STL", "RTM"]
    [axis] = draw_effort(panels, effort_frame(panels, rows.looks, "wall_time")).axes
    for container, point in zip(axis.containers, points, strict=True):
        minutes, value = point.efforts["wall_time"], point.value
        assert container.lines[0].get_xydata().tolist() == [[minutes.mean / 60, 100 * value.mean]]
        across, along = (bars.get_segments()[0] for bars in container.lines[2])
        assert across[1][0] - across[0][0] == pytest.approx(2 * minutes.std / 60)
        assert along[1][1] - along[0][1] == pytest.approx(200 * value.std)
    assert axis.get_xlabel() == "wall time (minutes)"


def test_a_curve_is_thin_behind_the_first_stop_and_ends_with_half_of_its_seeds() -> None:
    one = seeded("rtm", [0.7] * 4)
    lengths = (3, 4, 5, 7)
    courses = [course(one, seed, [0.5 + 0.01 * seed + 0.02 * k for k in range(n)]) for seed, n in enumerate(lengths)]
    paths, rows = learning_curves([one], courses), rows_of([one])
    panels = curve_panels(paths, rows)
    [axis] = draw_lines(panels, line_frame(panels, rows.looks)).axes
    thick, thin = axis.lines
    means = [100 * point.mean for point in paths[0].points]
    assert thick.get_xydata().tolist() == [[k + 1, means[k]] for k in range(3)]
    assert thin.get_xydata().tolist() == [[k + 1, means[k]] for k in range(2, 5)]
    assert thick.get_linewidth() > thin.get_linewidth()
    [band] = axis.collections
    ends = band.get_paths()[0].vertices
    for k in range(5):
        spread = 100 * (paths[0].points[k].std or 0)
        at = ends[ends[:, 0] == k + 1, 1]
        assert (at.min(), at.max()) == pytest.approx((means[k] - spread, means[k] + spread))
    text = curves_caption(paths, rows)
    assert "mean over 4 seeds" in text
    assert "thin behind the first stop" in text
    assert "One seed: no band." in curves_caption(learning_curves([one], courses[:1]), rows)


def test_random_masking_is_one_step_at_the_average() -> None:
    cells, courses = small_study()
    panels = mask_panels(mask_distributions(cells, courses), rows_of(cells))
    rtm, l3 = panels[0].lines
    assert (l3.label, l3.x[0], l3.y[0], l3.x[-1], l3.y[-1]) == ("L3Masking", 0.1, 0, 0.41, 100)
    alone = mask_panels(
        mask_distributions([cells[1]], [course(cells[1], 0, mask_histogram=histogram(p15=4))]), rows_of(cells)
    )
    assert [(line.x, line.y) for line in alone[0].lines] == [((0.15, 0.16), (0, 100))]
    assert rtm.label == "RTM"


def test_every_arm_looks_the_same_in_all_studies_and_can_be_told_apart_in_grey() -> None:
    every = looks_of((method.label, name, True) for name, method in METHODS.items())
    assert len({(look.marker, look.hollow) for look in every.values()}) == len(METHODS)
    some = looks_of([("L3Masking (x)", "l3masking", False), ("L3Masking", "l3masking", True), ("STL", "stl", True)])
    assert list(some) == ["L3Masking (x)", "L3Masking", "STL"]
    assert some["L3Masking"] == every["L3Masking"]
    assert some["STL"] == every["STL"]
    assert some["L3Masking (x)"].color == some["L3Masking"].color == color_of("l3masking")
    assert len({look.marker for look in some.values()}) == len({look.dashes for look in some.values()}) == 3
    mixed = looks_of([("Mine", "mine", True), ("STL", "stl", True)])
    assert (mixed["STL"], mixed["Mine"].marker) == (every["STL"], every["RTM"].marker)
    many = looks_of((str(number), "unknown", True) for number in range(40))
    assert len(many) == 40


def test_beyond_what_can_be_told_apart_variants_are_left_out_and_the_caption_says_so(tmp_path: Path) -> None:
    cells = [seeded("rtm", [0.7], variant=f"v{number:02d}") for number in range(20)] + [seeded("l3masking", [0.8])]
    rows = rows_of(cells)
    assert (len(rows.looks), rows.left_out) == (MAX_ROWS, 6)
    assert "L3Masking" in rows.looks
    courses = [course(one, 0) for one in cells]
    effort, curves = export_figures(tmp_path, cells, courses, ["csv"])
    said = "15 of 21 rows of the study are drawn, variants last; the CSV file holds all of them."
    assert effort.caption.endswith(said)
    assert curves.caption.endswith(said)
    assert len(table(tmp_path, "effort")) == 21


def test_panels_stand_in_rows_and_one_objective_fills_the_width() -> None:
    pairs = [(encoder, dataset) for encoder in "ab" for dataset in "xy"]
    both = [(*pair, goal) for pair in pairs for goal in ("accuracy", "macro_f1")]
    assert places(both, ["accuracy", "macro_f1"]) == [(row, column) for row in range(4) for column in range(2)]
    assert places([(*pair, "") for pair in pairs], [""]) == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert places([("a", str(n), "") for n in range(5)], [""]) == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]


@pytest.mark.parametrize("methods", [["stl"], list(METHODS)])
def test_titles_labels_and_legend_stay_inside_and_apart(methods: list[str]) -> None:
    cells, courses = [], []
    for dataset in ("a-very/long_name-of a dataset" * 3, "y"):
        for goal in ("accuracy", "macro_f1"):
            made = small_study(methods, encoder="an encoder" * 4, dataset=dataset, objective=goal)
            cells, courses = [*cells, *made[0]], [*courses, *made[1]]
    cells.append(seeded("rtm", [0.7], variant="a_variant-with-a/name that_is_long" * 2, dataset="y"))
    courses.append(course(cells[-1], 0))
    rows = rows_of(cells)
    panels = curve_panels(learning_curves(cells, courses), rows)
    frame = line_frame(panels, rows.looks)
    figure = draw_lines(panels, frame)
    figure.canvas.draw()
    whole, legend = figure.bbox, figure.legends[0].get_window_extent()
    assert whole.x0 <= legend.x0 < legend.x1 <= whole.x1
    assert whole.y0 <= legend.y0
    boxes = [axis.get_tightbbox() for axis in figure.axes]
    assert not [box for box in boxes if box.x0 < whole.x0 or box.x1 > whole.x1 or box.y1 > whole.y1]
    assert all(box.y0 >= legend.y1 for box in boxes)
    overlaps = [(a, b) for a in boxes for b in boxes if a is not b and a.overlaps(b)]
    assert not overlaps
    cut = [whole.height * (1 - share) for share in cuts_of(frame)]
    assert not [box for box in boxes for height in cut if box.y0 < height < box.y1]


# ---- files


def test_each_figure_has_its_files_and_its_caption(tmp_path: Path) -> None:
    cells, courses = small_study()
    drawn = export_figures(tmp_path, cells, courses, ["csv"])
    assert [figure.name for figure in drawn] == NAMES
    for figure in drawn:
        wanted = [tmp_path / f"figures/{figure.name}.{ending}" for ending in ("png", "svg", "csv")]
        assert list(figure.files) == wanted
        assert "3 seeds" in figure.caption
        ElementTree.fromstring(figure.svg)
    captions = write_captions(tmp_path, cells, drawn).read_text()
    assert re.findall(r"^## (.*)$", captions, re.MULTILINE) == ["results", *NAMES]
    without = export_figures(tmp_path / "md", cells, courses, ["md"])
    assert not list((tmp_path / "md").rglob("*.csv"))
    assert [figure.svg for figure in without] == [figure.svg for figure in drawn]


def test_equal_results_give_equal_bytes_whatever_their_order_and_time(tmp_path: Path) -> None:
    cells, courses = small_study()
    export_figures(tmp_path / "a", cells, courses, ["csv"])
    export_figures(tmp_path / "b", cells, small_study()[1][::-1], ["csv"])
    files = sorted(file.relative_to(tmp_path / "a") for file in (tmp_path / "a").rglob("*.*"))
    assert len(files) == 3 * len(NAMES) + 1
    assert all((tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes() for file in files)


def test_the_columns_are_those_of_the_page(tmp_path: Path) -> None:
    cells, courses = small_study()
    export_figures(tmp_path, cells, courses, ["csv"])
    export_performance(tmp_path, [response(0.5), response(0.6)], ["csv"])
    text = DOCS.read_text(encoding="utf-8")
    listed = dict(re.findall(r"^Columns of `(\w+)\.csv`: (.*?)\.$", text, re.MULTILINE | re.DOTALL))
    assert set(listed) == {*NAMES, "search_performance"}
    for name, columns in listed.items():
        assert re.findall(r"`(\w+)`", columns) == list(table(tmp_path, name)[0]), name


@pytest.mark.parametrize("effort", ["epochs_to_stop", "updates", "wall_time"])
def test_another_effort_is_one_more_figure_until_the_next_export(tmp_path: Path, effort: str) -> None:
    cells, courses = small_study()
    drawn = export_figures(tmp_path, cells, courses, ["csv"], effort)
    assert [figure.name for figure in drawn] == ["effort", f"effort_{effort}", *NAMES[1:]]
    hidden = [figure.name for figure in drawn if not on_page(figure)]
    assert hidden == (["effort_wall_time"] if effort == "wall_time" else [])
    timed = [name for name in table(tmp_path, f"effort_{effort}")[0] if name.startswith("wall_time")]
    assert timed == (["wall_time_mean", "wall_time_std"] if effort == "wall_time" else [])
    export_figures(tmp_path, cells, courses, ["csv"], "epochs_to_best")
    assert not list((tmp_path / "figures").glob("effort_*"))
    with pytest.raises(InputError, match="--x hours: choose from epochs_to_best, epochs_to_stop, updates, wall_time"):
        export_figures(tmp_path, cells, courses, ["csv"], "hours")


def test_nothing_empty_is_written_and_what_is_gone_is_removed(tmp_path: Path) -> None:
    cells, courses = small_study()
    export_figures(tmp_path, cells, courses, ["csv"])
    alone = seeded("stl", [0.7])
    left = export_figures(tmp_path, [alone, cell("rtm", None)], [course(alone, 0, [])], ["csv"])
    assert [figure.name for figure in left] == ["effort"]
    assert "left out" in left[0].caption
    assert "Bars" not in left[0].caption
    assert export_figures(tmp_path, [cell("rtm", None)], [], ["csv"]) == []
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["drawn.json"]
    assert export_performance(tmp_path, [response(0.5)], ["csv"]) == []
    [search] = export_performance(tmp_path, [response(0.5), response(0.6), response(0.5, "l3masking")], ["csv"])
    assert "of the 2 settings that a search tried" in search.caption
    assert export_performance(tmp_path, [], ["csv"]) == []
    assert not (tmp_path / "figures/search_performance.csv").exists()


def test_hostile_names_break_no_svg(tmp_path: Path) -> None:
    cells, courses = [], []
    for text in PAYLOADS:
        made = small_study([text, "rtm"], seeds=1, encoder=text, dataset=text)
        cells, courses = [*cells, *made[0]], [*courses, *made[1]]
    tags = set()
    for figure in export_figures(tmp_path, cells, courses, ["csv"]):
        names = {element.tag for element in ElementTree.fromstring(figure.svg).iter()}
        tags |= {str(name).rpartition("}")[2] for name in names}
    known = {"svg", "g", "path", "defs", "use", "style", "clipPath", "rect", "metadata", "RDF", "Work", "type", "title"}
    assert tags <= known | {"format", "description"}
    assert {row["encoder"].removeprefix("'") for row in table(tmp_path, "effort")} == set(PAYLOADS)
