"""Masking by importance: what a classifier of the task needs is masked more often (after "Train No Evil")."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from l3masking.masking.policies.base import IMPORTANCE, PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class ByImportance:
    """Weight: importance of the token. A text without an important token is masked at random."""

    summary: ClassVar[str] = "the more a fine-tuned classifier needs a token, the more often it is masked"
    source: ClassVar[str] = 'the importance of Selective Masking ("Train No Evil", Gu et al. 2020) as a weight'
    needs: ClassVar[frozenset[str]] = frozenset({IMPORTANCE})

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        return Weights(text.needed(IMPORTANCE))
