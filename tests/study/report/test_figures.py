"""The figure: its data, what is drawn, and bytes that depend on the results alone."""

from __future__ import annotations

import struct

import pytest
from result_cells import cell

from study.report.drawing import MAX_PIXELS
from study.report.figures import Panel, Series, draw, panels, png


def test_panels_hold_percent_per_encoder_dataset_and_objective():
    given = [
        cell("stl", 0.7),
        cell("rtm", None),
        cell("rtm", 0.5, objective="macro_f1", n=2),
        cell("stl", 0.6, dataset="imdb"),
    ]
    first, second, third, empty = panels(given)
    assert (first.row, first.column, first.title) == (0, 0, "bert · arc · accuracy")
    stl, rtm = first.series
    assert stl == Series(
        "STL",
        "stl",
        ((0, pytest.approx(69)), (1, 70), (2, pytest.approx(71))),
        70,
        pytest.approx(67),
        pytest.approx(73),
        "",
    )
    assert rtm == Series("RTM", "rtm", (), None, None, None, "failed (0/3)")
    assert (second.row, second.column, second.series[0].note) == (0, 1, "n=2/3")
    assert (third.row, third.column, third.title) == (1, 0, "bert · imdb · accuracy")
    assert empty == Panel(1, 1, "bert · imdb · macro F1", ())


def test_the_figure_draws_every_seed_and_no_number_for_a_failure():
    figure = draw(
        panels([cell("stl", 0.7), cell("rtm", None), cell("l3masking", 0.8, std=None, ci_low=None, ci_high=None)])
    )
    [axis] = figure.axes
    dots, means, bars = axis.collections
    assert sorted(x for x, _ in dots.get_offsets()) == pytest.approx([69, 70, 71, 79, 80, 81])
    assert [x for x, _ in means.get_offsets()] == pytest.approx([70, 80])
    [[(low, _), (high, _)]] = bars.get_segments()
    assert (low, high) == pytest.approx((67, 73))
    assert [text.get_text() for text in axis.texts] == ["STL", "RTM", "L3Masking", "failed (0/3)"]


def test_a_huge_figure_stays_within_what_agg_can_draw():
    figure = draw([Panel(row, 0, "t", (Series("a", "a", (), None, None, None, "n"),) * 90) for row in range(12)])
    assert max(figure.get_size_inches()) * figure.dpi == pytest.approx(MAX_PIXELS)


def test_a_long_title_stands_in_lines_over_its_own_panel():
    both = [cell("stl", 0.7, objective=goal, encoder="a-name-of_an-encoder/" * 4) for goal in ("accuracy", "macro_f1")]
    figure = draw(panels(both))
    figure.canvas.draw()
    assert "\n" in figure.axes[0].get_title(loc="left")
    left, right = (axis._left_title.get_window_extent() for axis in figure.axes)
    assert left.x1 < right.x0
    assert max(left.y1, right.y1) <= figure.bbox.y1


def test_the_png_names_no_date_and_no_version():
    data, at, kinds = png(panels([cell()])), 8, set()
    while at < len(data):
        length, kind = struct.unpack(">I4s", data[at : at + 8])
        kinds.add(kind)
        at += 12 + length
    assert kinds == {b"IHDR", b"pHYs", b"IDAT", b"IEND"}


def test_names_stand_once_where_all_columns_have_the_same():
    both = [cell(method, 0.7, objective=goal) for goal in ("accuracy", "macro_f1") for method in ("stl", "rtm")]
    first, second = draw(panels(both)).axes
    assert [text.get_text() for text in first.texts] == ["STL", "RTM"]
    assert [text.get_text() for text in second.texts] == []
    other = [*both[:3], cell("rtm", 0.7, objective="macro_f1", n=2)]
    first, second = draw(panels(other)).axes
    assert [text.get_text() for text in second.texts] == ["STL", "RTM\nn=2/3"]
    assert second.get_position().x0 > first.get_position().x1
