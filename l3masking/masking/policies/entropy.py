"""Masking by entropy: where the vanilla model is unsure, tokens are masked more often."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from l3masking.masking.policies.base import ENTROPY, PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ByEntropy:
    """Weight: entropy of the vanilla model's prediction at the token, -sum p ln p, under the mask set of the metric.

    It asks how open a place is, where L3Masking asks how surprising the word is that stands there.
    """

    summary: ClassVar[str] = "the more uncertain the vanilla model's prediction at a token, the more often it is masked"
    source: ClassVar[str] = "this project: the entropy of the prediction in place of the pseudo-likelihood"
    needs: ClassVar[frozenset[str]] = frozenset({ENTROPY})

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        return Weights(text.needed(ENTROPY))
