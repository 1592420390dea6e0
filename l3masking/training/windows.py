"""What all steppers of a main stage have in common: a window is the gradient of one optimiser step."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

from l3masking.training.checkpoint import Snapshot
from l3masking.training.model import MultiTaskModel
from l3masking.training.portions import Portions


class WindowStepper(ABC):
    """Makes the windows of a main stage. One that memory does not hold is made again, in smaller portions."""

    model: MultiTaskModel
    portions: Portions
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
