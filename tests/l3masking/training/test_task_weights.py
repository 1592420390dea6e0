"""Task weights: META-TARTAN's update by hand, and a contract for every entry of the table."""

from __future__ import annotations

import math

import pytest
import torch

from l3masking.errors import InputError
from l3masking.training.settings import MetaConfig
from l3masking.training.task_weights import CPU, WEIGHTINGS, MetaWeighting

LEARNS = {"static": False, "meta": True}  # one line per entry of WEIGHTINGS


def test_every_weighting_has_its_line_here() -> None:
    assert set(WEIGHTINGS) == set(LEARNS)


@pytest.mark.parametrize("num_tasks", [1, 2, 3])
@pytest.mark.parametrize("name", sorted(LEARNS))
def test_weights_start_equal_stay_positive_and_sum_to_one(name: str, num_tasks: int) -> None:
    weighting = WEIGHTINGS[name](num_tasks, MetaConfig(lr=0.5), CPU)
    assert weighting.weights().tolist() == pytest.approx([1 / num_tasks] * num_tasks)
    draw = torch.Generator().manual_seed(0)
    for _ in range(200):
        weighting.observe(2 * torch.rand(num_tasks, generator=draw) - 1)
        weighting.update()
        assert math.fsum(weighting.weights().tolist()) == pytest.approx(1, abs=1e-12)
        assert min(weighting.weights().tolist()) > 0
    moved = weighting.weights().tolist() != pytest.approx([1 / num_tasks] * num_tasks, abs=1e-9)
    assert weighting.learns == LEARNS[name]
    assert moved == (LEARNS[name] and num_tasks > 1)


def test_the_update_worked_by_hand() -> None:
    """Logits (.5, .5); cosines .4, .2 of the primary task and -.1, .1 of the masked LM: means .3 and 0."""
    weighting = WEIGHTINGS["meta"](2, MetaConfig(lr=1e-2), CPU)
    assert isinstance(weighting, MetaWeighting)
    weighting.observe(torch.tensor([0.4, -0.1]))
    weighting.observe(torch.tensor([0.2, 0.1]))
    assert weighting.weights().tolist() == [0.5, 0.5]  # constant within the window
    weighting.update()
    assert weighting.state().tolist() == pytest.approx([0.503, 0.5], abs=1e-9)
    assert weighting.weights()[0].item() == pytest.approx(1 / (1 + math.exp(-0.003)), abs=1e-9)
    assert weighting.weights()[0].item() == pytest.approx(0.50075, abs=1e-6)
    weighting.observe(torch.tensor([-1.0, 1.0]))  # a new window: the old cosines are gone
    weighting.update()
    assert weighting.state().tolist() == pytest.approx([0.493, 0.51], abs=1e-9)


def test_the_largest_possible_drift_is_lr_times_updates() -> None:
    weighting = MetaWeighting(num_tasks=2, lr=1e-2)
    for _ in range(1950):
        weighting.observe(torch.tensor([1.0, -1.0]))
        weighting.update()
    assert weighting.state().tolist() == pytest.approx([20.0, -19.0])
    assert weighting.weights()[0].item() == pytest.approx(1.0)
    assert weighting.weights()[1].item() > 0


def test_weights_on_the_device_are_the_softmax_of_python() -> None:
    """To 1e-14 in float64; a snapshot of the logits stays as it is when they move on."""
    weighting, draw = MetaWeighting(num_tasks=3, lr=2.0), torch.Generator().manual_seed(2)
    for _ in range(50):
        held, before = weighting.state(), weighting.state().tolist()
        weighting.observe(2 * torch.rand(3, generator=draw) - 1)
        weighting.update()
        assert held.tolist() == before != weighting.state().tolist()
        powers = [math.exp(logit) for logit in weighting.state().tolist()]
        assert weighting.weights().tolist() == pytest.approx([power / math.fsum(powers) for power in powers], rel=1e-14)
    again = MetaWeighting(num_tasks=3, lr=2.0)
    again.observe(torch.ones(3))
    again.restore(weighting.state())
    for one in (weighting, again):
        one.observe(torch.tensor([0.5, -0.5, 0.1]))
        one.update()
    assert torch.equal(again.weights(), weighting.weights())


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
