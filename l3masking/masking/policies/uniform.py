"""Random token masking: every eligible token has the same probability."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from l3masking.masking.policies.base import PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Uniform:
    """The same probability everywhere (RTM)."""

    summary: ClassVar[str] = "every token with the same probability"
    source: ClassVar[str] = "random token masking: Devlin et al. 2019"
    needs: ClassVar[frozenset[str]] = frozenset()

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        return Weights(np.zeros(len(text.positions)))  # none stands out: each gets the mean, without rounding
