"""What counts as invisible, held against the Unicode property that says so."""

from __future__ import annotations

import unicodedata

import pytest

from l3masking.data.characters import is_blank, without_invisible

# Default_Ignorable_Code_Point of Unicode 15, its assigned characters
IGNORABLE = [
    *(0x00AD, 0x034F, 0x061C, 0x3164, 0xFEFF, 0xFFA0, 0xE0001),
    *(*range(0x115F, 0x1161), *range(0x17B4, 0x17B6), *range(0x180B, 0x1810), *range(0x200B, 0x2010)),
    *(*range(0x202A, 0x202F), *range(0x2060, 0x2065), *range(0x2066, 0x2070), *range(0xFE00, 0xFE10)),
    *(*range(0x1BCA0, 0x1BCA4), *range(0x1D173, 0x1D17B), *range(0xE0020, 0xE0080), *range(0xE0100, 0xE01F0)),
]


@pytest.mark.parametrize("text", ["", " ", "\t\r\n", "\u00a0\u2028\u3000", "\u2800", "\x07", *map(chr, IGNORABLE)])
def test_what_nobody_sees_is_blank(text: str) -> None:
    assert is_blank(text)
    assert is_blank(f" {text}\u200b")
    assert without_invisible(f"a{text}b").split() in (["ab"], ["a", "b"])


@pytest.mark.parametrize("text", ["a", ".", "\u200ba", "\u0301", "é", "\U0001f600", "\ufffd", "\ue000", "-"])
def test_what_is_seen_is_not_blank(text: str) -> None:
    assert not is_blank(text)


def test_white_space_and_all_that_is_seen_stay() -> None:
    kept = "".join(
        chr(code)
        for code in range(0x3000)
        if unicodedata.category(chr(code)) not in ("Cf", "Cc", "Cn") and code not in IGNORABLE and code != 0x2800
    )
    assert without_invisible(kept) == kept
    assert without_invisible(" a\tb\n\u00a0") == " a\tb\n\u00a0"
