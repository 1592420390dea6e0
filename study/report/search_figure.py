"""The response curve of a search as a figure: validation metric against each searched parameter, with its spread."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any

from l3masking.methods import color_of, label_of
from study.report.figures import DPI, MAX_PIXELS, as_png, load_matplotlib, quiet_axis
from study.report.layout import OBJECTIVES, plain
from study.results.responses import Response

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PANEL = (3.6, 2.5)  # inches, with its labels
SEARCH_LEGEND = (
    "Validation set, percent. Open dots: seeds of the search. Diamond and bar: mean ± sample standard deviation.\n"
    "Pale: given up early, after fewer seeds. Line: means of equal values. Dashed: the finding, the best of noisy "
    "means and so too high. Cross: its mean over fresh seeds."
)


def draw_responses(found: Sequence[Response]) -> Figure:
    """A row of panels per search, a column per parameter; a matplotlib Figure without any global state."""
    load_matplotlib()
    from matplotlib.figure import Figure

    rows: dict[tuple[str, str, str, str], list[Response]] = {}
    for response in found:
        rows.setdefault((response.encoder, response.dataset, response.method, response.objective), []).append(response)
    columns = max((len(group[0].values) for group in rows.values()), default=1)
    width, height = columns * PANEL[0], max(1, len(rows)) * PANEL[1] + 0.5
    figure = Figure(figsize=(max(width, 6.4), height), dpi=min(DPI, MAX_PIXELS / max(width, height)))
    for row, (name, group) in enumerate(rows.items()):
        for column, key in enumerate(group[0].values):
            left, bottom = column / columns + 0.6 / figure.get_figwidth(), 1 - ((row + 1) * PANEL[1] - 0.55) / height
            size = (1 / columns - 0.75 / figure.get_figwidth(), (PANEL[1] - 0.95) / height)
            axis = figure.add_axes((left, bottom, *size))
            _draw(axis, group, key, f"{' · '.join(name[:2])} · {label_of(name[2])}", name)
    figure.text(0.5, 0.08 / height, SEARCH_LEGEND, fontsize=7.5, color="#444444", ha="center", va="bottom")
    return figure


def responses_png(found: Sequence[Response]) -> bytes:
    """The figure as PNG; equal responses give equal bytes."""
    return as_png(lambda: draw_responses(found))


def _draw(axis: Axes, group: Sequence[Response], key: str, title: str, name: tuple[str, str, str, str]) -> None:
    color = color_of(name[2])
    known = [response for response in group if response.values[key] is not None]
    numbers = all(isinstance(r.values[key], int | float) and not isinstance(r.values[key], bool) for r in known)
    choices = [] if numbers else list(dict.fromkeys(str(response.values[key]) for response in known))

    def place(response: Response) -> float:
        return float(response.values[key]) if numbers else float(choices.index(str(response.values[key])))

    for response in known:
        x, whole = place(response), response.n == response.wanted
        values = [100 * value for value in response.by_seed.values()]
        pale = 1.0 if whole else 0.35
        axis.scatter([x] * len(values), values, s=14, facecolors="none", edgecolors=color, linewidths=0.8, alpha=pale)
        mean, spread = 100 * response.mean, 100 * (response.std or 0.0)
        axis.vlines(x, mean - spread, mean + spread, colors=color, linewidth=1.6, alpha=pale)
        axis.scatter([x], [mean], s=30, marker="D", c=color, edgecolors="white", linewidths=0.7, alpha=pale, zorder=4)
        if response.best:
            axis.axvline(x, color="#222222", linestyle=(0, (4, 3)), linewidth=1, zorder=1)
            if response.fresh_validation_mean is not None:
                axis.scatter([x], [100 * response.fresh_validation_mean], s=36, marker="x", c="#222222", zorder=5)
    _draw_line(axis, [(place(r), 100 * r.mean) for r in known if r.n == r.wanted], color)
    _label(axis, key, choices, title, OBJECTIVES.get(name[3], name[3]))


def _draw_line(axis: Axes, points: Sequence[tuple[float, float]], color: str) -> None:
    """Through the means of whole settings: with several parameters, through the mean of those that share this value."""
    at: dict[float, list[float]] = {}
    for x, y in points:
        at.setdefault(x, []).append(y)
    ordered = sorted(at)
    axis.plot(ordered, [fmean(at[x]) for x in ordered], color=color, linewidth=1, alpha=0.6, zorder=2)


def _label(axis: Any, key: str, choices: Sequence[str], title: str, objective: str) -> None:
    if choices:
        axis.set_xticks(range(len(choices)), [plain(choice) for choice in choices])
        axis.set_xlim(-0.5, len(choices) - 0.5)
    axis.set_title(plain(title), fontsize=8.5, fontweight="bold", loc="left", parse_math=False)
    axis.set_xlabel(plain(key), fontsize=8, parse_math=False)
    axis.set_ylabel(f"validation {objective}", fontsize=8)
    quiet_axis(axis)
