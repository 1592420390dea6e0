"""Task weights: fixed and equal, or learned while training (META-TARTAN, Dery et al. 2022).

K tasks, the primary one first. Weights are a softmax over K logits; logit k moves by +lr times the mean, over the
micro-steps of a window, of the cosine between task k's gradient and the gradient of the validation loss through a
freshly fitted head. The Jacobian of the softmax is left out, as in the released code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from l3masking.training.settings import MetaConfig


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

    def state(self) -> list[float]:
        """What `restore` takes, between two windows."""
        ...

    def restore(self, state: Sequence[float]) -> None: ...


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

    def state(self) -> list[float]:
        return []

    def restore(self, state: Sequence[float]) -> None:
        """Nothing was learned."""


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

    def state(self) -> list[float]:
        """[K] logits."""
        return list(self._logits)

    def restore(self, state: Sequence[float]) -> None:
        self._logits, self._window = list(state), []


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
