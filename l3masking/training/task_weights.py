"""Task weights: fixed and equal, or learned while training (META-TARTAN, Dery et al. 2022).

K tasks, the primary one first. Weights are a softmax over K logits; logit k moves by +lr times the mean, over the
micro-steps of a window, of the cosine between task k's gradient and the gradient of the validation loss through a
freshly fitted head. The Jacobian of the softmax is left out, as in the released code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import torch
from torch import Tensor

from l3masking.training.settings import MetaConfig

CPU = torch.device("cpu")


class Weighting(Protocol):
    """Task weights that may learn, on the device of the gradients: nothing here waits for it.

    `observe` and `update` are called only where it learns.
    """

    learns: ClassVar[bool]

    def weights(self) -> Tensor:
        """[K] float64, positive, sums to 1."""
        ...

    def observe(self, cosines_K: Tensor) -> None:
        """Take the cosines of one micro-step."""
        ...

    def update(self) -> None:
        """Move the weights, once per optimiser step."""
        ...

    def state(self) -> Tensor:
        """What `restore` takes, between two windows."""
        ...

    def restore(self, state: Tensor) -> None: ...


@dataclass(kw_only=True, eq=False)
class StaticWeighting:
    """Equal weights 1/K that never move."""

    num_tasks: int
    device: torch.device = CPU
    learns: ClassVar[bool] = False

    def weights(self) -> Tensor:
        return _equal(self.num_tasks, self.device)

    def observe(self, cosines_K: Tensor) -> None:
        """Nothing is learned."""

    def update(self) -> None:
        """Nothing moves."""

    def state(self) -> Tensor:
        return torch.empty(0)

    def restore(self, state: Tensor) -> None:
        """Nothing was learned."""


@dataclass(kw_only=True, eq=False)
class MetaWeighting:
    """Learned weights. Logits start at 1/K each."""

    num_tasks: int
    lr: float
    device: torch.device = CPU
    learns: ClassVar[bool] = True
    _logits: Tensor = field(init=False)  # float64; replaced, never written to, so that a snapshot may hold it
    _window: list[Tensor] = field(init=False, default_factory=list)  # cosines [K] of each micro-step

    def __post_init__(self) -> None:
        self._logits = _equal(self.num_tasks, self.device)

    def weights(self) -> Tensor:
        """softmax of the logits."""
        return self._logits.softmax(dim=0)

    def observe(self, cosines_K: Tensor) -> None:
        """Take the cosines of one micro-step."""
        self._window.append(cosines_K)

    def update(self) -> None:
        """a_k += lr * mean cosine of the window, once per optimiser step; the window starts anew."""
        self._logits = self._logits + self.lr * torch.stack(self._window).double().mean(dim=0)
        self._window = []

    def state(self) -> Tensor:
        """[K] logits."""
        return self._logits

    def restore(self, state: Tensor) -> None:
        self._logits, self._window = state.to(self.device), []


def _equal(num_tasks: int, device: torch.device) -> Tensor:
    return torch.full((num_tasks,), 1 / num_tasks, dtype=torch.float64, device=device)


# name -> what makes it from the number of tasks, the META-TARTAN settings and the device of the gradients
WEIGHTINGS: dict[str, Callable[[int, MetaConfig, torch.device], Weighting]] = {
    "static": lambda num_tasks, config, device: StaticWeighting(num_tasks=num_tasks, device=device),
    "meta": lambda num_tasks, config, device: MetaWeighting(num_tasks=num_tasks, lr=config.lr, device=device),
}
