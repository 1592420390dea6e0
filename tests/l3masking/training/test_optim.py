"""Which weights decay, the schedule, clipping, and one AdamW step by hand."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from small_encoders import MAKERS, TYPES
from torch import Tensor, nn

from l3masking.encoders.load import load_encoder
from l3masking.errors import InputError
from l3masking.training.optim import MainStage, SettledLoss, adamw, decay_groups, linear_factor
from l3masking.training.settings import EvaluateConfig, FinetuneConfig, OptimConfig, TrainConfig


@pytest.mark.parametrize("kind", TYPES)
def test_matrices_decay_and_biases_and_norms_do_not(kind: str, tmp_path: Path) -> None:
    model = load_encoder(str(MAKERS[kind](tmp_path))).model
    decayed, plain = decay_groups(model, 0.5, 0.25)
    assert (decayed["lr"], decayed["weight_decay"]) == (0.5, 0.25)
    assert (plain["lr"], plain["weight_decay"]) == (0.5, 0.0)
    # in these three types a parameter is a vector exactly if it is a bias or belongs to a LayerNorm
    assert {p.dim() for p in decayed["params"]} == {2}
    assert {p.dim() for p in plain["params"]} == {1}
    keys = [id(p) for group in (decayed, plain) for p in group["params"]]
    assert sorted(keys) == sorted(id(p) for p in model.parameters())  # each exactly once, tied ones too
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm)]
    assert len(norms) >= 6  # embeddings, two per layer, LM head
    assert {id(p) for norm in norms for p in norm.parameters()} <= {id(p) for p in plain["params"]}


def test_frozen_parameters_are_in_no_group() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3))
    model[0].weight.requires_grad_(False)
    decayed, plain = decay_groups(model, 1.0, 1.0)
    assert decayed["params"] == []
    assert len(plain["params"]) == 3


def test_a_norm_whose_name_does_not_say_so_is_spared() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.LayerNorm(4)
            self.normal_looking = nn.Linear(4, 4, bias=False)

    model = Odd()
    decayed, plain = decay_groups(model, 1.0, 1.0)
    assert decayed["params"] == [model.normal_looking.weight]
    assert len(plain["params"]) == 2


@pytest.mark.parametrize(
    ("total", "warmup", "factors"),
    [
        (10, 4, [0, 1 / 4, 2 / 4, 3 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0, 0]),
        (4, 0, [1, 3 / 4, 2 / 4, 1 / 4, 0]),
        (3, 3, [0, 1 / 3, 2 / 3, 0]),
        (1, 0, [1, 0]),
    ],
)
def test_the_schedule(total: int, warmup: int, factors: list[float]) -> None:
    assert [linear_factor(update, total, warmup) for update in range(len(factors))] == pytest.approx(factors)


def test_the_schedule_is_that_of_transformers() -> None:
    from transformers import get_linear_schedule_with_warmup

    optimiser = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = get_linear_schedule_with_warmup(optimiser, 7, 50)
    for update in range(50):
        assert theirs.get_last_lr()[0] == pytest.approx(linear_factor(update, 50, 7))
        optimiser.step()
        theirs.step()


def test_one_adamw_step_by_hand() -> None:
    config = OptimConfig(betas=(0.9, 0.98), eps=0.1)
    values = [nn.Parameter(torch.tensor([2.0])), nn.Parameter(torch.tensor([2.0]))]
    groups = [
        {"params": [values[0]], "lr": 0.5, "weight_decay": 0.1},
        {"params": [values[1]], "lr": 0.01, "weight_decay": 0.0},
    ]
    optimiser = adamw(groups, config)
    expected, first, second = [2.0, 2.0], 0.0, 0.0
    for step, gradient in enumerate([0.3, -0.2], start=1):
        first, second = 0.9 * first + 0.1 * gradient, 0.98 * second + 0.02 * gradient**2
        move = first / (1 - 0.9**step) / (math.sqrt(second / (1 - 0.98**step)) + 0.1)
        expected = [
            value * (1 - lr * decay) - lr * move
            for value, lr, decay in zip(expected, (0.5, 0.01), (0.1, 0.0), strict=True)
        ]
        for value in values:
            value.grad = torch.tensor([gradient])
        optimiser.step()
    assert [value.item() for value in values] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"head_lr": -1.0},
        {"eps": 0.0},
        {"clip": float("nan")},
        {"warmup": 1.01},
        {"warmup": -0.1},
        {"decay": -0.1},
        {"head_decay": float("nan")},
        {"betas": (0.9, 1.0)},
    ],
)
def test_values_outside_their_range_are_refused_by_name(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"optim.{next(iter(wrong))}"):
        OptimConfig(**wrong)


@pytest.mark.parametrize(
    ("texts", "most", "unit", "factor", "expected"),
    [
        (100, None, "updates", 1, (60, 6, 4)),  # 6 updates of 16 texts in an epoch
        (100, None, "epochs", 1, (60, 6, 24)),
        (100, 25, "epochs", 1, (25, 2, 24)),  # the cap moves neither epochs nor evaluations
        (100, 61, "updates", 1, (60, 6, 4)),  # no more than the epochs hold
        (100, None, "updates", 3, (180, 18, 12)),
        (100, 25, "epochs", 3, (75, 7, 72)),
        (15, None, "epochs", 1, (10, 1, 4)),  # fewer texts than a batch: one update
    ],
)
def test_the_main_stage_in_updates(texts: int, most: int, unit: str, factor: int, expected: tuple) -> None:
    config = FinetuneConfig(
        optim=OptimConfig(warmup=0.1),
        train=TrainConfig(batch=8, accumulate=2, max_epochs=10, max_updates=most),
        evaluate=EvaluateConfig(every=4, unit=unit),
    )
    assert MainStage.of(config, texts, factor) == expected


def test_a_cap_of_no_update_is_refused() -> None:
    with pytest.raises(InputError, match=r"^train.max_updates is 0: at least 1$"):
        TrainConfig(max_updates=0)


def fitted(tolerance: float, *, by_break: bool) -> tuple[list[Tensor], int]:
    """Two weights after a fit of at most 40 steps, their moments, and the steps that counted."""
    weight, previous = nn.Parameter(torch.tensor([3.0, -2.0])), math.inf
    optimiser = torch.optim.AdamW([weight], lr=0.3, betas=(0.9, 0.98), weight_decay=0.1, fused=True)
    stop = None if by_break else SettledLoss(tolerance, optimiser, torch.device("cpu"))
    for _ in range(40):
        optimiser.zero_grad()
        loss = (weight**2).sum()
        loss.backward()
        optimiser.step()
        if stop is not None:
            stop.see(loss.detach())
        elif abs(previous - loss.item()) < tolerance:
            break
        previous = loss.item()
    state = optimiser.state[weight]
    return [weight.detach(), state["exp_avg"], state["exp_avg_sq"]], int(state["step"])


def test_steps_behind_a_settled_loss_change_nothing() -> None:
    """Bit by bit as if the loop had been left, wherever that is."""
    ends = set()
    for tolerance in (0.0, 0.01, 0.1, 0.5, 100.0):
        (found, steps), (expected, counted) = (fitted(tolerance, by_break=by_break) for by_break in (False, True))
        assert steps == counted
        assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
        ends.add(steps)
    assert len(ends) >= 4
    assert {2, 40} <= ends
