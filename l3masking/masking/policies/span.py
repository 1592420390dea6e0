"""Span masking: runs of whole words are masked together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from l3masking.errors import InputError
from l3masking.masking.policies.base import PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Span:
    """Spans of whole words, with the lengths of SpanBERT (Joshi et al. 2020, section 3.1).

    A length k has a probability in proportion to (1 - p)^(k - 1) p, for 1 <= k <= longest; with p = 0.2 and 10 words
    the mean is 3.8. The last span of a text ends with the text.

    SpanBERT draws fresh spans whenever a text is masked, until 15 % of its tokens are masked, and replaces all tokens
    of a span alike (80 % mask, 10 % random, 10 % unchanged). Here a text is cut into spans once per seed, and only
    which spans are masked is drawn afresh; each of their tokens is replaced on its own. Every token then has exactly
    the wanted probability, also near the ends of a text, and the draws are those of every other policy.
    """

    summary: ClassVar[str] = "spans of whole words together, with the lengths of SpanBERT"
    source: ClassVar[str] = "SpanBERT: Joshi et al. 2020, with spans that are fixed for each seed"
    needs: ClassVar[frozenset[str]] = frozenset()

    p: float = 0.2  # of the geometric distribution of lengths, above 0 and below 1
    longest: int = 10  # words in a span, at least 1

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise InputError(f"policy span: p is {self.p}: it lies between 0 and 1")
        if self.longest < 1:
            raise InputError(f"policy span: longest is {self.longest}: at least 1 word")

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        import torch

        words = text.word_numbers
        if not len(words):
            return Weights.equal(words)
        chances = [(1 - self.p) ** (length - 1) * self.p for length in range(1, self.longest + 1)]
        count = int(words[-1]) + 1
        weights = torch.tensor(chances, dtype=torch.float64)
        lengths = 1 + torch.multinomial(weights, count, replacement=True, generator=generator).numpy()
        span_of_word = np.repeat(np.arange(count), lengths)[:count]
        return Weights.equal(span_of_word[words])
