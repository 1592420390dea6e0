"""The part of speech of each token.

A tagger gives spans of characters, so that no quote or bracket has to be rewritten. A token, also a piece of a word,
takes the tag of the span in which it starts (Kimura et al. 2024: each subword takes the tag of its word).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError
from l3masking.scoring.places import TokenPlaces

TaggedSpan = tuple[int, int, str]  # first character, the one behind the last, tag


class Tagger(Protocol):
    """Finds words in a text and says what part of speech each is."""

    @property
    def name(self) -> str:
        """Name and version, as they stand beside every table."""
        ...

    def tag(self, text: str) -> Sequence[TaggedSpan]:
        """The words of a text as spans, rising and without overlap."""
        ...


class _Tags(NamedTuple):
    """The spans of one string."""

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    tags: Sequence[str]


class TokenTagger:
    """Gives tokens their tags. Each string is tagged once, however many encoders and texts it belongs to."""

    def __init__(self, tagger: Tagger) -> None:
        self.name = tagger.name
        self._tags_of = cache(lambda text: _checked(tagger.name, text, tagger.tag(text)))

    def tags(self, places: TokenPlaces) -> list[str | None]:
        """[n] the tag of each token of a text; None for a token that starts in no word of the tagger.

        Raises InputError where the tagger gives spans that lie outside the text, overlap or have no tag.
        """
        found: list[str | None] = [None] * len(places.starts)
        for side, part in enumerate(places.parts):
            spans = self._tags_of(part)
            tokens = np.flatnonzero(places.sides == side)
            starts = places.starts[tokens]
            numbers = np.searchsorted(spans.starts, starts, side="right") - 1
            for token, start, number in zip(tokens, starts, numbers, strict=True):
                if number >= 0 and start < spans.ends[number]:
                    found[token] = spans.tags[number]
        return found


def _checked(name: str, text: str, spans: Sequence[TaggedSpan]) -> _Tags:
    last = 0
    for start, end, tag in spans:
        if not (last <= start < end <= len(text) and isinstance(tag, str) and tag):
            raise InputError(
                f"tagger {name} gives the span ({start}, {end}, {tag!r}) for {text!r:.60}: give rising spans inside "
                "the text that do not overlap, each with a tag"
            )
        last = end
    return _Tags(
        np.asarray([start for start, _, _ in spans], dtype=np.int64),
        np.asarray([end for _, end, _ in spans], dtype=np.int64),
        [tag for _, _, tag in spans],
    )
