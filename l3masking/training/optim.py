"""The optimiser, its schedule, and which weights decay."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from l3masking.training.settings import AdaptConfig, FinetuneConfig, OptimConfig


class Pace(NamedTuple):
    """What the length of a main stage follows beside the settings: the arms of a dataset have it in common."""

    texts: int | None = None  # texts of an epoch, >= 1; None: those of the auxiliary task, or of train without one
    factor: int = 1  # updates for each update of the other arms, >= 1 (`Finetune.update_factor`)


class MainStage(NamedTuple):
    """A main stage in updates."""

    total: int  # planned, >= 1
    warmup: int  # in which the learning rate rises, in [0, total]
    every: int  # distance of two evaluations, >= 1

    @classmethod
    def of(cls, config: FinetuneConfig, num_texts: int, factor: int = 1) -> MainStage:
        """num_texts: of an epoch. With a `factor` all three are as many times as long, up to rounding."""
        train, evaluate = config.train, config.evaluate
        total = train.planned_updates(num_texts) * factor
        unit = train.updates_per_epoch(num_texts) if evaluate.unit == "epochs" else 1
        return cls(total, int(config.optim.warmup * total), evaluate.every * unit * factor)

    @classmethod
    def paced(cls, config: FinetuneConfig, own_texts: int, pace: Pace | None) -> MainStage:
        """As `of`, under a pace; own_texts: of the auxiliary task, or of train without one."""
        texts, factor = pace or Pace()
        return cls.of(config, own_texts if texts is None else texts, factor)


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


def schedule_at(
    optimiser: torch.optim.Optimizer, factor: Callable[[int], float], update: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """The schedule of a fresh optimiser as it is after `update` updates. factor: of the learning rate, by updates."""
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    if update:
        rates = [base * factor(update) for base in schedule.base_lrs]
        place = {"last_epoch": update, "_step_count": update + 1, "_last_lr": rates}
        schedule.load_state_dict(schedule.state_dict() | place)
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate
    return schedule


def linear_factor(update: int, total: int, warmup: int) -> float:
    """Factor of the learning rate at update 0, 1, ...: up over `warmup`, then down to 0 at `total`."""
    if update < warmup:
        return update / max(1, warmup)
    return max(0.0, (total - update) / max(1, total - warmup))


class SettledLoss:
    """Ends a fit by AdamW once its loss changes by less than a tolerance, without waiting for a GPU.

    The steps behind that are made too, but change nothing: fused AdamW leaves out those of which `found_inf` is 1.
    """

    def __init__(self, tolerance: float, optimiser: torch.optim.AdamW, device: torch.device) -> None:
        """tolerance: in nats. optimiser: a fused one, whose steps are `see`n one by one."""
        self._tolerance = tolerance
        self._previous = torch.full((), math.inf, dtype=torch.float64, device=device)
        self._settled = torch.zeros((), device=device)  # 1 where the fit is at its end, else 0
        optimiser.found_inf = self._settled  # type: ignore[attr-defined]

    def see(self, loss: Tensor) -> None:
        """Take note of the loss of a step that has been made."""
        loss = loss.double()
        self._settled.logical_or_((self._previous - loss).abs() < self._tolerance)
        self._previous = loss

    def settled(self) -> bool:
        """Whether the fit is at its end. The host waits for the answer."""
        return bool(self._settled)
