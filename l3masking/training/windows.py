"""What all steppers of a main stage have in common: a window is the gradient of one optimiser step."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from l3masking.training.checkpoint import Snapshot
from l3masking.training.model import MultiTaskModel
from l3masking.training.portions import Portions


class WindowStepper(ABC):
    """Makes the windows of a main stage. One that memory does not hold is made again, in smaller portions."""

    model: MultiTaskModel
    portions: Portions
    body: list[nn.Parameter]
    lm_head: list[nn.Parameter]
    head: list[nn.Parameter]
    empty_mlm_batches: int

    def window(self, update: int) -> dict[str, Tensor]:
        """Fill `param.grad` for one optimiser step; returns the mean loss of each task (nats, on the device)."""
        before = self.state()

        def undo() -> None:
            self._go_back(before)
            self.model.train()

        return self.portions.texts.attempt(lambda: self._window(update), undo)

    def restore(self, saved: Snapshot) -> None:
        """Go on where `state` was taken."""
        self.portions.restore(saved.facts["portions"])
        self._go_back(saved)

    @abstractmethod
    def task_weights(self) -> dict[str, float]:
        """Task and the weight of its loss."""

    @abstractmethod
    def state(self) -> Snapshot:
        """What the next windows depend on beside the model."""

    @abstractmethod
    def _window(self, update: int) -> dict[str, Tensor]:
        """As `window`, all of it in portions of the present size."""

    @abstractmethod
    def _go_back(self, saved: Snapshot) -> None:
        """As `restore`, but for the size of portions."""


def gradients_of(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    """The gradient of each parameter, zero for those that the loss does not reach."""
    return list(torch.autograd.grad(loss, parameters, materialize_grads=True))


def accumulate_gradients(parameters: Sequence[nn.Parameter], gradients: Sequence[Tensor], weight: float) -> None:
    """param.grad += weight * gradient."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    torch._foreach_add_([p.grad for p in parameters if p.grad is not None], list(gradients), alpha=weight)
