"""The response curve of a search as a figure: validation metric against each searched parameter, with its spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from l3masking.methods import color_of, label_of
from study.report.drawing import INK, broken
from study.report.layout import OBJECTIVES
from study.report.panel_grid import Frame, PanelPlace, panel_figure, places
from study.results.responses import Response

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CHOICE_LETTERS = 36  # of all choices beside each other below a panel
LOGARITHMIC = 30  # largest value over smallest, from which on the axis is logarithmic
SEARCH_CAPTION = (
    "Validation value in percent of each setting that a search tried, against each searched parameter. Open dots: "
    "seeds of the search. Diamond and bar: mean ± sample standard deviation over them. Pale: given up early, after "
    "fewer seeds. Line: means of equal values. Dashed: the finding, the best of noisy means and so too high. Cross: "
    "its mean over fresh seeds."
)


def search_rows(found: Sequence[Response]) -> list[tuple[Response, ...]]:
    """The responses of each search, in their order: a row of panels each."""
    rows: dict[tuple[str, str, str, str], list[Response]] = {}
    for response in found:
        rows.setdefault((response.encoder, response.dataset, response.method, response.objective), []).append(response)
    return [tuple(group) for group in rows.values()]


def search_frame(rows: Sequence[Sequence[Response]]) -> Frame:
    """A row of panels per search, a column per parameter; one column is wrapped."""
    columns = list(dict.fromkeys(key for group in rows for key in group[0].values))
    spots = places([(str(row), key) for row, group in enumerate(rows) for key in group[0].values], columns)
    named = [(group, key) for group in rows for key in group[0].values]
    panels = [
        PanelPlace(
            *spot,
            f"{group[0].encoder} · {group[0].dataset} · {label_of(group[0].method)}",
            key,
            f"validation {OBJECTIVES.get(group[0].objective, group[0].objective)} (%)",
        )
        for spot, (group, key) in zip(spots, named, strict=True)
    ]
    names = [_broken(choices) for group in rows for key in group[0].values if (choices := choices_of(group, key))]
    lines = max((name.count("\n") for group in names for name in group), default=0)
    return Frame(tuple(panels), {}, further_lines=lines)


def draw_responses(rows: Sequence[Sequence[Response]], frame: Frame) -> Figure:
    """The settings of each search, in their frame."""
    figure, axes = panel_figure(frame)
    panels = ((group, key) for group in rows for key in group[0].values)
    for axis, (group, key) in zip(axes, panels, strict=True):
        _draw(axis, group, key)
    return figure


def choices_of(group: Sequence[Response], key: str) -> list[str]:
    """The values of a parameter by name, in the order of the responses; empty if they are numbers."""
    values = [response.values[key] for response in group if response.values[key] is not None]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return []
    return list(dict.fromkeys(map(str, values)))


def _draw(axis: Axes, group: Sequence[Response], key: str) -> None:
    color, choices = color_of(group[0].method), choices_of(group, key)
    known = [response for response in group if response.values[key] is not None]

    def place(response: Response) -> float:
        value = response.values[key]
        return float(choices.index(str(value)) if choices else value)

    for response in known:
        x, whole = place(response), response.n == response.wanted
        values = [100 * value for value in response.by_seed.values()]
        pale = 1.0 if whole else 0.35
        axis.scatter([x] * len(values), values, s=14, facecolors="none", edgecolors=color, linewidths=0.8, alpha=pale)
        mean, spread = 100 * response.mean, 100 * (response.std or 0.0)
        axis.vlines(x, mean - spread, mean + spread, colors=color, linewidth=1.6, alpha=pale)
        axis.scatter([x], [mean], s=30, marker="D", c=color, edgecolors="white", linewidths=0.7, alpha=pale, zorder=4)
        if response.best:
            axis.axvline(x, color=INK, linestyle=(0, (4, 3)), linewidth=1, zorder=1)
            if response.fresh_validation_mean is not None:
                axis.scatter([x], [100 * response.fresh_validation_mean], s=36, marker="x", c=INK, zorder=5)
    _draw_line(axis, [(place(r), 100 * r.mean) for r in known if r.n == r.wanted], color)
    if choices:
        axis.set_xticks(range(len(choices)), _broken(choices), parse_math=False)
        axis.set_xlim(-0.5, len(choices) - 0.5)
    elif known and 0 < LOGARITHMIC * min(map(place, known)) <= max(map(place, known)):
        axis.set_xscale("log")


def _draw_line(axis: Axes, points: Sequence[tuple[float, float]], color: str) -> None:
    """Through the means of whole settings: with several parameters, through the mean of those that share this value."""
    at: dict[float, list[float]] = {}
    for x, y in points:
        at.setdefault(x, []).append(y)
    ordered = sorted(at)
    axis.plot(ordered, [fmean(at[x]) for x in ordered], color=color, linewidth=1, alpha=0.6, zorder=2)


def _broken(choices: Sequence[str]) -> list[str]:
    return [broken(choice, max(4, CHOICE_LETTERS // len(choices))) for choice in choices]
