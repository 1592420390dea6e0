"""Two ensembles on one test set: the vote, and McNemar's mid-p against all outcomes written out."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from study.results.mcnemar import averaged, mid_p, second_look, voted


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (3, 3), (10, 2), (2, 10), (40, 25), (0, 9)])
def test_mid_p_is_the_exact_p_without_half_of_what_was_seen(b: int, c: int) -> None:
    if b + c == 0:
        assert mid_p(b, c) == 1
        return
    exact = min(1.0, 2 * sum(math.comb(b + c, k) for k in range(min(b, c) + 1)) / 2 ** (b + c))
    if b == c:
        assert mid_p(b, c) == pytest.approx(1)
    else:
        assert exact == pytest.approx(stats.binomtest(b, b + c).pvalue)
        assert mid_p(b, c) == pytest.approx(exact - math.comb(b + c, b) / 2 ** (b + c))


def test_mid_p_keeps_its_level() -> None:
    """Over all outcomes of 30 texts, each on either side by chance."""
    n = 30
    size = sum(stats.binom.pmf(b, n, 0.5) for b in range(n + 1) if mid_p(b, n - b) < 0.05)
    assert 0.03 < size < 0.055


def test_a_vote_against_counting_by_hand() -> None:
    rows = np.random.default_rng(7).integers(0, 4, (5, 200))
    found = voted(rows, 4)
    for text, column in enumerate(rows.T):
        counts = Counter(column.tolist())
        most = max(counts.values())
        assert found[text] == next(one for one in column.tolist() if counts[one] == most), "earliest of the tied"
    assert voted(np.array([[2], [0]] * 30), 3).tolist() == [2], "60 models: extra parts never make a vote"
    assert voted(np.array([[2]] + [[0]] * 2), 3).tolist() == [0]


def test_a_mean_of_probabilities_can_outvote_the_votes() -> None:
    rows = np.array([[[0.51, 0.49]], [[0.51, 0.49]], [[0.0, 1.0]]])
    assert averaged(rows).tolist() == [1]
    assert voted(rows.argmax(axis=2), 2).tolist() == [0]


def test_a_second_look_counts_texts() -> None:
    labels = np.array([0, 1, 2, 0, 1, 2])
    first = np.array([[0, 1, 2, 0, 1, 0]] * 3)
    second = np.array([[0, 1, 0, 1, 0, 2]] * 3)
    found = second_look(first, second, labels, 3)
    assert found[:6] == (6, 3, pytest.approx(5 / 6), pytest.approx(3 / 6), 3, 1)
    assert found.p == mid_p(3, 1)
