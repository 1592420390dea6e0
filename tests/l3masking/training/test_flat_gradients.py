"""Gradients in one buffer: against lists of torch's own, and sums over millions of elements against float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from l3masking.training.flat_gradients import SUM_BLOCK, FlatGradients, cosine, dot, norm

SHAPES = {"first": [(3, 5), (4,)], "second": [(70, 60), (2,), (8, 8)], "third": [(7,)]}  # of the parameters of a part


def made() -> tuple[FlatGradients, dict[str, list[nn.Parameter]]]:
    draw = torch.Generator().manual_seed(3)
    parts = {
        name: [nn.Parameter(torch.randn(shape, generator=draw)) for shape in shapes] for name, shapes in SHAPES.items()
    }
    return FlatGradients(parts), parts


def loss_of(parts: dict[str, list[nn.Parameter]], names: tuple[str, ...]) -> Tensor:
    """It does not reach the last parameter of `second`."""
    return sum(((p + 1) ** 3).sum() for name in names for p in parts[name] if p.shape != (8, 8))  # type: ignore[return-value]


SPANS = [("first", "second"), ("second", "third"), ("second",), ("first", "second", "third")]


@pytest.mark.parametrize("names", SPANS)
def test_weighed_sums_are_those_of_lists(names: tuple[str, ...]) -> None:
    flat, parts = made()
    span = flat.span(*names)
    flat.clear()
    whole = [parameter for name in names for parameter in parts[name]]
    sums = [torch.zeros_like(parameter) for parameter in whole]
    for weight in (0.3, torch.tensor(0.7)):
        found = torch.autograd.grad(loss_of(parts, names), whole, materialize_grads=True)
        torch._foreach_add_(sums, found, alpha=float(weight))
        flat.add(span, flat.of(loss_of(parts, names), span), weight)
    for parameter, wanted in zip(whole, sums, strict=True):
        assert torch.equal(parameter.grad, wanted)
    left = [parameter for name in SHAPES if name not in names for parameter in parts[name]]
    assert all(parameter.grad is None for parameter in left), "AdamW would decay what took no part"
    flat.clear()
    assert all(parameter.grad is None for parameter in whole)
    flat.add(span, flat.of(loss_of(parts, names), span), 0.0)
    assert not any(parameter.grad.any() for parameter in whole)


def test_a_span_is_made_of_neighbours() -> None:
    with pytest.raises(AssertionError, match="do not follow each other"):
        made()[0].span("first", "third")


@pytest.mark.parametrize("largest", [0.5, 1e6])
def test_each_span_is_clipped_by_its_own_norm(largest: float) -> None:
    flat, parts = made()
    whole, last = flat.span("first", "second"), flat.span("third")
    flat.clear()
    for names, span in ((("first", "second"), whole), (("third",), last)):
        flat.add(span, flat.of(loss_of(parts, names), span), 1.0)
    theirs = [[nn.Parameter(p.detach()) for p in span.parameters] for span in (whole, last)]
    for span, copies in zip((whole, last), theirs, strict=True):
        for parameter, copy in zip(span.parameters, copies, strict=True):
            copy.grad = parameter.grad.clone()
        before = nn.utils.clip_grad_norm_(copies, largest)
        assert (before > largest) == (largest == 0.5)
        flat.clip(span, largest)
        for parameter, copy in zip(span.parameters, copies, strict=True):
            torch.testing.assert_close(parameter.grad, copy.grad, rtol=1e-6, atol=0)


def test_one_room_holds_one_gradient() -> None:
    flat, parts = made()
    span = flat.span("second", "third")
    first = flat.of(loss_of(parts, span.parts), span, "dev")
    held = first.clone()
    flat.of(2 * loss_of(parts, span.parts), span)
    assert torch.equal(first, held)
    assert torch.equal(flat.of(2 * loss_of(parts, span.parts), span, "dev"), 2 * held)


def vector(seed: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(2 * SUM_BLOCK, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_cosine_is_numpy_s(scale: float) -> None:
    dev, task = vector(1), vector(2, scale) + 0.1 * scale * vector(1)
    a, b = dev.double().numpy(), task.double().numpy()
    assert norm(task).item() == pytest.approx(np.linalg.norm(b), rel=1e-6)
    expected = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert abs(expected) > 0.05
    assert cosine(dev, task).item() == pytest.approx(expected, rel=1e-5)
    whole = np.linalg.norm(np.concatenate([b, a]))
    found = cosine(dev, task, norm(torch.cat([task, dev]))).item()
    assert found == pytest.approx(a @ b / np.linalg.norm(a) / whole, rel=1e-5)


def test_sums_over_millions_are_right() -> None:
    """A single float32 sum of squares of 20 million elements is off by a thousandth on a CPU."""
    long = torch.rand(5000 * SUM_BLOCK, generator=torch.Generator().manual_seed(1))
    square = float(np.square(long.numpy(), dtype=np.float64).sum())
    assert norm(long).item() == pytest.approx(square**0.5, rel=2e-6)
    assert dot(long, long).item() == pytest.approx(square, rel=2e-6)


def test_cosine_of_a_gradient_with_itself_its_negative_and_nothing() -> None:
    own, nothing = vector(3), torch.zeros(2 * SUM_BLOCK)
    assert cosine(own, 7 * own).item() == pytest.approx(1, abs=3e-6)
    assert cosine(own, -own).item() == pytest.approx(-1, abs=3e-6)
    for dev, task in ((own, nothing), (nothing, own), (nothing, nothing)):
        assert cosine(dev, task).item() == 0.0
    assert cosine(own, own, torch.tensor(0.0)).item() == 0.0
