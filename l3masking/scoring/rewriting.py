"""How the released code of L3Masking rewrites a text before it scores and masks it.

It reads the text back from its ids, which for RoBERTa gives the text again, cut where its ids end and tidied by
transformers. Then it puts blanks around every comma, full stop and hyphen, takes out citation brackets, and deletes
every double blank that is left, so that some words are joined: "heart.  The" becomes "heart .The".
"""

from __future__ import annotations

# (what is found, what takes its place), in order, each over the whole text
TIDIED = (  # by `decode` of transformers 4.20.1, which the released code was recorded with, in its default
    (" .", "."),
    (" ?", "?"),
    (" !", "!"),
    (" ,", ","),
    (" ' ", "'"),
    (" n't", "n't"),
    (" 'm", "'m"),
    (" 's", "'s"),
    (" 've", "'ve"),
    (" 're", "'re"),
)
SPACED = (("\n", ""), (",", " , "), (".", " . "), ("-", " - "), ("  ", " "))
BRACKETS = ((" <<", ""), (">> ", ""), (" [[", ""), ("]] ", ""), ("<<", ""), (">>", ""), ("[[", ""), ("]]", ""))
JOINED = (("  ", ""),)


def rewritten(text: str) -> str:
    """The text as the released code scores and masks it. "3.5" becomes "3 . 5", "i.e." becomes "i . e . "."""
    for found, instead in (*TIDIED, *SPACED, *BRACKETS, *JOINED):
        text = text.replace(found, instead)
    return text


def cut_after(text: str, end: int) -> str:
    """The first `end` characters, or the whole text where nothing but white space follows them."""
    return text[:end] if text[end:].strip() else text
