"""The optimiser, its schedule, and which weights decay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import nn

from l3masking.training.settings import AdaptConfig, OptimConfig


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


def adamw(groups: Iterable[dict[str, object]], config: OptimConfig | AdaptConfig) -> torch.optim.AdamW:
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
