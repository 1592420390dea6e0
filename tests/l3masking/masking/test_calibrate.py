"""One calibration for all policies: its values for uniform and L3Masking are those of before, groups share theirs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from l3masking.masking.policies.base import PolicyText, calibrated
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.probabilities import (
    REDISTRIBUTIONS,
    TOKEN_WEIGHTINGS,
    calibrate,
    mask_probabilities,
    scale_to_mean,
)
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream

quick = settings(derandomize=True, deadline=None, max_examples=150)
unit = st.floats(0, 1) | st.sampled_from([0.0, 1.0, 1e-300, 1 - 1e-12])
likelihoods = arrays(np.float64, st.integers(1, 30), elements=unit)
weights = arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1e6))
means = st.floats(0, 1) | st.sampled_from([0.0, 0.15, 1.0])


def text_of(likelihood: np.ndarray) -> PolicyText:
    n = len(likelihood)
    order = np.arange(n)
    return PolicyText(input_ids=np.arange(n + 2), positions=order + 1, words=order, likelihood=likelihood)


def probabilities(name: str, likelihood: np.ndarray, config: MaskingConfig) -> np.ndarray:
    return calibrated(POLICIES[name].weights(text_of(likelihood), config, stream(4, "policy")), config)


@given(likelihood=likelihoods, mean=means, share=st.floats(0, 1))
@quick
def test_uniform_is_the_mean_to_the_bit(likelihood: np.ndarray, mean: float, share: float) -> None:
    values = probabilities("uniform", likelihood, MaskingConfig(mean=mean, floor=share * mean))
    assert values.dtype == np.float64
    assert np.array_equal(values, np.full(len(likelihood), mean))


@given(
    likelihood=likelihoods,
    mean=means,
    share=st.floats(0, 1),
    weighting=st.sampled_from(TOKEN_WEIGHTINGS),
    redistribute=st.sampled_from(REDISTRIBUTIONS),
)
@quick
def test_l3_is_what_it_was_to_the_bit(
    likelihood: np.ndarray, mean: float, share: float, weighting: str, redistribute: str
) -> None:
    config = MaskingConfig(mean=mean, floor=share * mean, weighting=weighting, redistribute=redistribute)
    # as mask_probabilities was written before policies gave weights
    tokens = 1 - likelihood if weighting == "complement" else -np.log(np.maximum(likelihood, np.finfo(float).tiny))
    floor = config.floor
    if floor == 1:
        expected = np.ones_like(likelihood)
    else:
        above = scale_to_mean(tokens, (mean - floor) / (1 - floor), share_excess=redistribute == "equal")
        expected = floor + (1 - floor) * above
    values = probabilities("l3", likelihood, config)
    if floor and not tokens.any():  # no token stands out: exactly the mean, which used to be rounded
        np.testing.assert_allclose(values, expected, rtol=1e-15, atol=0)
    else:
        assert np.array_equal(values, expected)


@given(likelihood=likelihoods, mean=means, share=st.floats(0, 1), weighting=st.sampled_from(TOKEN_WEIGHTINGS))
@quick
def test_the_control_permutes_the_probabilities_to_the_bit(
    likelihood: np.ndarray, mean: float, share: float, weighting: str
) -> None:
    config = MaskingConfig(mean=mean, floor=share * mean, weighting=weighting)
    # as it was written before policies gave weights
    order = torch.randperm(len(likelihood), generator=stream(4, "policy")).numpy()
    expected = mask_probabilities(likelihood, mean=mean, weighting=weighting, floor=config.floor)[order]
    assert np.array_equal(probabilities("l3_shuffled", likelihood, config), expected)


@given(data=st.data(), values=weights, mean=means, share=st.floats(0, 1))
@quick
def test_a_group_has_one_probability_and_the_mean_is_exact(data, values: np.ndarray, mean: float, share: float) -> None:
    n = len(values)
    groups = data.draw(arrays(np.int64, n, elements=st.integers(-3, 6)))
    found = calibrate(values, mean=mean, floor=share * mean, groups=groups)
    assert abs(found.sum() - n * mean) <= 1e-9 * n
    assert np.all((found >= 0) & (found <= 1))
    for group in set(groups.tolist()):
        assert len(set(found[groups == group].tolist())) == 1
    # by hand: each token counts with the mean weight of its group
    shared = np.array([values[groups == group].mean() for group in groups])
    alone = calibrate(shared, mean=mean, floor=share * mean)
    np.testing.assert_allclose(found, alone, atol=1e-9)


def test_a_heavy_group_is_capped_as_one() -> None:
    values = calibrate(np.array([8.0, 8, 1, 1, 1, 1]), mean=0.5, groups=np.array([0, 0, 1, 2, 3, 3]))
    np.testing.assert_allclose(values, [1, 1, 0.25, 0.25, 0.25, 0.25])


@pytest.mark.parametrize("groups", [None, np.zeros(0, dtype=np.int64)])
def test_an_empty_text_has_no_probabilities(groups) -> None:
    assert calibrate(np.zeros(0), mean=0.15, groups=groups).shape == (0,)
