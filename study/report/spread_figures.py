"""Two figures of lines without training steps: mask probabilities, and what a search finds with n settings."""

from __future__ import annotations

from collections.abc import Sequence

from l3masking.methods import label_of
from study.report.layout import OBJECTIVES, plain
from study.report.line_figure import MAX_BANDS, Line, LinePanel
from study.report.panel_grid import FigureRows, Look, counted, looks_of, without
from study.results.mask_histograms import MaskDistribution
from study.results.search_performance import SearchPerformance


def mask_panels(found: Sequence[MaskDistribution], rows: FigureRows) -> list[LinePanel]:
    """The share of the tokens below each mask probability: a panel per encoder and dataset.

    A line begins at the last edge below all of its tokens and ends at the first one above them.
    """
    lines: dict[tuple[str, ...], list[Line]] = {}
    for one in found:
        if (label := rows.labels.get(one.key)) is None:
            continue
        filled = [b for b, count in enumerate(one.counts) if count]
        first, last = filled[0], filled[-1] + 1
        x, y = one.edges[first : last + 1], [100 * share for share in one.share_below[first : last + 1]]
        lines.setdefault((one.key.encoder, one.key.dataset), []).append(Line(label, tuple(x), tuple(y)))
    return [LinePanel(name, "", "mask probability", "tokens below it (%)", tuple(own)) for name, own in lines.items()]


def mask_caption(found: Sequence[MaskDistribution], rows: FigureRows) -> str:
    """What the figure of mask probabilities shows."""
    bins = len(found[0].counts)
    return (
        "Share of the tokens that may be masked, in percent, with a mask probability below the value on the horizontal "
        f"axis (empirical distribution function, in steps of {1 / bins:g}), over the masked-LM texts of the last stage "
        f"and {counted(one.seeds for one in found)}. Random masking is a step at the average. Arms that mask only in a "
        f"stage before fine-tuning are not shown.{without(rows)}"
    )


def performance_looks(found: Sequence[SearchPerformance]) -> dict[str, Look]:
    """A look for each searched method."""
    return looks_of((plain(label_of(one.method)), one.method, True) for one in found)


def performance_panels(found: Sequence[SearchPerformance]) -> list[LinePanel]:
    """The expected validation value in percent against the settings tried: a panel per encoder and dataset."""
    lines: dict[tuple[str, str, str], list[Line]] = {}
    for one in found:
        expected = [(budget.expected, budget.std) for budget in one.budgets]
        line = Line(
            plain(label_of(one.method)),
            tuple(float(budget.n) for budget in one.budgets),
            tuple(100 * mean for mean, _ in expected),
            tuple(100 * (mean - std) for mean, std in expected),
            tuple(100 * (mean + std) for mean, std in expected),
        )
        lines.setdefault((one.encoder, one.dataset, one.objective), []).append(line)
    return [
        LinePanel(
            (encoder, dataset),
            objective,
            "settings tried",
            f"validation {OBJECTIVES.get(objective, objective)} (%)",
            tuple(own),
        )
        for (encoder, dataset, objective), own in lines.items()
    ]


def performance_caption(found: Sequence[SearchPerformance]) -> str:
    """What the figure of searches shows."""
    return (
        "Validation value in percent that the best of n settings is expected to have, over all choices of n of the "
        f"{counted((len(one.budgets) for one in found), 'setting')} that a search tried (without replacement; Dodge et "
        "al. 2019). Band: one standard deviation over these choices, zero where all settings are taken, in panels of "
        f"at most {MAX_BANDS} rows. Settings of an adaptive sampler (tpe, gp) are no random draws: compare searches of "
        "the same sampler."
    )
