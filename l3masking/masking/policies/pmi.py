"""PMI-Masking: collocations of the task's own texts are masked together."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from l3masking.errors import InputError
from l3masking.masking.policies.base import CORPUS, PolicyText, Weights
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:
    import torch

Words = tuple[tuple[int, ...], ...]  # words in a row, each as the ids of its tokens


@dataclass(frozen=True, kw_only=True)
class Pmi:
    """Collocations are masked together (PMI-Masking, Levine et al. 2021).

    The score of words w_1 ... w_n, 2 <= n <= longest, is the least over all cuts into two or more parts of
    ln [p(w_1 ... w_n) / prod p(part)], with p the relative frequency among all runs of that many words. Those that
    occur `min_count` times or more with a score above 0 are candidates; the best `share` of them are collocations. A
    text is cut from left to right: at each word the longest collocation that begins there, or else the word alone.

    The paper counts n-grams in its pre-training corpus and takes a fixed number of them. Here the masked-LM texts of
    the task are counted, and the number follows from how many candidates they have.
    """

    summary: ClassVar[str] = "collocations together, found in the task's own texts by pointwise mutual information"
    source: ClassVar[str] = "PMI-Masking: Levine et al. 2021, with collocations of the task's texts"
    needs: ClassVar[frozenset[str]] = frozenset({CORPUS})

    longest: int = 5  # words in a collocation, at least 2
    min_count: int = 5  # occurrences in the texts, at least 1
    share: float = 0.5  # of the candidates that become collocations, above 0 and at most 1
    _found: frozenset[Words] = dataclasses.field(default=frozenset(), repr=False)  # by `fitted`

    def __post_init__(self) -> None:
        if self.longest < 2:
            raise InputError(f"policy pmi: longest is {self.longest}: at least 2 words")
        if self.min_count < 1:
            raise InputError(f"policy pmi: min_count is {self.min_count}: at least 1 occurrence")
        if not 0 < self.share <= 1:
            raise InputError(f"policy pmi: share is {self.share}: above 0 and at most 1")

    @property
    def collocations(self) -> frozenset[Words]:
        """What `fitted` has found; empty before that."""
        return self._found

    def fitted(self, texts: Sequence[PolicyText]) -> Pmi:
        """This policy with the collocations of `texts`."""
        counts: list[Counter[Words]] = [Counter() for _ in range(self.longest + 1)]
        for text in texts:
            words = text.word_ids()
            for length in range(1, min(self.longest, len(words)) + 1):
                counts[length].update(tuple(words[at : at + length]) for at in range(len(words) - length + 1))
        score = scores_of(counts)
        often = (words for counter in counts[2:] for words, count in counter.items() if count >= self.min_count)
        candidates = sorted((-value, words) for words in often if (value := score(words)) > 0)
        best = candidates[: math.ceil(self.share * len(candidates))]
        return dataclasses.replace(self, _found=frozenset(words for _, words in best))

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        lengths = list(self._cut(text.word_ids()))
        group_of_word = np.repeat(np.arange(len(lengths)), np.asarray(lengths, dtype=np.int64))
        return Weights.equal(group_of_word[text.word_numbers])

    def _cut(self, words: Sequence[tuple[int, ...]]) -> Iterator[int]:
        """Lengths of the pieces of a text, in words."""
        at = 0
        while at < len(words):
            tried = range(min(self.longest, len(words) - at), 1, -1)
            length = next((n for n in tried if tuple(words[at : at + n]) in self._found), 1)
            yield length
            at += length


def scores_of(counts: Sequence[Counter[Words]]) -> Callable[[Words], float]:
    """The score of two or more words that were counted, in nats. counts[k]: of all runs of k words."""
    totals = [sum(counter.values()) for counter in counts]

    @cache
    def log_p(words: Words) -> float:
        return math.log(counts[len(words)][words] / totals[len(words)])

    @cache
    def likeliest(words: Words) -> float:
        """The largest sum of ln p over the parts of a cut, the whole among them."""
        cuts = (likeliest(words[:at]) + log_p(words[at:]) for at in range(1, len(words)))
        return max([log_p(words), *cuts])

    return lambda words: log_p(words) - max(likeliest(words[:at]) + log_p(words[at:]) for at in range(1, len(words)))
