"""Which tokens of a sentence Selective Masking masks, and its control with as many at random places."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

Choice = Literal["important", "random"]


def chosen_tokens(
    importance: NDArray[np.floating],
    sentences: NDArray[np.int64],
    max_rate: float,
    choice: Choice,
    generator: torch.Generator,
) -> NDArray[np.bool_]:
    """[n] which tokens of one text are masked.

    importance: [n], above 0 for important tokens. sentences: [n] number of each token's sentence. Of each sentence of k
    tokens the most important ones are taken, at most max(1, floor(max_rate k)); a sentence without an important token
    gets no mask (Gu et al. 2020, released code). "random": as many of each sentence, at places drawn from `generator`.
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
