"""Policies that mask several tokens together: whole words, spans of words, and collocations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError
from l3masking.masking.policies.base import CORPUS, PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch

Word = tuple[int, ...]  # the ids of its tokens


@dataclass(frozen=True)
class WholeWord:
    """The tokens of a word are masked together."""

    summary: ClassVar[str] = "whole words with the same probability"
    needs: ClassVar[frozenset[str]] = frozenset()

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        return together(word_numbers(text))


@dataclass(frozen=True, kw_only=True)
class Span:
    """Spans of whole words are masked together; their lengths are those of SpanBERT (Joshi et al. 2020).

    A length k has a probability in proportion to (1 - p)^(k - 1) p, for 1 <= k <= longest. SpanBERT draws new spans
    each time. Here each text is cut into spans once per seed, and each span is masked or not, so that every token has
    exactly the wanted probability.
    """

    summary: ClassVar[str] = "spans of whole words, with the lengths of SpanBERT"
    needs: ClassVar[frozenset[str]] = frozenset()

    p: float = 0.2  # of the geometric distribution, in (0, 1)
    longest: int = 10  # words in a span, >= 1

    def __post_init__(self) -> None:
        if not 0 < self.p < 1:
            raise InputError(f"policy span: p is {self.p}: it lies between 0 and 1")
        if self.longest < 1:
            raise InputError(f"policy span: longest is {self.longest}: at least 1 word")

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        import torch

        words = word_numbers(text)
        if not len(words):
            return together(words)
        chances = [(1 - self.p) ** (length - 1) * self.p for length in range(1, self.longest + 1)]
        count = int(words[-1]) + 1
        lengths = 1 + torch.multinomial(torch.tensor(chances), count, replacement=True, generator=generator).numpy()
        span_of_word = np.repeat(np.arange(count), lengths)[:count]
        return together(span_of_word[words])


@dataclass(frozen=True, kw_only=True)
class Pmi:
    """Collocations are masked together (PMI-Masking, Levine et al. 2021).

    The score of words w_1 ... w_n, 2 <= n <= longest, is the least over all cuts into two or more parts of
    ln [p(w_1 ... w_n) / prod p(part)], with p the relative frequency among all sequences of that length. The best
    `share` of those that occur `min_count` times with a score above 0 are collocations. A text is cut from left to
    right into the longest collocation that begins at each word, or the word alone.
    """

    summary: ClassVar[str] = "collocations of the task's own texts, found by pointwise mutual information"
    needs: ClassVar[frozenset[str]] = frozenset({CORPUS})

    longest: int = 5  # words in a collocation, >= 2
    min_count: int = 5  # occurrences in the texts, >= 1
    share: float = 0.5  # of the candidates that become collocations, in (0, 1]
    collocations: frozenset[tuple[Word, ...]] = field(default=frozenset(), repr=False)  # what `fitted` has found

    def __post_init__(self) -> None:
        if self.longest < 2 or self.min_count < 1 or not 0 < self.share <= 1:
            raise InputError(
                f"policy pmi: longest {self.longest}, min_count {self.min_count}, share {self.share}: at least 2 "
                "words, at least 1 occurrence, and a share in (0, 1]"
            )

    def fitted(self, texts: Sequence[PolicyText]) -> Pmi:
        """This policy with the collocations of `texts`."""
        counts: list[Counter[tuple[Word, ...]]] = [Counter() for _ in range(self.longest + 1)]
        for text in texts:
            words = words_of(text)
            for length in range(1, min(self.longest, len(words)) + 1):
                counts[length].update(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
        totals = [sum(counter.values()) for counter in counts]

        @cache
        def log_p(words: tuple[Word, ...]) -> float:
            return math.log(counts[len(words)][words] / totals[len(words)])

        @cache
        def densest(words: tuple[Word, ...]) -> float:
            """The largest sum of log p over the parts of any cut, the whole among them."""
            cuts = (densest(words[:at]) + log_p(words[at:]) for at in range(1, len(words)))
            return max([log_p(words), *cuts])

        def score(words: tuple[Word, ...]) -> float:
            return log_p(words) - max(densest(words[:at]) + log_p(words[at:]) for at in range(1, len(words)))

        often = (words for counter in counts[2:] for words, count in counter.items() if count >= self.min_count)
        candidates = [(value, words) for words in often if (value := score(words)) > 0]
        candidates.sort(key=lambda candidate: (-candidate[0], candidate[1]))
        best = candidates[: math.ceil(self.share * len(candidates))]
        return Pmi(
            longest=self.longest,
            min_count=self.min_count,
            share=self.share,
            collocations=frozenset(words for _, words in best),
        )

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        lengths = list(self._cut(words_of(text)))
        group_of_word = np.repeat(np.arange(len(lengths)), lengths)
        return together(group_of_word[word_numbers(text)])

    def _cut(self, words: Sequence[Word]) -> Iterator[int]:
        """Lengths of the pieces of a text."""
        at = 0
        while at < len(words):
            tried = range(min(self.longest, len(words) - at), 1, -1)
            length = next((n for n in tried if tuple(words[at : at + n]) in self.collocations), 1)
            yield length
            at += length


def word_numbers(text: PolicyText) -> NDArray[np.int64]:
    """[n] number of each token's word, counted from 0 without gaps."""
    if not len(text.words):
        return np.zeros(0, dtype=np.int64)
    return np.cumsum(np.diff(text.words, prepend=text.words[0]) != 0)


def words_of(text: PolicyText) -> list[Word]:
    """The ids of each word, in order."""
    ids = text.input_ids[text.positions]
    starts = np.flatnonzero(np.diff(text.words)) + 1
    return [tuple(part.tolist()) for part in np.split(ids, starts)] if len(ids) else []


def together(groups: NDArray[np.int64]) -> Weights:
    """Equal weights, masked by groups."""
    return Weights(np.zeros(len(groups)), np.asarray(groups, dtype=np.int64))
