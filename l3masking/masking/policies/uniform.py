"""Random token masking: every eligible token has the same probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Uniform:
    """RTM: the same probability everywhere."""

    needs_scores: ClassVar[bool] = False

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        return np.full(num_eligible, config.mean)
