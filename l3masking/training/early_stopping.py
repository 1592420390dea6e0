"""When to look at the validation data, which weights to keep, and when to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from torch import Tensor

from l3masking.errors import InputError, check_choice

EvaluationUnit = Literal["updates", "epochs"]


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How often the validation data are looked at."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    every: int = 30  # >= 1
    unit: EvaluationUnit = "updates"

    def __post_init__(self) -> None:
        if self.every < 1:
            raise InputError(f"evaluate.every is {self.every}: at least 1")
        check_choice("evaluate.unit", self.unit, EvaluationUnit)


@dataclass(frozen=True, kw_only=True)
class StopConfig:
    """Early stopping: when the best of the last `patience` evaluations lies strictly below the best of all."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    patience: int = 20  # evaluations, >= 1
    count_warmup: bool = True  # whether evaluations during warm-up count

    def __post_init__(self) -> None:
        if self.patience < 1:
            raise InputError(f"stop.patience is {self.patience}: at least 1 evaluation")


@dataclass(kw_only=True)
class Selection:
    """What one objective keeps of a trajectory. Several of them watch one trajectory without touching it."""

    objective: str
    config: StopConfig
    best: float = float("-inf")
    best_update: int = 0
    stop_update: int | None = None
    weights: Mapping[str, Tensor] = field(default_factory=dict, repr=False)
    _counted: list[float] = field(default_factory=list)

    def see(self, value: float, update: int, *, warming_up: bool) -> bool:
        """Take note of one evaluation; True where its weights are to be kept (ties go to the latest)."""
        if self.stop_update is not None:
            return False
        keep = value >= self.best
        if keep:
            self.best, self.best_update = value, update
        if self.config.count_warmup or not warming_up:
            self._counted.append(value)
        patience = self.config.patience
        if len(self._counted) > patience and max(self._counted[-patience:]) < self.best:
            self.stop_update = update
        return keep

    @property
    def stopped(self) -> bool:
        return self.stop_update is not None
