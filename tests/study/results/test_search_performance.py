"""Expected best of n settings, against all choices of n of them."""

from __future__ import annotations

import statistics
from itertools import combinations

import numpy as np
import pytest
from made_courses import response

from study.results.search_performance import BUDGET_COLUMNS, budget_rows, expected_best, search_performance


@pytest.mark.parametrize("total", [1, 2, 3, 6, 9])
@pytest.mark.parametrize("ties", [False, True])
def test_it_is_the_mean_over_all_choices(total: int, ties: bool) -> None:
    values = np.random.default_rng(total).uniform(0, 1, total)
    values = values.round(1) if ties else values
    found = expected_best(values.tolist())
    assert [budget.n for budget in found] == list(range(1, total + 1))
    for budget in found:
        best = [max(chosen) for chosen in combinations(values.tolist(), budget.n)]
        assert budget.expected == pytest.approx(statistics.mean(best), abs=1e-12)
        assert budget.std == pytest.approx(statistics.pstdev(best), abs=1e-7)


def test_many_settings_do_not_overflow_and_the_ends_are_known() -> None:
    values = np.random.default_rng(1).uniform(0, 1, 2000)
    found = expected_best(values.tolist())
    expected = [budget.expected for budget in found]
    assert expected[0] == pytest.approx(values.mean(), abs=1e-12)
    assert (expected[-1], found[-1].std) == (pytest.approx(values.max(), abs=1e-15), 0)
    assert (np.diff(expected) >= -1e-12).all()


def test_a_setting_counts_with_the_mean_of_its_trainings() -> None:
    tried = [response(0.5), response(0.7, "l3masking"), response(0.6), response(0.9, by_seed={0: 0.9})]
    rtm, l3 = search_performance(tried)
    assert (rtm.method, [budget.expected for budget in rtm.budgets][::2]) == (
        "rtm",
        pytest.approx([statistics.mean([0.5, 0.6, 0.9]), 0.9]),
    )
    assert (l3.method, len(l3.budgets)) == ("l3masking", 1)
    rows = [dict(zip(BUDGET_COLUMNS, row, strict=True)) for row in budget_rows([rtm, l3])]
    assert [(row["n"], row["settings"]) for row in rows] == [(1, 3), (2, 3), (3, 3), (1, 1)]
