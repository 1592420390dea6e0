"""Characters that nobody sees: white space, format and control characters, fillers. What a text or label looks like."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

# Shown as nothing, although their category says letter, mark or symbol: joiners, Hangul fillers, variation selectors,
# the empty Braille cell. Format (Cf) and control (Cc) characters are found by their category.
UNSEEN = frozenset({0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0}).union(
    range(0x180B, 0x1810), range(0xFE00, 0xFE10), range(0xE0100, 0xE01F0)
)


def is_blank(text: str) -> bool:
    """Whether nothing of a text can be seen: it is empty, or all white space and invisible characters."""
    return all(character.isspace() or _invisible(character) for character in text)


def without_invisible(text: str) -> str:
    """`text` without its invisible characters; white space stays."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character for character in text if character.isspace() or not _invisible(character))


@lru_cache(maxsize=4096)
def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cf", "Cc") or ord(character) in UNSEEN
