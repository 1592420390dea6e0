"""A masking policy of your own: tokens that few texts hold are masked more often.

The weight of a token is its inverse document frequency to a power, ln((1 + N) / (1 + n)) ** power, where n of the N
masked-LM texts of the task hold the token. A token of every text has the weight 0. Check the file with

    l3study check-policy docs/examples/my_policy.py --set power=2
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import log
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from l3masking.errors import InputError
from l3masking.masking import MaskingConfig
from l3masking.masking.policies import PolicyText, Weights

if TYPE_CHECKING:  # reading the policy needs no torch
    import torch


@dataclass(frozen=True)
class Policy:
    """The class must have this name. Its fields are the settings, except those that begin with `_`."""

    summary: ClassVar[str] = "the fewer texts hold a token, the more often it is masked"
    source: ClassVar[str] = "inverse document frequency: Sparck Jones 1972"
    needs: ClassVar[frozenset[str]] = frozenset({"corpus"})  # so `fitted` is called with the texts first

    power: float = 1.0  # of the inverse document frequency, at least 0; 0 masks all tokens equally
    whole_words: bool = True  # mask the tokens of a word together
    _texts: int = 0  # N, found by `fitted`
    _held_by: Mapping[int, int] = field(default_factory=dict, repr=False)  # token id -> n, found by `fitted`

    def __post_init__(self) -> None:
        if self.power < 0:
            raise InputError(f"power is {self.power}: at least 0")

    def fitted(self, texts: Sequence[PolicyText]) -> Policy:
        """This policy with the document frequencies of `texts`."""
        counts: Counter[int] = Counter()
        for text in texts:
            counts.update(np.unique(text.input_ids[text.positions]).tolist())
        return replace(self, _texts=len(texts), _held_by=dict(counts))

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        """One weight per token that may be masked; what is random comes from `generator` (here nothing is)."""
        ids = text.input_ids[text.positions].tolist()
        rarity = [log((1 + self._texts) / (1 + self._held_by.get(token, 0))) for token in ids]
        values = np.array(rarity, dtype=np.float64) ** self.power
        return Weights(values, text.word_numbers if self.whole_words else None)
