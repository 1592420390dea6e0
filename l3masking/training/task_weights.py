"""Task weights: fixed and equal, or learned while training (META-TARTAN, Dery et al. 2023).

K tasks, the primary one first. Weights are a softmax over K logits; logit k moves by +lr times the mean, over the
micro-steps of a window, of the cosine between task k's gradient and the gradient of the validation loss through a
freshly fitted head. The Jacobian of the softmax is left out, as in the released code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal, Protocol

import torch
from torch import Tensor

from l3masking.errors import InputError, check_choice

CosineScope = Literal["encoder", "reference"]
DevMode = Literal["train", "eval"]


@dataclass(frozen=True, kw_only=True)
class MetaConfig:
    """META-TARTAN's own settings (values of the released run script)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    lr: float = 1e-2  # step of the task logits, >= 0
    head_lr: float = 1e-3  # AdamW of the dev head, > 0
    head_decay: float = 0.1  # weight decay of the dev head, >= 0
    head_sample: int = 32  # validation texts the dev head is fitted to, >= 1
    head_iterations: int = 10  # most steps of that fit, >= 1
    head_tolerance: float = 1e-3  # the fit ends when its loss (nats) changes by less
    cos_scope: CosineScope = "encoder"  # reference: |g_mlm| counts the LM head too
    dev_mode: DevMode = "train"  # dropout in dev-head fit and dev gradient: active, or not

    def __post_init__(self) -> None:
        for name in ("head_sample", "head_iterations"):
            if getattr(self, name) < 1:
                raise InputError(f"meta.{name} is {getattr(self, name)}: at least 1")
        if not (self.lr >= 0 and self.head_lr > 0):
            raise InputError(f"meta.lr is {self.lr} and meta.head_lr {self.head_lr}: not negative, and above 0")
        if not self.head_decay >= 0:
            raise InputError(f"meta.head_decay is {self.head_decay}: it must not be negative")
        check_choice("meta.cos_scope", self.cos_scope, CosineScope)
        check_choice("meta.dev_mode", self.dev_mode, DevMode)


class Weighting(Protocol):
    """Task weights that may learn. `observe` and `update` are called only where it does."""

    learns: ClassVar[bool]

    def weights(self) -> list[float]:
        """[K], positive, sums to 1."""
        ...

    def observe(self, cosines_K: Tensor) -> None:
        """Take the cosines of one micro-step."""
        ...

    def update(self) -> None:
        """Move the weights, once per optimiser step."""
        ...


@dataclass(kw_only=True)
class StaticWeighting:
    """Equal weights 1/K that never move."""

    num_tasks: int
    learns: ClassVar[bool] = False

    def weights(self) -> list[float]:
        return [1 / self.num_tasks] * self.num_tasks

    def observe(self, cosines_K: Tensor) -> None:
        """Nothing is learned."""

    def update(self) -> None:
        """Nothing moves."""


@dataclass(kw_only=True)
class MetaWeighting:
    """Learned weights. Logits start at 1/K each."""

    num_tasks: int
    lr: float
    learns: ClassVar[bool] = True
    _logits: list[float] = field(default_factory=list)
    _window: list[Tensor] = field(default_factory=list)  # cosines [K] of each micro-step, on the device

    def __post_init__(self) -> None:
        self._logits = [1 / self.num_tasks] * self.num_tasks

    def weights(self) -> list[float]:
        """softmax of the logits; positive, sums to 1."""
        largest = max(self._logits)
        powers = [math.exp(logit - largest) for logit in self._logits]
        return [power / sum(powers) for power in powers]

    def observe(self, cosines_K: Tensor) -> None:
        """Take the cosines of one micro-step."""
        self._window.append(cosines_K)

    def update(self) -> None:
        """a_k += lr * mean cosine of the window, once per optimiser step; the window starts anew."""
        means = torch.stack(self._window).double().mean(dim=0).tolist()
        self._logits = [logit + self.lr * mean for logit, mean in zip(self._logits, means, strict=True)]
        self._window = []


def cosine(dev: Sequence[Tensor], task: Sequence[Tensor], task_norm: Tensor | None = None) -> Tensor:
    """<dev, task> / (|dev| |task|) over lists of gradients of one shape; 0 where a norm is 0. A scalar on the device.

    task_norm: taken for |task| where given (cos_scope "reference").
    """
    dot = torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(dev, task, strict=True)]).sum()
    scale = norm(dev) * (norm(task) if task_norm is None else task_norm)
    return torch.where(scale > 0, dot / scale.clamp(min=torch.finfo(scale.dtype).tiny), torch.zeros_like(dot))


def norm(gradients: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(torch._foreach_norm(list(gradients)))).norm()


# name -> what makes it from the number of tasks and the META-TARTAN settings
WEIGHTINGS: dict[str, Callable[[int, MetaConfig], Weighting]] = {
    "static": lambda num_tasks, config: StaticWeighting(num_tasks=num_tasks),
    "meta": lambda num_tasks, config: MetaWeighting(num_tasks=num_tasks, lr=config.lr),
}
