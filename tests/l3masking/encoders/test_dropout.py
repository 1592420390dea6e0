"""Dropout in a fifth of the time: rate, scale, gradient, and draws that know nothing of each other."""

from __future__ import annotations

import math

import pytest
import torch

from l3masking import rng
from l3masking.encoders.dropout import dropped

SIZE = 400_003  # no multiple of four: as many elements share a draw of 64 bits
CPU = torch.device("cpu")


def ones_dropped(rate: float, name: str = "x", dtype: torch.dtype = torch.float32) -> torch.Tensor:
    with rng.dropout(CPU, 7, name):
        return dropped(torch.ones(SIZE, dtype=dtype), rate)


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9, 0.001])
def test_as_many_are_left_out_as_the_rate_says(rate: float) -> None:
    found = ones_dropped(rate)
    sigma = math.sqrt(rate * (1 - rate) / SIZE)
    assert abs(float((found == 0).double().mean()) - rate) < 5 * sigma
    assert abs(float(found.double().mean()) - 1) < 5 * sigma / (1 - rate)
    assert torch.allclose(found[found != 0], torch.tensor(1 / (1 - rate)), rtol=2e-5 / (1 - rate))


def test_elements_are_left_out_independently() -> None:
    """Of each other at any distance up to that of the next draw of 64 bits but one, and of those under another name."""
    out, other = ((ones_dropped(0.3, name) == 0).double() - 0.3 for name in ("x", "y"))
    for distance in range(1, 9):
        assert abs(float((out[distance:] * out[:-distance]).mean())) < 5 * 0.21 / math.sqrt(SIZE)
    assert abs(float((out * other).mean())) < 5 * 0.21 / math.sqrt(SIZE)
    for place in range(4):
        assert abs(float(out[place::4].mean())) < 5 * math.sqrt(0.21 / (SIZE / 4))


def test_a_stream_gives_the_same_again() -> None:
    assert torch.equal(ones_dropped(0.1), ones_dropped(0.1))
    assert not torch.equal(ones_dropped(0.1), ones_dropped(0.1, "y"))


def test_the_gradient_goes_the_same_way() -> None:
    x = torch.randn(5, 7, 3, dtype=torch.float64, generator=rng.stream(0, "x")).requires_grad_()
    with rng.dropout(CPU, 7, "x"):
        found = dropped(x, 0.4)
    (gradient,) = torch.autograd.grad(found.sum(), x)
    assert 0 < int((found == 0).sum()) < x.numel()
    torch.testing.assert_close(found, x * gradient)
    assert {round(value, 3) for value in gradient.unique().tolist()} == {0.0, round(1 / 0.6, 3)}


def test_half_precision_keeps_the_mean() -> None:
    """A scale of 1 / 0.9 is not rounded before it is multiplied."""
    values = torch.full((SIZE,), 0.9, dtype=torch.bfloat16)
    with rng.dropout(CPU, 7, "x"):
        found = dropped(values, 0.1)
    assert found.dtype == torch.bfloat16
    kept = (values.float() / 0.9).bfloat16()
    assert set(found.unique().tolist()) == {0.0, float(kept[0])}


def test_without_a_rate_nothing_happens_and_nothing_is_drawn() -> None:
    before, x = torch.get_rng_state(), torch.ones(3)
    assert dropped(x, 0.0) is x
    assert torch.equal(torch.get_rng_state(), before)
