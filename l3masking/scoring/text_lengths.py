"""How long texts are to an encoder, in ids, before anything is cut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from l3masking.data.pairs import Text
from l3masking.scoring.settings import ScoringConfig, Whitespace
from l3masking.scoring.words import texts_read, tokenizations

UNCUT = 2**31 - 1  # ids, more than any text has
AT_ONCE = 1024  # texts whose encodings are in memory while their ids are counted


def count_ids(tokenizer: Any, texts: Iterable[Text], *, whitespace: Whitespace = "collapse") -> list[int]:
    """Ids of each text as `encode_texts` would give them if it cut nothing, special tokens included."""
    read, counts = texts_read(ScoringConfig(whitespace=whitespace), tokenizer, texts), list[int]()
    for start in range(0, len(read), AT_ONCE):
        counts += [len(encoding) for encoding in tokenizations(tokenizer, read[start : start + AT_ONCE], UNCUT)]
    return counts
