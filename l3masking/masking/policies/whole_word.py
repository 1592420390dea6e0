"""Whole-word masking: the tokens of a word are masked together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from l3masking.masking.policies.base import PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class WholeWord:
    """The tokens of a word are masked together. A word is what `scoring.word_source` says."""

    summary: ClassVar[str] = "the tokens of a word together, every word with the same probability"
    source: ClassVar[str] = "whole-word masking, an option of BERT's released code: Devlin et al. 2019"
    needs: ClassVar[frozenset[str]] = frozenset()

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        return Weights.equal(text.word_numbers)
