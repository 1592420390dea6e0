"""What a masking policy is: it turns the scores of one text into mask probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:  # the table of policies is read without torch
    import torch


class Policy(Protocol):
    """Turns the scores of one text into mask probabilities."""

    needs_scores: ClassVar[bool]

    def probabilities(
        self, num_eligible: int, likelihood: NDArray | None, config: MaskingConfig, generator: torch.Generator
    ) -> NDArray[np.float64]:
        """[n] in [0, 1] for n eligible tokens. `likelihood`: [n] in [0, 1], None if no scores are needed."""
        ...
