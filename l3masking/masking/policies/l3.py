"""L3Masking: the less likely the vanilla model finds a token, the more often it is masked; and its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError
from l3masking.masking.probabilities import mask_probabilities
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class L3:
    """L3Masking: the less likely a token, the more often it is masked."""

    needs_scores: ClassVar[bool] = True

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        if likelihood is None:
            raise InputError("this masking policy needs token scores: score the texts first")
        return mask_probabilities(
            likelihood,
            mean=config.mean,
            weighting=config.weighting,
            redistribute=config.redistribute,
            floor=config.floor,
        )


@dataclass(frozen=True)
class L3Shuffled:
    """Control: L3Masking's probabilities, permuted within the text, so that they no longer follow the tokens."""

    needs_scores: ClassVar[bool] = True

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        import torch

        values = L3().probabilities(num_eligible, likelihood, config, generator)
        return values[torch.randperm(num_eligible, generator=generator).numpy()]
