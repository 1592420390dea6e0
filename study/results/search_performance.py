"""Expected validation performance against the number of settings tried (Dodge et al. 2019, "Show Your Work").

Two methods are comparable at an equal search budget alone. This is the validation value that the best of n settings is
expected to have, for every n up to the settings that a search has tried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from study.results.responses import Response

BUDGET_COLUMNS = ("encoder", "dataset", "method", "objective", "n", "settings", "expected_best", "std")


class Budget(NamedTuple):
    """What a search is expected to find with n settings; fractions."""

    n: int  # 1 to the settings tried
    expected: float  # mean of the best validation value over all choices of n settings
    std: float  # its standard deviation over these choices; 0 at the settings tried, where there is one choice


class SearchPerformance(NamedTuple):
    """One search."""

    encoder: str
    dataset: str
    method: str
    objective: str
    budgets: tuple[Budget, ...]


def search_performance(found: Iterable[Response]) -> list[SearchPerformance]:
    """For each search, in the order of its responses.

    The value of a setting is its mean validation value over the trainings that it has; one that was given up early has
    fewer. A setting whose trainings all failed has no value and does not count.
    """
    values: dict[tuple[str, str, str, str], list[float]] = {}
    for one in found:
        values.setdefault((one.encoder, one.dataset, one.method, one.objective), []).append(one.mean)
    return [SearchPerformance(*name, tuple(expected_best(own))) for name, own in values.items()]


def expected_best(values: Sequence[float]) -> list[Budget]:
    """Mean and standard deviation of the largest of n values drawn WITHOUT replacement, for n = 1 to N.

    With v_(1) <= ... <= v_(N), the largest of n distinct draws is v_(i) with probability

        w_i = C(i - 1, n - 1) / C(N, n),    so    E[max] = sum_i w_i v_(i).

    Dodge et al. 2019 draw with replacement, P(max <= v) = F(v)^n for the empirical F, which is
    biased downwards; without replacement the estimate is unbiased for independent settings (Tang et al. 2020, "Showing
    Your Work Doesn't Always Work"). Both agree at n = 1, the plain mean. The settings of an adaptive sampler (TPE, GP)
    are not independent, and then the curve says what the settings hold, not what the sampler would find.
    """
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    total = len(ordered)
    ranks = np.arange(total, 0, -1)  # i = N, N - 1, ..., 1
    out = []
    for n in range(1, total + 1):
        # w_N = n / N, and w_i = w_(i + 1) (i - n + 1) / i: no factorial becomes too large
        ratios = np.maximum(ranks[1:] - n + 1, 0) / ranks[1:]
        weights = np.cumprod(np.concatenate([[n / total], ratios]))[::-1]
        mean = float(weights @ ordered)
        out.append(Budget(n, mean, float(np.sqrt(weights @ (ordered - mean) ** 2))))
    return out


def budget_rows(found: Iterable[SearchPerformance]) -> list[list[object]]:
    """A line of BUDGET_COLUMNS for each n, fractions at full precision."""
    return [
        [one.encoder, one.dataset, one.method, one.objective, budget.n, len(one.budgets), budget.expected, budget.std]
        for one in found
        for budget in one.budgets
    ]
