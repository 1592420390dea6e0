"""Figures as bytes, and as files that are kept while nothing has changed."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from study.report import drawing
from study.report.drawing import DRAWN_FILE, FigureWarning, broken, forget_drawn, keep_drawn, pictures, sheets


def plot(title: str = "t") -> Figure:
    figure = Figure(figsize=(2, 1))
    axis = figure.add_subplot()
    axis.set_title(title, parse_math=False)
    axis.scatter([1, 2], [3, 4])
    axis.fill_between([1, 2], [3, 3], [4, 5])
    return figure


def refuse() -> Figure:
    raise AssertionError("drawn again")


def test_equal_figures_give_equal_bytes_without_a_date_or_a_version() -> None:
    png, svg = pictures(plot, "a name", "what it shows")
    assert (png, svg) == pictures(plot, "a name", "what it shows")
    assert b"<title>a name</title>" in svg
    assert b"what it shows" in svg
    assert not [word for word in (b"dc:date", b"dc:creator", b"Matplotlib v") if word in svg]


def test_a_figure_is_drawn_again_only_where_something_changed(tmp_path: Path, monkeypatch) -> None:
    first = keep_drawn(tmp_path, "a", {"x": [1, 2.5]}, "A.", plot, (0.5,))
    assert first is not None
    assert [file.read_bytes() for file in first.files] == [first.png, first.svg]
    other = keep_drawn(tmp_path, "b", [], "B.", lambda: plot("b"))
    assert keep_drawn(tmp_path, "a", {"x": (1, 2.5)}, "A.", refuse, (0.5,)) == first
    assert keep_drawn(tmp_path, "b", [], "B.", refuse) == other
    for data, caption in (({"x": [1, 2.6]}, "A."), ({"x": [1, 2.5]}, "Another.")):
        with pytest.warns(FigureWarning, match="drawn again"):
            assert keep_drawn(tmp_path, "a", data, caption, refuse) is None
        keep_drawn(tmp_path, "a", {"x": [1, 2.5]}, "A.", plot)
    monkeypatch.setattr(drawing, "_program", lambda: ["another program"])
    assert keep_drawn(tmp_path, "b", [], "B.", lambda: plot("other")) != other


@pytest.mark.parametrize("damage", ["png", "svg", "index", "gone"])
def test_damaged_files_are_drawn_again(tmp_path: Path, damage: str) -> None:
    first = keep_drawn(tmp_path, "a", [1], "A.", plot)
    assert first is not None
    before = (tmp_path / DRAWN_FILE).read_bytes()
    if damage == "index":
        (tmp_path / DRAWN_FILE).write_text("[]")
    elif damage == "gone":
        first.files[0].unlink()
    else:
        first.files[damage == "svg"].write_bytes(b"half")
    assert keep_drawn(tmp_path, "a", [1], "A.", plot) == first
    assert [file.read_bytes() for file in first.files] == [first.png, first.svg]
    assert (tmp_path / DRAWN_FILE).read_bytes() == before


def test_a_figure_that_does_not_apply_any_more_leaves_nothing(tmp_path: Path) -> None:
    for name in ("a", "b"):
        keep_drawn(tmp_path, name, [1], "A.", plot)
        (tmp_path / f"figures/{name}.csv").write_text("x\n")
    forget_drawn(tmp_path, "a")
    forget_drawn(tmp_path, "never")
    assert sorted(file.name for file in (tmp_path / "figures").iterdir()) == ["b.csv", "b.png", "b.svg", "drawn.json"]
    assert list(json.loads((tmp_path / DRAWN_FILE).read_text())) == ["b"]


def test_one_that_cannot_be_drawn_costs_a_warning_and_its_old_files(tmp_path: Path) -> None:
    keep_drawn(tmp_path, "a", [1], "A.", plot)
    with pytest.warns(FigureWarning, match=r"a\.png is not drawn \(AssertionError: drawn again\)"):
        assert keep_drawn(tmp_path, "a", [2], "A.", refuse) is None
    assert [file.name for file in (tmp_path / "figures").iterdir()] == ["drawn.json"]


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("bert · arc", "bert · arc"),
        ("a-long_name/of things", "a-long_\nname/of\nthings"),
        ("abcdefghijkl", "abcdefgh\nijkl"),
        ("", " "),
        ("\x1b\n", " "),
    ],
)
def test_a_long_name_is_broken_where_its_parts_end(text: str, lines: str) -> None:
    assert broken(text, 10 if "·" in text else 8) == lines


def test_an_svg_is_cut_into_sheets_that_together_show_all_of_it() -> None:
    def tall() -> Figure:
        return Figure(figsize=(4, 12))

    image = pictures(tall)[1]
    boxes, rests = [], []
    for part in sheets(image, [number / 8 for number in range(1, 8)]):
        start, box, rest = re.split(rb'viewBox="0 ([^"]*)"', part)
        top, width, height = map(float, box.split())
        assert float(re.search(rb'height="([\d.]+)pt"', start + rest).group(1)) == pytest.approx(height)
        boxes.append((top, width, height))
        rests.append(part[part.index(b"</metadata>") :])
    assert boxes == [(108 * number, 288, 108) for number in range(8)]
    assert set(rests) == {image[image.index(b"</metadata>") :]}, "each is the whole picture seen through a window"
    assert sheets(image, []) == [image]
    assert [part.count(b"<svg") for part in sheets(image, [0.5])] == [1, 1]
    flat = pictures(plot)[1]
    assert sheets(flat, [0.5]) == [flat], "one sheet holds it"


def test_a_sheet_holds_its_own_panels_alone_and_every_letter_that_it_uses() -> None:
    def tall() -> Figure:
        figure = Figure(figsize=(4, 12))
        for row in range(6):
            axis = figure.add_axes((0.2, 1 - (row + 0.9) / 6, 0.7, 0.1))
            axis.set_title(f"row {row}", parse_math=False)
            axis.plot([1, 2, 3], [row, 2, 9], marker="o")
            axis.set_ylabel("accuracy")
        figure.text(0.1, 0.01, "below all")
        return figure

    image = pictures(tall)[1]
    parts = sheets(image, [number / 6 for number in range(1, 6)])
    assert len(parts) == 6
    panels = [re.findall(rb'<g id="(axes_\d+)">', part) for part in parts]
    assert panels == [[b"axes_%d" % number] for number in range(1, 7)]
    for part in parts:
        defined = re.findall(rb'<path id="([^"]+)"', part)
        assert len(defined) == len(set(defined))
        assert set(re.findall(rb'xlink:href="#([^"]+)"', part)) <= set(defined)
        xml.etree.ElementTree.fromstring(part)
    assert sum(map(len, parts)) < 2.5 * len(image), "letters are there in each, panels are not"
