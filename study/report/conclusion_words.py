"""A conclusion in one sentence: better, equivalent within a margin, or undecided and how many seeds would decide."""

from __future__ import annotations

from study.results.equivalence import Conclusion


def conclusion_words(found: Conclusion, first: str, second: str) -> str:
    """What the numbers allow to say of two rows, in percent points."""
    within = "" if found.margin is None else f"within {_points(found.margin)} points"
    if found.verdict in ("better", "worse"):
        text = f"{first} is {found.verdict} than {second}"
        return f"{text}, and by less than {_points(found.margin or 0)} points." if found.within else f"{text}."
    if found.verdict == "equivalent":
        return f"{first} and {second} are equivalent {within}."
    text = f"Undecided between {first} and {second}"
    text += f"; equivalence {within} is not shown either" if found.margin is not None else ""
    if found.seeds is None or found.assumed is None:
        return f"{text}."
    if found.margin is not None:
        wanted = _points(found.assumed)
        return f"{text}. About {found.seeds} seeds would decide a difference of {wanted} points, or show that none is."
    return f"{text}. About {found.seeds} seeds would decide it if the true difference is the observed one."


def _points(value: float) -> str:
    return f"{100 * value:.2f}"
