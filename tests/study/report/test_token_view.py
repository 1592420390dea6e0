"""Texts token by token, drawn: readable without colour, hostile texts stay texts, equal views give equal bytes."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import pytest
from hostile_names import PAYLOADS
from PIL import Image
from rich.console import Console

from l3masking.analysis.token_view import MaskRow, TokenView
from study.report.layout import plain
from study.report.token_page import html_view
from study.report.token_view import (
    LEVELS,
    TokenLine,
    color_at,
    letters_at,
    level_of,
    lines_of,
    notes_of,
    number,
    png_view,
    runs,
    terminal_view,
)


def view(tokens: list[str], **changes: object) -> TokenView:
    n = len(tokens)
    values = np.linspace(0.02, 0.4, n)
    made = {
        "text": " ".join(tokens),
        "tokens": tuple(tokens),
        "pieces": tuple(tokens),
        "continues": np.arange(n) % 3 == 2,
        "unknown": np.zeros(n, dtype=bool),
        "likelihood": values[::-1],
        "rows": (
            MaskRow(label="RTM", probabilities=np.full(n, 0.15), groups=None),
            MaskRow(label="l3, complement", probabilities=values, groups=None),
            MaskRow(label="whole_word", probabilities=np.full(n, 0.15), groups=np.arange(n) // 2),
        ),
        "whole": n,
    }
    return TokenView(**(made | changes))  # type: ignore[arg-type]


SIX = view(["the", "hooli", "gan", "wrecked", "a", "vehicle"])


def printed(made: TokenView, width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    for line in terminal_view(made, width):
        console.print(line, soft_wrap=True)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_the_terminal_has_numbers_below_the_tokens() -> None:
    assert printed(SIX, 120) == [
        "token           the  hooli ##gan wrecked a    ##vehicle",
        "PLT             .400 .324  .248  .172    .096 .020",
        "RTM             .150 .150  .150  .150    .150 .150",
        "l3, complement  .020 .096  .172  .248    .324 .400",
        "whole_word      [.150    ] [.150       ] [.150        ]",
        "",
    ]


def test_colour_adds_nothing_that_the_numbers_do_not_say() -> None:
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="truecolor")
    for line in terminal_view(SIX, 120):
        console.print(line, soft_wrap=True)
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "48;2;8;48;107" in text, "the darkest box"
    assert [line.rstrip() for line in re.sub("\x1b\\[[0-9;]*m", "", text).splitlines()] == printed(SIX, 120)


def test_lines_fit_the_terminal() -> None:
    made = view([f"word{number}" for number in range(40)])
    lines = printed(made, 60)
    assert max(map(len, lines)) <= 60
    words = [word for line in lines if line.startswith("token") for word in line.split()[1:]]
    assert [word.removeprefix("##") for word in words] == list(made.tokens)


def test_groups_are_cut_where_a_line_ends() -> None:
    assert lines_of(["aaaa"] * 5, 14) == [TokenLine(0, 2), TokenLine(2, 4), TokenLine(4, 5)]
    assert lines_of(["a" * 50], 10) == [TokenLine(0, 1)]
    assert lines_of([], 10) == []
    row = MaskRow(label="", probabilities=np.array([0.1, 0.1, 0.1, 0.3]), groups=np.array([0, 0, 0, 1]))
    assert [run[:2] for run in runs(row, TokenLine(0, 4))] == [(0, 3), (3, 4)]
    assert [run[:2] for run in runs(row, TokenLine(2, 4))] == [(2, 3), (3, 4)]


def test_notes_say_what_is_cut_and_what_is_unknown() -> None:
    assert notes_of(SIX) == []
    made = view(["a", "b"], whole=9, unknown=np.array([False, True]))
    assert notes_of(made) == [
        "cut: the first 2 of 9 tokens are shown, as many as scoring and training read",
        "not in the vocabulary: b",
    ]


def luminance(color: tuple[int, int, int]) -> float:
    """Relative luminance of WCAG 2."""
    parts = [part / 255 for part in color]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_scale_reads_in_grey_and_letters_stand_out() -> None:
    levels = range(LEVELS + 1)
    grey = [luminance(color_at(level)) for level in levels]
    assert all(before > after for before, after in pairwise(grey))
    for level in levels:
        light, dark = sorted((luminance(letters_at(level)), grey[level]), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5
    assert (level_of(0, 0.3), level_of(0.15, 0.3), level_of(0.3, 0.3)) == (0, LEVELS // 2, LEVELS)


def test_numbers_have_three_digits() -> None:
    assert [number(value) for value in (0, 0.1234, 0.9994, 0.9996, 1)] == [".000", ".123", ".999", "1.00", "1.00"]


class Page(HTMLParser):
    """The elements, attributes and texts of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_shows_the_numbers_and_the_groups() -> None:
    page = Page(html_view([SIX], ["encoder tiny"]))
    cells = [attributes for tag, attributes in page.elements if tag == "td"]
    assert [cell["colspan"] for cell in cells] == ["1"] * 18 + ["2"] * 3
    assert [cell["title"] for cell in cells[12:18]] == [f"{value:.6f}" for value in np.linspace(0.02, 0.4, 6)]
    assert "encoder tiny" in page.texts
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "link", "iframe"})


@pytest.mark.parametrize("payload", [*PAYLOADS, "</style><script>alert(1)</script>", '"><img src=x onerror=y>'])
def test_hostile_texts_stay_texts_on_the_page(payload: str) -> None:
    row = MaskRow(label=payload, probabilities=np.full(1, 0.15), groups=None)
    made = view([payload], text=payload, rows=(row,), unknown=np.array([True]))
    text = html_view([made], [payload])
    page = Page(text)
    names = {tag for tag, _ in page.elements}
    assert names.isdisjoint({"script", "img", "link", "iframe", "b"})
    assert all(name in {"class", "colspan", "scope", "title", "lang", "charset", "content", "http-equiv", "name"} for _, attributes in page.elements for name in attributes)  # fmt: skip # noqa: E501
    assert plain(payload) in page.texts
    assert len(re.findall("<style>", text)) == 1
    assert "\x1b" not in "\n".join(printed(made, 80))


def test_the_picture_is_drawn_and_the_same_again() -> None:
    made = [SIX, view(["\u2603", "漢字", "$x^2", "b" * 30] * 8)]
    data = png_view(made)
    assert data == png_view(made)
    picture = Image.open(io.BytesIO(data)).convert("L")
    noted = Image.open(io.BytesIO(png_view([made[0], view(["a $b"], whole=9, unknown=np.array([True]))])))
    bare = Image.open(io.BytesIO(png_view([made[0], view(["a $b"])])))
    assert noted.height > bare.height, "a line for each note"
    assert picture.width > 800
    assert picture.height > 300
    low, high = picture.getextrema()
    assert (low < 80, high) == (True, 255), "dark boxes on white"
