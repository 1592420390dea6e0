"""The optimiser, its schedule, and which weights decay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import nn

from l3masking.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """AdamW of the main stage, with linear warm-up and linear decay to 0 (values of the released code)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    lr: float = 1e-4  # peak learning rate of body and LM head, > 0
    head_lr: float = 1e-3  # peak learning rate of the classification head, > 0
    decay: float = 0.01  # weight decay of body and LM head; none on biases and normalisation layers
    head_decay: float = 0.1  # weight decay of the classification head, everything in it
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = 1e-6
    warmup: float = 0.06  # share of all planned updates, in [0, 1]
    clip: float = 1.0  # largest gradient norm, body with LM head and classification head apart; > 0

    def __post_init__(self) -> None:
        for name in ("lr", "head_lr", "eps", "clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"optim.{name} is {getattr(self, name)}: it must be above 0")
        if not 0 <= self.warmup <= 1:
            raise InputError(f"optim.warmup is {self.warmup}: a share of the updates, in [0, 1]")
        for name in ("decay", "head_decay"):
            if not getattr(self, name) >= 0:
                raise InputError(f"optim.{name} is {getattr(self, name)}: it must not be negative")
        if not all(0 <= beta < 1 for beta in self.betas):
            raise InputError(f"optim.betas is {self.betas}: two numbers in [0, 1)")


def decay_groups(module: nn.Module, lr: float, decay: float) -> list[dict[str, object]]:
    """Two parameter groups: weights that decay, and biases and normalisation layers that don't.

    Decided by the type of the module that owns a parameter, never by its name: names differ between encoders.
    """
    decayed: dict[int, nn.Parameter] = {}
    plain: dict[int, nn.Parameter] = {}
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            spared = isinstance(owner, nn.LayerNorm) or name.endswith("bias")
            (plain if spared else decayed)[id(parameter)] = parameter
    return [
        {"params": list(decayed.values()), "lr": lr, "weight_decay": decay},
        {"params": [p for key, p in plain.items() if key not in decayed], "lr": lr, "weight_decay": 0.0},
    ]


def adamw(groups: Iterable[dict[str, object]], config: OptimConfig) -> torch.optim.AdamW:
    return torch.optim.AdamW(list(groups), betas=config.betas, eps=config.eps, fused=True)


def linear_factor(update: int, total: int, warmup: int) -> float:
    """Factor of the learning rate at update 0, 1, ...: up over `warmup`, then down to 0 at `total`."""
    if update < warmup:
        return update / max(1, warmup)
    return max(0.0, (total - update) / max(1, total - warmup))


def clip_norms(parts: Sequence[Sequence[nn.Parameter]], clip: float) -> None:
    """Clip the gradient norm of each part on its own."""
    for part in parts:
        torch.nn.utils.clip_grad_norm_(part, clip, foreach=True)
