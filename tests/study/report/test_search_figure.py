"""The figure of a search: its panels, and what is drawn of each setting."""

from __future__ import annotations

import pytest
from made_courses import response

from study.report.search_figure import choices_of, draw_responses, search_frame, search_rows

METRICS = ("original", "within_word_l2r", "whole_word")
TRIED = [
    response(
        0.5 + 0.02 * number,
        values={"masking.mean": 0.1 * number, "scoring.metric": METRICS[number % 3], "optim.lr": 10.0 ** (number - 5)},
        by_seed={0: 0.4 + 0.02 * number, 1: 0.6 + 0.02 * number} if number else {0: 0.3},
        best=number == 3,
    )
    for number in range(4)
]


def test_a_row_of_panels_per_search_and_a_column_per_parameter() -> None:
    rows = search_rows([*TRIED, response(0.5, "l3masking", values={"masking.mean": 0.2})])
    assert [len(group) for group in rows] == [4, 1]
    frame = search_frame(rows)
    assert [(panel.row, panel.column, panel.x_label) for panel in frame.panels] == [
        *((0, 0, "masking.mean"), (0, 1, "scoring.metric"), (0, 2, "optim.lr"), (1, 0, "masking.mean")),
    ]
    assert [panel.title for panel in frame.panels[::3]] == ["bert · arc · RTM", "bert · arc · L3Masking"]
    assert frame.further_lines == 1, "of within_word_l2r"


def test_what_is_drawn_are_the_seeds_the_means_and_the_finding() -> None:
    rows = search_rows(TRIED)
    means, metrics, rates = draw_responses(rows, search_frame(rows)).axes
    [line, best] = sorted(means.lines, key=lambda line: len(line.get_xydata()), reverse=True)
    assert line.get_xydata().ravel() == pytest.approx([0.1, 52, 0.2, 54, 0.3, 56], abs=1e-9), "the whole settings"
    assert best.get_xdata() == pytest.approx([0.3, 0.3])
    assert [label.get_text() for label in metrics.get_xticklabels()] == ["original", "within_word_\nl2r", "whole_word"]
    assert (means.get_xscale(), metrics.get_xscale(), rates.get_xscale()) == ("linear", "linear", "log")


def test_only_names_are_choices() -> None:
    assert choices_of(TRIED, "masking.mean") == []
    assert choices_of(TRIED, "scoring.metric") == list(METRICS)
    flags = [response(0.5, values={"x": value}) for value in (True, None, False)]
    assert choices_of(flags, "x") == ["True", "False"]


def test_searches_of_one_parameter_stand_beside_each_other() -> None:
    found = [
        response(0.5, name, values={"masking.mean": mean}) for name in ("rtm", "l3masking", "x") for mean in (0, 1)
    ]
    frame = search_frame(search_rows(found))
    assert [(panel.row, panel.column) for panel in frame.panels] == [(0, 0), (0, 1), (0, 2)]
