"""When to look at the validation data, which weights to keep, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from l3masking.training.settings import StopConfig


@dataclass(kw_only=True)
class Selection:
    """What one objective keeps of a trajectory. Several of them watch one trajectory without touching it."""

    objective: str
    config: StopConfig
    best: float = float("-inf")
    best_update: int = 0  # of equal values the latest, whose weights are kept
    first_best_update: int = 0  # of equal values the first
    stop_update: int | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    counted: list[float] = field(default_factory=list)  # values that count for patience, in order

    def see(self, value: float, update: int, *, warming_up: bool) -> bool:
        """Take note of one evaluation; True where its weights are to be kept (ties go to the latest)."""
        if self.stop_update is not None:
            return False
        keep = value >= self.best
        if value > self.best:
            self.first_best_update = update
        if keep:
            self.best, self.best_update = value, update
        if self.config.count_warmup or not warming_up:
            self.counted.append(value)
        patience = self.config.patience
        if len(self.counted) > patience and max(self.counted[-patience:]) < self.best:
            self.stop_update = update
        return keep

    @property
    def stopped(self) -> bool:
        return self.stop_update is not None
