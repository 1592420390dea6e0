"""Mask probabilities against the paper's loop, bisection and the properties that define them."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l3masking.errors import InputError
from l3masking.masking.probabilities import REDISTRIBUTIONS, TOKEN_WEIGHTINGS, mask_probabilities, scale_to_mean

TOLERANCE = 1e-9
PLT = [0.6, 0.5, 0.8, 0.9, 0.3, 0.7, 0.2, 0.95]  # the worked sentence: the ho ##oli ##gan wrecked the vehicle .

unit = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1 - 1e-12])
likelihoods = arrays(np.float64, st.integers(1, 40), elements=unit)
# a few peaked texts: most tokens nearly certain, so that capping takes place
peaked = arrays(np.float64, st.integers(2, 40), elements=st.sampled_from([0.0, 0.05, 0.97, 0.99, 0.999]))
plts = likelihoods | peaked
means = st.floats(0, 1) | st.sampled_from([0.0, 0.15, 0.5, 1.0])
weightings = st.sampled_from(TOKEN_WEIGHTINGS)
quick = settings(derandomize=True, deadline=None, max_examples=150)


def weights_of(plt: np.ndarray, weighting: str) -> np.ndarray:
    """Slow: one token after the other."""
    if weighting == "complement":
        return np.array([1 - value for value in plt])
    return np.array([-math.log(max(value, 2.2250738585072014e-308)) for value in plt])


def by_rounds(weights: np.ndarray, mean: float) -> np.ndarray:
    """The loop: cap what exceeds 1, share the excess equally among the uncapped, again."""
    n = len(weights)
    if weights.sum() == 0:
        return np.full(n, mean)
    values = [n * mean * weight / weights.sum() for weight in weights]
    capped: set[int] = set()
    for _ in range(n + 1):
        over = [i for i in range(n) if i not in capped and values[i] > 1]
        if not over:
            return np.array(values)
        excess = sum(values[i] - 1 for i in over)
        for i in over:
            values[i] = 1.0
        capped.update(over)
        rest = [i for i in range(n) if i not in capped]
        for i in rest:
            values[i] += excess / len(rest)
    raise AssertionError("more rounds than tokens")


def by_bisection(weights: np.ndarray, mean: float) -> np.ndarray:
    """min(1, alpha w + lam), with lam found by halving an interval."""
    n = len(weights)
    if weights.sum() == 0:
        return np.full(n, mean)
    scaled = n * mean * weights / weights.sum()
    low, high = 0.0, 1.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.minimum(1, scaled + middle).sum() < n * mean else (low, middle)
    return np.minimum(1, scaled + (low + high) / 2)


@pytest.mark.parametrize(
    ("plt", "mean", "weighting", "expected"),
    [
        (PLT, 0.15, "complement", [0.157377, 0.196721, 0.078689, 0.039344, 0.275410, 0.118033, 0.314754, 0.019672]),
        ([0.1, 0.7, 0.95, 0.95, 0.8], 0.4, "complement", [1, 0.45, 0.116667, 0.116667, 0.316667]),
        ([0, 0.2, 0.9, 0.9], 0.6, "complement", [1, 1, 0.2, 0.2]),
        (PLT, 0.15, "surprisal", [0.128946, 0.174969, 0.056327, 0.026596, 0.303915, 0.090034, 0.406265, 0.012948]),
    ],
    ids=["no cap", "one round", "two rounds", "surprisal"],
)
def test_worked_examples(plt: list, mean: float, weighting: str, expected: list) -> None:
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    np.testing.assert_allclose(values, expected, atol=1.01e-6)
    assert values.mean() == pytest.approx(mean, abs=1e-12)


@quick
@given(plts, means, weightings)
@example(np.array([0.0, 1.0, 1.0, 1.0]), 0.25, "complement")
@example(np.array([0.1, 0.7, 0.95, 0.95, 0.8]), 0.4, "complement")
def test_equals_the_loop_and_the_bisection(plt: np.ndarray, mean: float, weighting: str) -> None:
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    weights = weights_of(plt, weighting)
    np.testing.assert_allclose(values, by_rounds(weights, mean), atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(values, by_bisection(weights, mean), atol=TOLERANCE, rtol=0)


@quick
@given(plts, means, weightings)
def test_mean_is_exact_and_values_are_probabilities(plt: np.ndarray, mean: float, weighting: str) -> None:
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    assert abs(values.mean() - mean) < TOLERANCE
    assert values.min() >= 0
    assert values.max() <= 1


@quick
@given(plts, means, weightings)
def test_order_and_equality_follow_the_weights(plt: np.ndarray, mean: float, weighting: str) -> None:
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    weights = weights_of(plt, weighting)
    rising = np.argsort(weights, kind="stable")
    assert np.all(np.diff(values[rising]) >= 0)
    for value in np.unique(weights):
        assert len(set(values[weights == value])) == 1


@quick
@given(unit, st.integers(1, 30), means, weightings)
def test_equal_likelihoods_give_random_token_masking(value: float, n: int, mean: float, weighting: str) -> None:
    values = mask_probabilities(np.full(n, value), mean=mean, weighting=weighting)
    np.testing.assert_allclose(values, mean, atol=TOLERANCE, rtol=0)


@quick
@given(plts, means, st.floats(1e-6, 1e6))
def test_scaling_the_weights_changes_nothing(weights: np.ndarray, mean: float, factor: float) -> None:
    np.testing.assert_allclose(
        scale_to_mean(weights * factor, mean), scale_to_mean(weights, mean), atol=TOLERANCE, rtol=0
    )


@quick
@given(plts, means, weightings, st.randoms(use_true_random=False))
def test_permuting_tokens_permutes_values(plt: np.ndarray, mean: float, weighting: str, random) -> None:
    order = list(range(len(plt)))
    random.shuffle(order)
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    np.testing.assert_allclose(
        mask_probabilities(plt[order], mean=mean, weighting=weighting), values[order], atol=TOLERANCE, rtol=0
    )


@quick
@given(plts, means, weightings)
def test_without_a_cap_values_are_proportional(plt: np.ndarray, mean: float, weighting: str) -> None:
    weights = weights_of(plt, weighting)
    assume(weights.sum() > 0)
    proportional = len(plt) * mean * weights / weights.sum()
    assume(proportional.max() <= 1)
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    np.testing.assert_allclose(values, proportional, atol=1e-12, rtol=0)


@quick
@given(peaked, st.sampled_from([0.1, 0.3, 0.6]), weightings)
def test_uncapped_values_keep_their_distances(plt: np.ndarray, mean: float, weighting: str) -> None:
    weights = weights_of(plt, weighting)
    assume(weights.sum() > 0)
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    alpha = len(plt) * mean / weights.sum()
    free = np.flatnonzero(values < 1 - 1e-9)
    for i in free:
        np.testing.assert_allclose(values[i] - values[free], alpha * (weights[i] - weights[free]), atol=TOLERANCE)


@quick
@given(plts, means, weightings)
def test_idempotent(plt: np.ndarray, mean: float, weighting: str) -> None:
    values = mask_probabilities(plt, mean=mean, weighting=weighting)
    np.testing.assert_allclose(scale_to_mean(values, mean), values, atol=TOLERANCE, rtol=0)


@quick
@given(plts, means, means, weightings)
def test_rising_mean_lowers_no_value(plt: np.ndarray, one: float, two: float, weighting: str) -> None:
    low = mask_probabilities(plt, mean=min(one, two), weighting=weighting)
    high = mask_probabilities(plt, mean=max(one, two), weighting=weighting)
    assert np.all(high >= low - TOLERANCE)


@quick
@given(plts, means, st.floats(0, 1), weightings)
def test_floor_holds_and_the_mean_stays(plt: np.ndarray, mean: float, share: float, weighting: str) -> None:
    floor = mean * share
    values = mask_probabilities(plt, mean=mean, weighting=weighting, floor=floor)
    assert values.min() >= floor - 1e-15
    assert values.max() <= 1
    assert abs(values.mean() - mean) < TOLERANCE


@pytest.mark.parametrize("weighting", TOKEN_WEIGHTINGS)
@pytest.mark.parametrize("redistribute", REDISTRIBUTIONS)
def test_mean_zero_one_and_empty(weighting: str, redistribute: str) -> None:
    options = {"weighting": weighting, "redistribute": redistribute}
    assert np.all(mask_probabilities(PLT, mean=0, **options) == 0)
    assert mask_probabilities([], mean=0.15, **options).shape == (0,)
    assert np.all(mask_probabilities([1.0, 1.0, 1.0], mean=0.15, **options) == 0.15)
    np.testing.assert_allclose(mask_probabilities(PLT, mean=1, weighting=weighting), 1, atol=1e-12)


def test_without_redistribution_the_mean_falls_as_in_the_released_code() -> None:
    one = mask_probabilities([0.1, 0.7, 0.95, 0.95, 0.8], mean=0.4, redistribute="none")
    np.testing.assert_allclose(one, [1, 0.4, 0.066667, 0.066667, 0.266667], atol=1e-6)
    assert one.mean() == pytest.approx(0.36)
    two = mask_probabilities([0, 0.2, 0.9, 0.9], mean=0.6, redistribute="none")
    np.testing.assert_allclose(two, [1, 0.96, 0.12, 0.12], atol=1e-12)
    assert two.mean() == pytest.approx(0.55)


def test_extreme_values_stay_finite_and_exact() -> None:
    for plt in ([1e-300, 1.0, 1.0], [0.0] + [1.0] * 126, [1 - 2**-53] + [1.0] * 9, [0.0] * 5 + [1e-300] * 5):
        for weighting in TOKEN_WEIGHTINGS:
            values = mask_probabilities(plt, mean=0.15, weighting=weighting)
            assert abs(values.mean() - 0.15) < 1e-12
            assert values.max() <= 1
    # one token bears all the weight: it is capped at 1 and the others share the rest, 126 * .15 - 1 = 17.9 of 125
    values = mask_probabilities([0.0] + [1.0] * 125, mean=0.15)
    np.testing.assert_allclose(values, [1] + [17.9 / 125] * 125, atol=1e-12)
    tiny, huge = np.array([5e-324, 0.0]), np.array([1e308, 1e308, 1e308])
    np.testing.assert_allclose(scale_to_mean(tiny, 0.25), [0.5, 0], atol=1e-12)
    np.testing.assert_allclose(scale_to_mean(huge, 0.25), 0.25, atol=1e-12)


@pytest.mark.parametrize(
    ("plt", "options", "word"),
    [
        ([0.5, 1.1], {"mean": 0.15}, "likelihood"),
        ([-0.5, 0.1], {"mean": 0.15}, "likelihood"),
        ([math.nan], {"mean": 0.15}, "likelihood"),
        ([[0.5]], {"mean": 0.15}, "shape"),
        ([0.5], {"mean": -0.1}, "masking.mean"),
        ([0.5], {"mean": 1.1}, "masking.mean"),
        ([0.5], {"mean": math.nan}, "masking.mean"),
        ([0.5], {"mean": 0.15, "floor": 0.2}, "masking.floor"),
        ([0.5], {"mean": 0.15, "floor": -0.1}, "masking.floor"),
        ([0.5], {"mean": 0.15, "weighting": "square"}, "square"),
        ([0.5], {"mean": 0.15, "redistribute": "some"}, "some"),
    ],
)
def test_refused_inputs_are_named(plt: list, options: dict, word: str) -> None:
    with pytest.raises(InputError, match=word):
        mask_probabilities(plt, **options)
