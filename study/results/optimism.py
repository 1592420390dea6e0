"""What a search found on validation data, beside what fresh seeds gave: the best of many noisy means is too high."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from study.plan.searches import Search
from study.results.aggregate import Cell
from study.space.search_section import BEST


class FreshFinding(NamedTuple):
    """The best setting of one search, and the row that it became. Fractions."""

    encoder: str
    dataset: str
    method: str
    objective: str
    values: Mapping[str, Any]  # dotted key -> value
    validation: float  # mean over the search's seeds, which chose it
    settings: int  # tried
    seeds: int  # trainings of each
    fresh: float | None  # mean validation value over the seeds of the grid; None before the first
    fresh_seeds: int  # behind it, 0 and up


def findings_of(
    searches: Iterable[Search], findings: Mapping[str, Mapping[str, Any]], cells: Iterable[Cell]
) -> list[FreshFinding]:
    """What each search has found so far, with the validation mean of its row under the search's objective."""
    rows = {(cell.encoder, cell.dataset, cell.method, cell.objective): cell for cell in cells if cell.variant == BEST}
    made = []
    for search in searches:
        found = findings.get(search.key)
        if found is None:
            continue
        row = rows.get((search.encoder, search.dataset, search.method, search.objective))
        made.append(
            FreshFinding(
                encoder=search.encoder,
                dataset=search.dataset,
                method=search.method,
                objective=search.objective,
                values=found["values"],
                validation=found["validation"],
                settings=found["trials"],
                seeds=search.config.seeds,
                fresh=row.validation_mean if row else None,
                fresh_seeds=row.n if row else 0,
            )
        )
    return made


def in_words(found: Sequence[FreshFinding]) -> list[str]:
    """A line for each finding, percent; the last line says how far the best of several means lies too high."""
    lines = []
    for one in found:
        values = ", ".join(f"{key} {round(v, 6) if isinstance(v, float) else v}" for key, v in one.values.items())
        fresh = "no fresh seed has finished"
        if one.fresh is not None:
            fresh = f"{100 * one.fresh:.2f} % over {one.fresh_seeds} fresh seed{'s' * (one.fresh_seeds != 1)}"
        lines.append(
            f"Search of {one.method} on {one.encoder} / {one.dataset}: {values}. Validation {one.objective}: "
            f"{100 * one.validation:.2f} % as the best of {one.settings} settings; {fresh}."
        )
    return [*lines, bias(max(one.settings for one in found))] if found else []


def bias(settings: int) -> str:
    """One sentence on the first of the two numbers."""
    return (
        f"The best of {settings} noisy means is too high: of {settings} equal settings by about "
        f"{expected_largest(settings):.1f} standard errors of a mean."
    )


@lru_cache
def expected_largest(count: int) -> float:
    """Expected largest of `count` independent standard normal numbers, 1 and up: integral of x d(Phi(x)^count)."""
    import numpy as np
    from scipy.special import ndtr

    grid = np.linspace(-10.0, 10.0, 20_001)
    share = ndtr(grid) ** count
    return float(np.sum((grid[1:] + grid[:-1]) / 2 * np.diff(share)))
