"""Text to token ids as the encoder sees them: which positions are eligible, and which word each belongs to.

The same encoding serves scoring, masking and training, so that a score always belongs to the token that is masked.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError

log = logging.getLogger(__name__)

Whitespace = Literal["collapse", "keep"]
WordSource = Literal["tokenizer", "whitespace"]
LONGEST_WORD = 20  # pieces; beyond it the tokenizer probably has no pre-tokenizer and a "word" is no word


@dataclass(frozen=True, eq=False)
class EncodedText:
    """One text, truncated, special tokens included. T input ids, n eligible positions."""

    input_ids: NDArray[np.int64]  # [T]
    positions: NDArray[np.int64]  # [n], eligible positions, rising
    words: NDArray[np.int64]  # [n], word number of each eligible position


def encode_texts(
    tokenizer: Any,
    texts: Sequence[str],
    *,
    max_length: int,
    whitespace: Whitespace = "collapse",
    word_source: WordSource = "tokenizer",
) -> list[EncodedText]:
    """Encode texts with special tokens, cut to `max_length` ids (specials included, the head of the text is kept).

    Literal special strings in a text ("[MASK]") stay plain text. A word is a pre-token of the tokenizer, or with
    `word_source="whitespace"` a run between blanks. Raises InputError for a slow tokenizer.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"{type(tokenizer).__name__} is a slow tokenizer without word numbers: load its fast version")
    if not texts:
        return []
    clean = [" ".join(text.split()) if whitespace == "collapse" else text for text in texts]
    encoding = tokenizer(
        clean,
        add_special_tokens=True,
        truncation=True,
        max_length=max_length,
        split_special_tokens=True,
        return_attention_mask=False,
        return_token_type_ids=False,
    )
    special = structural_ids(tokenizer)
    encoded = []
    for index, text in enumerate(clean):
        ids = np.asarray(encoding["input_ids"][index], dtype=np.int64)
        positions = np.flatnonzero(~np.isin(ids, special))
        if word_source == "tokenizer":
            numbers = encoding.word_ids(index)
        else:
            starts = np.cumsum([0, *(character.isspace() for character in text)])
            offsets = encoding[index].offsets
            # a byte-level token's span may begin with the blank before its word, so look at its last character
            numbers = [int(starts[max(end - 1, 0)]) for _, end in offsets]
        words = np.asarray([numbers[position] for position in positions], dtype=np.int64)
        encoded.append(EncodedText(ids, positions, words))
    longest = max((int(np.bincount(text.words).max()) for text in encoded if len(text.words)), default=0)
    if longest > LONGEST_WORD:
        log.warning("a word of %d tokens: does this tokenizer split words? word_l2r masks all of them at once", longest)
    return encoded


def structural_ids(tokenizer: Any) -> list[int]:
    """Ids that are never scored or masked: cls, sep, bos, eos, pad. An unknown token is an ordinary token."""
    names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    ids = (getattr(tokenizer, name, None) for name in names)
    return sorted({int(value) for value in ids if value is not None})
