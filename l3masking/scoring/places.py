"""Where the tokens of a text stand in it, in characters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3masking.data.pairs import Text, parts_of
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import texts_read, tokenizations


@dataclass(frozen=True, eq=False, kw_only=True)
class TokenPlaces:
    """The places of the n eligible tokens of one text, in the characters of its parts."""

    parts: tuple[str, ...]  # the one string of the text, or both of a pair, as they were encoded
    sides: NDArray[np.int64]  # [n] the part that each token belongs to
    starts: NDArray[np.int64]  # [n] its first character that is no blank, in that part
    ends: NDArray[np.int64]  # [n] the first character behind it

    def surfaces(self) -> list[str]:
        """[n] the characters of each token; empty for a token that is a blank."""
        places = zip(self.sides, self.starts, self.ends, strict=True)
        return [self.parts[side][start:end] for side, start, end in places]


def token_places(config: ScoringConfig, tokenizer: Any, texts: Iterable[Text]) -> list[TokenPlaces]:
    """The places of the eligible tokens that `encode_as` gives for the same texts, one entry per text.

    A byte-level or SentencePiece token may begin with the blank before its word: its place begins behind the blank. A
    token that is a blank alone stands where the word behind it begins.
    """
    prepared = texts_read(config, tokenizer, texts)
    if not prepared:
        return []
    return [
        _places(parts_of(text), encoding)
        for text, encoding in zip(prepared, tokenizations(tokenizer, prepared, config.max_length), strict=True)
    ]


def _places(parts: tuple[str, ...], encoding: Any) -> TokenPlaces:
    positions = np.flatnonzero(np.asarray(encoding.special_tokens_mask) == 0)
    sides = np.asarray([encoding.sequence_ids[at] or 0 for at in positions], dtype=np.int64)
    offsets = np.asarray([encoding.offsets[at] for at in positions], dtype=np.int64).reshape(-1, 2)
    behind = [_next_seen(part) for part in parts]
    starts = np.asarray([behind[s][start] for s, start in zip(sides, offsets[:, 0], strict=True)], dtype=np.int64)
    return TokenPlaces(parts=parts, sides=sides, starts=starts, ends=offsets[:, 1])


def _next_seen(text: str) -> Sequence[int]:
    """For each character, and for the end of the text, the first one from there on that is no blank."""
    found = [len(text)] * (len(text) + 1)
    for at in range(len(text) - 1, -1, -1):
        found[at] = found[at + 1] if text[at].isspace() else at
    return found
