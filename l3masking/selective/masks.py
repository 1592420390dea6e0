"""Which tokens of a sentence Selective Masking masks, and its control with as many at random places."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from l3masking.data.pairs import Text
from l3masking.errors import InputError
from l3masking.scoring.words import EncodedText
from l3masking.selective.sentences import of_tokens, stop_words
from l3masking.selective.settings import SelectiveConfig

log = logging.getLogger(__name__)

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
        most = max(1, int(max_rate * len(members) + 1e-9))  # 0.29 * 100 is 28.999...
        ranked = members[np.argsort(-importance[members], kind="stable")]
        taken = ranked[:most][importance[ranked[:most]] > 0]
        if choice == "random":
            taken = members[torch.randperm(len(members), generator=generator)[: len(taken)].numpy()]
        chosen[taken] = True
    return chosen


def checked_importance(
    texts: Iterable[tuple[Text, NDArray[np.float64]]],
    tokenizer: Any,
    encode: Callable[[Text], EncodedText],
    config: SelectiveConfig,
) -> Iterator[NDArray[np.float64]]:
    """The importance [n] of each text, above 0 for important tokens, passed on as it is.

    encode: the token ids of a text, asked for until importance is seen to tell tokens apart.

    At the end raises InputError, with the count, where no token was important, and warns where all were that may be, in
    every unit that has any: the masks are then as good as random ones.
    """
    tokens = important = 0
    tells = False  # whether some unit holds important tokens and others that may be, but are not
    for text, values in texts:
        tokens, important = tokens + len(values), important + int(np.count_nonzero(values))
        tells = tells or _tells_apart(tokenizer, encode(text), values, config)
        yield values
    if not important:
        raise InputError(
            f"selective.delta is {config.delta:g}: none of {tokens} tokens is important, so there is nothing to mask: "
            "take a larger delta, or criterion: signed"
        )
    if not tells:
        log.warning(
            "selective.delta is %g: %d of %d tokens are important, all%s of each %s that has any, so "
            "importance does not tell tokens apart: take a smaller delta",
            *(config.delta, important, tokens, " but stop words" if config.stop_words else "", config.unit),
        )


def _tells_apart(tokenizer: Any, text: EncodedText, values: NDArray[np.float64], config: SelectiveConfig) -> bool:
    """Whether a unit of the text holds important tokens and others that may be important, but are not."""
    if len(values) != len(text.positions):
        return False  # of another text, which is refused elsewhere
    units = of_tokens(tokenizer, text) if config.unit == "sentence" else np.zeros(len(values), dtype=np.int64)
    may = ~stop_words(tokenizer, text) if config.stop_words else np.ones(len(values), dtype=bool)
    return bool(np.any(may & (values == 0) & np.isin(units, units[values > 0])))
