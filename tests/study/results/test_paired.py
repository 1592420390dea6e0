"""The numeric kernels of comparisons against slow oracles: every flip in a loop, scipy, and what is known by hand."""

from __future__ import annotations

import itertools
import math
import statistics
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from study.results.paired import (
    EXACT_PAIRS,
    SignFlip,
    effect_size,
    holm,
    least_p,
    named_generator,
    sign_flip,
    standard_error,
    welch,
)
from study.results.spread import t_interval

counts = st.lists(st.integers(-139, 139), min_size=1, max_size=10)  # right answers of 139 more than the other side


def loop_p(values: list[int]) -> float:
    """The same test over whole numbers, one flip after the other, without any rounding."""
    least = abs(sum(values))
    flips = list(itertools.product((1, -1), repeat=len(values)))
    hits = sum(abs(sum(s * v for s, v in zip(flip, values, strict=True))) >= least for flip in flips)
    return hits / len(flips)


@given(counts, st.floats(0.5, 0.9))
@settings(max_examples=150)
def test_sign_flip_is_the_loop_over_all_flips_and_rounding_breaks_no_tie(values: list[int], level: float):
    differences = [(level + value / 139) - level for value in values]  # with the rounding that real differences have
    found = sign_flip(differences)
    assert found == SignFlip(pytest.approx(loop_p(values), abs=1e-12), True, 2 ** len(values))


@pytest.mark.parametrize("n", [3, 7, 10])
def test_sign_flip_is_scipys_permutation_test(n: int):
    values = named_generator("test", n).normal(0.01, 0.02, n)
    theirs = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert sign_flip(list(values)).p == pytest.approx(theirs.pvalue, abs=1e-12)


def test_sign_flip_by_hand():
    assert sign_flip([0.01, 0.02, 0.03]).p == 2 / 8  # only all signs alike reach that sum
    assert sign_flip([0.01, 0.02, -0.03]).p == 1.0  # the observed sum is zero
    assert sign_flip([0.0, 0.0]).p == sign_flip([0.4]).p == 1.0
    # sums of 3, 1, -1: |sum| is 3, 5, 1, 3 and the mirrored ones; six of eight reach 3
    assert sign_flip([0.03, 0.01, -0.01]).p == 6 / 8


def test_twenty_pairs_are_exact_and_more_are_sampled():
    values = list(named_generator("test", "twenty").normal(0.004, 0.02, EXACT_PAIRS))
    exact = sign_flip(values)
    assert (exact.exact, exact.flips) == (True, 2**EXACT_PAIRS)
    # a zero more changes no sum, so that the exact p is also that of 21 pairs, which are sampled
    sampled = sign_flip([*values, 0.0])
    assert (sampled.exact, sampled.flips) == (False, 100_000)
    spread = math.sqrt(exact.p * (1 - exact.p) / sampled.flips)
    assert 0.05 < exact.p < 0.95
    assert abs(sampled.p - exact.p) < 5 * spread + 1e-5


def test_sampled_p_values_repeat_and_are_never_zero():
    values = [0.01 + 0.0001 * number for number in range(40)]
    assert sign_flip(values) == sign_flip(values)
    assert sign_flip(values).p == least_p(values) == 1 / 100_001


def test_the_least_p_is_the_one_of_equal_signs():
    assert [least_p([0.01] * n) for n in (1, 2, 3, 10)] == [1.0, 0.5, 0.25, 2 / 1024]
    for n in (2, 5, 10):
        values = [0.01 * (number + 1) for number in range(n)]
        assert sign_flip(values).p == least_p(values)


def test_equal_pairs_raise_the_least_p():
    """Four zeros of ten differences: 2 of 2^6 flips, not of 2^10."""
    values = [0.0] * 4 + [0.01, 0.02, 0.03, 0.01, 0.02, 0.01]
    assert least_p(values) == 2 / 64
    assert least_p([0.0] * 3) == 1.0
    assert least_p([0.0] * 20 + [0.01] * 5) == 2 / 32
    assert least_p([0.1 + 0.2 - 0.3, 0.01, 0.01]) == 0.5  # a zero with the rounding that real differences have


@given(counts)
@settings(max_examples=60, deadline=None)
def test_the_least_p_is_the_least_over_all_signs(values: list[int]):
    """Every choice of signs in a loop, and the test on each of the results."""
    sizes = [abs(value) / 139 for value in values[:7]]
    all_signs = itertools.product((1, -1), repeat=len(sizes))
    slow = min(loop_p([round(139 * s * size) for s, size in zip(signs, sizes, strict=True)]) for signs in all_signs)
    assert least_p(sizes) == pytest.approx(slow)


def test_sign_flip_is_calibrated_where_nothing_differs():
    draws, n = 2000, 6
    p_values = np.array([sign_flip(row).p for row in named_generator("null").normal(0, 0.02, (draws, n))])
    for level in (4 / 64, 16 / 64, 32 / 64):  # attainable levels of 6 pairs
        share = np.mean(p_values <= level)
        assert abs(share - level) < 5 * math.sqrt(level * (1 - level) / draws)


def test_holm_by_hand():
    """Holm 1979: .01, .02, .03, .04 sorted become 4 x .01, 3 x .02, 2 x .03 and, never falling, the same again."""
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.6]) == [1.0, 1.0]
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8))
def test_holm_decides_like_the_stepwise_procedure(p_values: list[float]):
    level, adjusted = 0.05, holm(p_values)
    rejected: set[int] = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        if p_values[index] * (len(p_values) - rank) >= level:
            break
        rejected.add(index)
    assert {index for index, p in enumerate(adjusted) if p < level} == rejected
    assert all(p <= a <= 1 for p, a in zip(p_values, adjusted, strict=True))


def test_effect_size_is_mean_over_sample_deviation():
    assert effect_size([0.01, 0.02, 0.03]) == pytest.approx(2.0)
    assert effect_size([0.02, 0.02]) is effect_size([0.1 + 0.2 - 0.3, 0.0]) is effect_size([0.5]) is None


def test_welch_is_scipys():
    first, second = named_generator("a").normal(0.7, 0.03, 10), named_generator("b").normal(0.69, 0.01, 7)
    theirs = scipy.stats.ttest_ind(first, second, equal_var=False)
    interval = theirs.confidence_interval(0.95)
    sides = [(statistics.mean(side), statistics.stdev(side), len(side)) for side in (first, second)]
    assert welch(*sides[0], *sides[1]) == pytest.approx((interval.low, interval.high, theirs.pvalue), abs=1e-12)


def test_welch_without_spread_has_no_test():
    assert welch(0.7, 0.0, 3, 0.5, 0.0, 10) == (pytest.approx(0.2), pytest.approx(0.2), None)


def test_welch_of_equal_sides_is_the_t_interval_with_twice_the_variance():
    low, high, p = welch(0.7, 0.02, 10**6, 0.7, 0.02, 10**6)
    expected = t_interval(0.0, 0.02 * math.sqrt(2), 10**6)
    assert (low, high) == pytest.approx(expected, rel=1e-5)
    assert p == 1.0


def test_standard_error_of_the_papers_smallest_test_set():
    assert 100 * standard_error(0.75, 139) == pytest.approx(3.67, abs=0.005)


def test_named_generators_depend_on_their_names_alone():
    script = "from study.results.paired import named_generator as g; print(g('a', 1).integers(0, 2**60, 3).tolist())"
    printed = {
        subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env).stdout
        for env in ({"PYTHONHASHSEED": "1"}, {"PYTHONHASHSEED": "2"})
    }
    assert printed == {f"{named_generator('a', 1).integers(0, 2**60, 3).tolist()}\n"}
    assert named_generator("a", "1").random() != named_generator("a", 1).random()
    assert named_generator("a", "b").random() != named_generator("ab").random()
