"""Texts token by token, drawn in the terminal and as PNG; token_page.py makes a page of them.

The darker a box, the more often its token is masked. Every drawing has the numbers too, so that it reads without
colour. Tokens that are masked together share one box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from l3masking.analysis.token_view import MaskRow, TokenView
from study.report.drawing import DPI, MAX_PIXELS, as_png, load_matplotlib
from study.report.layout import plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEVELS = 20  # steps of the scale, from white to INK
INK = (8, 48, 107)  # of the darkest box; the scale is even in brightness, so that it prints in grey
LIGHT_FROM = 14  # level from which letters are white: below it black has the better contrast
LIKELIHOOD_LABEL = "PLT"
NARROWEST = 4  # letters of a column: a number such as ".152"
PICTURE_LETTERS = 110  # letters in a line of tokens
LETTER, LINE, MARGIN_IN = 0.086, 0.27, 0.15  # inches in the picture
LEGEND_OF_VIEW = (
    "PLT: pseudo-likelihood of the token under the vanilla model. Other rows: mask probability; darker: masked more "
    "often. ##: continues the word before. Tokens in one box or bracket are masked together."
)


class TokenRun(NamedTuple):
    """Neighbouring tokens with one number: one token, or some that are masked together."""

    start: int
    end: int
    value: float


class TokenLine(NamedTuple):
    """Tokens that stand in one line of a drawing."""

    start: int
    end: int


def runs(row: MaskRow, line: TokenLine) -> Iterator[TokenRun]:
    """The tokens of a line under a policy; those of one group that stand side by side are one run."""
    at = line.start
    while at < line.end:
        end = at + 1
        while row.groups is not None and end < line.end and row.groups[end] == row.groups[at]:
            end += 1
        yield TokenRun(at, end, float(row.probabilities[at]))
        at = end


def shown_tokens(view: TokenView) -> list[str]:
    """The tokens as all drawings write them."""
    return [
        ("##" if goes_on else "") + plain(token) for token, goes_on in zip(view.tokens, view.continues, strict=True)
    ]


def lines_of(tokens: Sequence[str], letters: int) -> list[TokenLine]:
    """Tokens cut into lines of at most so many letters, blanks between them included; one token always fits."""
    lines, start, used = [], 0, 0
    for at, token in enumerate(tokens):
        width = max(cell_len(token), NARROWEST) + 1
        if used and used + width > letters:
            lines.append(TokenLine(start, at))
            start, used = at, 0
        used += width
    return [*lines, TokenLine(start, len(tokens))] if tokens else []


def number(value: float) -> str:
    """A probability with three digits, such as ".152"."""
    return f"{value:.3f}".removeprefix("0") if value < 0.9995 else "1.00"


def top_of(view: TokenView) -> float:
    """The probability that is drawn darkest: the largest of the text under any of the policies."""
    return max((float(row.probabilities.max()) for row in view.rows if len(row.probabilities)), default=0.0) or 1.0


def level_of(value: float, top: float) -> int:
    """The step of the scale, 0 (white) to LEVELS."""
    return round(LEVELS * min(value / top, 1.0))


def color_at(level: int) -> tuple[int, int, int]:
    """Red, green and blue, 0 to 255, of a step of the scale."""
    red, green, blue = (round(255 + (ink - 255) * level / LEVELS) for ink in INK)
    return red, green, blue


def notes_of(view: TokenView) -> list[str]:
    """What a reader must know of one text: what was cut, what the tokenizer does not know."""
    notes, count = [], len(view.tokens)
    if view.whole > count:
        notes.append(f"cut: the first {count} of {view.whole} tokens are shown, as many as scoring and training read")
    unknown = dict.fromkeys(plain(token) for token, flag in zip(view.tokens, view.unknown, strict=True) if flag)
    if unknown:
        notes.append(f"not in the vocabulary: {', '.join(unknown)}")
    return notes


def terminal_view(view: TokenView, width: int) -> list[Text]:
    """The lines of one text for a terminal of so many letters: tokens, and below them a line for each row."""
    tokens, top = shown_tokens(view), top_of(view)
    labels = ["token", LIKELIHOOD_LABEL, *(plain(row.label) for row in view.rows)]
    margin = max(map(cell_len, labels)) + 2
    widths, out = [max(cell_len(token), NARROWEST) for token in tokens], []
    for line in lines_of(tokens, max(width - margin, NARROWEST)):
        drawn = [Text(), Text()]
        for at in range(line.start, line.end):
            drawn[0].append(_fit(tokens[at], widths[at]) + " ", style="bold")
            drawn[1].append(_fit(number(view.likelihood[at]), widths[at]) + " ")
        for row in view.rows:
            drawn.append(Text())
            for run in runs(row, line):
                wide = sum(widths[run.start : run.end]) + run.end - run.start - 1
                text = number(run.value)
                if run.end - run.start > 1:
                    text = "[" + _fit(text, wide - 2) + "]"
                level = level_of(run.value, top)
                style = "rgb({},{},{}) on rgb({},{},{})".format(*letters_at(level), *color_at(level))
                drawn[-1].append(_fit(text, wide), style=style)
                drawn[-1].append(" ")
        for label, letters in zip(labels, drawn, strict=True):
            out.append(Text.assemble((_fit(label, margin), "dim"), letters))
            out[-1].rstrip()
        out.append(Text())
    return out


def png_view(views: Sequence[TokenView]) -> bytes:
    """All texts as one picture; equal views give equal bytes."""
    import warnings

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        return as_png(lambda: _picture(views))


def _picture(views: Sequence[TokenView]) -> Figure:
    """One block per line of tokens; a matplotlib Figure without any global state (no pyplot)."""
    load_matplotlib()
    from matplotlib.figure import Figure

    blocks = [(view, line) for view in views for line in lines_of(shown_tokens(view), PICTURE_LETTERS)]
    labels = [LIKELIHOOD_LABEL, *(plain(row.label) for view in views for row in view.rows)]
    margin = max(map(cell_len, labels)) + 2
    said = [notes_of(view) if line.end == len(view.tokens) else [] for view, line in blocks]
    # tokens, likelihood, policies, notes, and a gap
    deep = [3 + len(view.rows) + len(notes) for (view, _), notes in zip(blocks, said, strict=True)]
    width = (margin + PICTURE_LETTERS) * LETTER + 2 * MARGIN_IN
    height = LINE * (sum(deep) + 1) + 2 * MARGIN_IN
    figure = Figure(figsize=(width, height), dpi=min(DPI, MAX_PIXELS / max(width, height)))
    axis = figure.add_axes(
        (MARGIN_IN / width, MARGIN_IN / height, 1 - 2 * MARGIN_IN / width, 1 - 2 * MARGIN_IN / height)
    )
    axis.set_axis_off()
    axis.set_xlim(0, margin + PICTURE_LETTERS)
    axis.set_ylim(sum(deep) + 1, 0)
    y = 0
    for (view, line), notes, rows in zip(blocks, said, deep, strict=True):
        _draw_block(axis, view, line, margin, y)
        for depth, note in enumerate(notes, 2 + len(view.rows)):
            axis.text(margin, y + depth + 0.5, note, fontsize=7, color="#444444", va="center", parse_math=False)
        y += rows
    legend = LEGEND_OF_VIEW.replace("the vanilla model. ", "the vanilla model.\n")
    axis.text(0, y + 0.1, legend, fontsize=7, color="#444444", va="center")
    return figure


def _draw_block(axis: Axes, view: TokenView, line: TokenLine, margin: int, y: int) -> None:
    from matplotlib.patches import Rectangle

    tokens, top = shown_tokens(view), top_of(view)
    lefts = {line.start: float(margin)}
    for at in range(line.start, line.end):
        lefts[at + 1] = lefts[at] + max(cell_len(tokens[at]), NARROWEST) + 1

    def write(x: float, depth: int, text: str, color: str = "#1d2329", **how: Any) -> None:
        axis.text(x, y + depth + 0.5, text, va="center", color=color, fontsize=7.5, parse_math=False, **how)

    for depth, label in enumerate(["token", LIKELIHOOD_LABEL, *(plain(row.label) for row in view.rows)]):
        write(0, depth, label, "#5b6570")
    for at in range(line.start, line.end):
        middle = (lefts[at] + lefts[at + 1] - 1) / 2
        write(middle, 0, tokens[at], ha="center", fontweight="bold", family="monospace")
        write(middle, 1, number(view.likelihood[at]), ha="center")
    for depth, row in enumerate(view.rows, 2):
        for run in runs(row, line):
            left, right = lefts[run.start], lefts[run.end] - 0.5
            level = level_of(run.value, top)
            face, ink = ("#" + bytes(color).hex() for color in (color_at(level), letters_at(level)))
            box = Rectangle(
                (left - 0.25, y + depth + 0.06), right - left, 0.88, facecolor=face, edgecolor="#b8c0c8", lw=0.6
            )
            axis.add_patch(box)
            write((left + right - 0.5) / 2, depth, number(run.value), ink, ha="center")


def letters_at(level: int) -> tuple[int, int, int]:
    """The colour of letters on a step of the scale."""
    return (255, 255, 255) if level >= LIGHT_FROM else (0, 0, 0)


def _fit(text: str, width: int) -> str:
    """A text with blanks behind it up to a width in the terminal."""
    return text + " " * max(width - cell_len(text), 0)
