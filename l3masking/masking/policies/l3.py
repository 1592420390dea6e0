"""L3Masking: the less likely the vanilla model finds a token, the more often it is masked; and its control."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from l3masking.masking.policies.base import LIKELIHOOD, PolicyText, Weights
from l3masking.masking.probabilities import token_weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class L3:
    """Weight 1 - PLT, or -ln PLT, of the token's pseudo-likelihood (Kimura et al. 2024, Eq. 3)."""

    summary: ClassVar[str] = "the less likely the vanilla model finds a token, the more often it is masked (L3Masking)"
    source: ClassVar[str] = "Kimura, Komamizu and Hatano 2024, section 3"
    needs: ClassVar[frozenset[str]] = frozenset({LIKELIHOOD})

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        return Weights(token_weights(text.needed(LIKELIHOOD), config.weighting))


@dataclass(frozen=True)
class L3Shuffled:
    """Control: the probabilities of L3Masking, permuted within the text, so that they no longer follow the tokens."""

    summary: ClassVar[str] = "the probabilities of L3Masking, permuted within each text (control)"
    source: ClassVar[str] = "a control of this project: what the choice of tokens contributes"
    needs: ClassVar[frozenset[str]] = frozenset({LIKELIHOOD})

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        import torch

        values = L3().weights(text, config, generator).values
        # permuted after calibration, whose sums would round differently in another order
        return Weights(values, order=torch.randperm(len(values), generator=generator).numpy())
