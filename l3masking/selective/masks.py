"""Which tokens of a sentence Selective Masking masks, and its control with as many at random places."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking.errors import InputError

Choice = Literal["important", "random"]


def chosen_tokens(
    importance: NDArray[np.floating],
    sentences: NDArray[np.int64],
    max_rate: float,
    choice: Choice,
    generator: torch.Generator,
) -> NDArray[np.bool_]:
    """[n] which tokens of one text are masked.

    importance: [n], above 0 where a token is important. sentences: [n] number of each token's sentence. Of each
    sentence of k tokens the most important ones are taken, at most max(1, floor(max_rate k)), none where none is
    important (Gu et al. 2020, released code). "random": as many of each sentence, at places drawn from `generator`.
    """
    chosen = np.zeros(len(importance), dtype=bool)
    for number in np.unique(sentences):
        members = np.flatnonzero(sentences == number)
        most = max(1, int(max_rate * len(members)))
        ranked = members[np.argsort(-importance[members], kind="stable")]
        taken = ranked[:most][importance[ranked[:most]] > 0]
        if choice == "random":
            taken = members[torch.randperm(len(members), generator=generator)[: len(taken)].numpy()]
        chosen[taken] = True
    return chosen


@dataclass
class Counts:
    """How many tokens were chosen."""

    texts: int = 0
    tokens: int = 0
    chosen: int = 0

    def watch(self, choices: Iterable[NDArray[np.bool_]]) -> Iterator[NDArray[np.bool_]]:
        """Count on the way."""
        for choice in choices:
            self.texts, self.tokens = self.texts + 1, self.tokens + len(choice)
            self.chosen += int(choice.sum())
            yield choice

    def check(self, delta: float) -> None:
        """Raise InputError where no token was chosen."""
        if not self.chosen:
            raise InputError(
                f"selective.delta is {delta}: none of {self.tokens} tokens in {self.texts} texts is important, so "
                "there is nothing to mask: take a larger delta, or criterion: signed"
            )
