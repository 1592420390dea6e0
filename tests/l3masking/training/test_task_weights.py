"""Task weights: META-TARTAN's update by hand, cosines against numpy, and a contract for every entry of the table."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from l3masking.errors import InputError
from l3masking.training.settings import MetaConfig
from l3masking.training.task_weights import WEIGHTINGS, MetaWeighting, cosine, norm

LEARNS = {"static": False, "meta": True}  # one line per entry of WEIGHTINGS


def test_every_weighting_has_its_line_here() -> None:
    assert set(WEIGHTINGS) == set(LEARNS)


@pytest.mark.parametrize("num_tasks", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(LEARNS))
def test_weights_start_equal_stay_positive_and_sum_to_one(name: str, num_tasks: int) -> None:
    weighting = WEIGHTINGS[name](num_tasks, MetaConfig(lr=0.5))
    assert weighting.weights() == pytest.approx([1 / num_tasks] * num_tasks)
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        weighting.observe(2 * torch.rand(num_tasks, generator=draw) - 1)
        weighting.update()
        assert math.fsum(weighting.weights()) == pytest.approx(1, abs=1e-12)
        assert min(weighting.weights()) > 0
    moved = weighting.weights() != pytest.approx([1 / num_tasks] * num_tasks, abs=1e-9)
    assert weighting.learns == LEARNS[name]
    assert moved == (LEARNS[name] and num_tasks > 1)


def test_the_update_worked_by_hand() -> None:
    """Logits (.5, .5); cosines .4, .2 of the primary task and -.1, .1 of the masked LM: means .3 and 0."""
    weighting = WEIGHTINGS["meta"](2, MetaConfig(lr=1e-2))
    assert isinstance(weighting, MetaWeighting)
    weighting.observe(torch.tensor([0.4, -0.1]))
    weighting.observe(torch.tensor([0.2, 0.1]))
    assert weighting.weights() == [0.5, 0.5]  # constant within the window
    weighting.update()
    assert weighting._logits == pytest.approx([0.503, 0.5], abs=1e-9)
    assert weighting.weights()[0] == pytest.approx(1 / (1 + math.exp(-0.003)), abs=1e-9)
    assert weighting.weights()[0] == pytest.approx(0.50075, abs=1e-6)
    weighting.observe(torch.tensor([-1.0, 1.0]))  # a new window: the old cosines are gone
    weighting.update()
    assert weighting._logits == pytest.approx([0.493, 0.51], abs=1e-9)


def test_the_largest_possible_drift_is_lr_times_updates() -> None:
    weighting = MetaWeighting(num_tasks=2, lr=1e-2)
    for _ in range(1950):
        weighting.observe(torch.tensor([1.0, -1.0]))
        weighting.update()
    assert weighting._logits == pytest.approx([20.0, -19.0])
    assert weighting.weights()[0] == pytest.approx(1.0)
    assert weighting.weights()[1] > 0


SHAPES = [(3, 4), (5,), (2, 2, 2), (1,)]


def gradients(seed: int, scale: float = 1.0) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return [scale * torch.randn(shape, generator=draw) for shape in SHAPES]


def flat(parts: list[torch.Tensor]) -> np.ndarray:
    return np.concatenate([part.numpy().astype(np.float64).ravel() for part in parts])


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_cosine_is_numpy_s(scale: float) -> None:
    dev, task = gradients(1), gradients(2, scale)
    a, b = flat(dev), flat(task)
    assert norm(task).item() == pytest.approx(np.linalg.norm(b), rel=1e-5)
    expected = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert abs(expected) > 0.01
    assert cosine(dev, task).item() == pytest.approx(expected, rel=1e-4)


def test_cosine_of_a_gradient_with_itself_and_its_negative() -> None:
    own = gradients(3)
    assert cosine(own, [7 * part for part in own]).item() == pytest.approx(1, abs=1e-6)
    assert cosine(own, [-part for part in own]).item() == pytest.approx(-1, abs=1e-6)


def test_cosine_with_nothing_is_zero() -> None:
    own, nothing = gradients(3), [torch.zeros(shape) for shape in SHAPES]
    for dev, task in ((own, nothing), (nothing, own), (nothing, nothing)):
        assert cosine(dev, task).item() == 0.0
    assert cosine(own, own, torch.tensor(0.0)).item() == 0.0


def test_reference_scope_divides_by_a_norm_that_counts_more() -> None:
    dev, shared, extra = gradients(1), gradients(2), gradients(5, 3.0)
    whole = np.linalg.norm(np.concatenate([flat(shared), flat(extra)]))
    expected = flat(dev) @ flat(shared) / (np.linalg.norm(flat(dev)) * whole)
    assert cosine(dev, shared, norm(shared + extra)).item() == pytest.approx(expected, rel=1e-4)
    assert abs(expected) < abs(cosine(dev, shared).item())


@pytest.mark.parametrize(
    "wrong",
    [
        {"head_sample": 0},
        {"head_iterations": 0},
        {"lr": -1e-9},
        {"lr": float("nan")},
        {"head_lr": 0.0},
        {"head_decay": -0.1},
        {"cos_scope": "body"},
        {"dev_mode": "test"},
    ],
)
def test_values_outside_their_range_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"meta.{next(iter(wrong))}"):
        MetaConfig(**wrong)
