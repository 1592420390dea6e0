"""Where sentences end, and which words are stop words, judged by the tokens of a text alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from l3masking.scoring.words import EncodedText

ENDS = frozenset(".!?…。！？")
CLOSERS = frozenset("\"')]}»”’")
SHORT = frozenset(  # words that a full stop follows inside a sentence
    {"al", "approx", "cf", "ch", "dr", "ed", "eds", "eq", "eqs", "etc", "fig", "figs", "jr", "mr", "mrs", "ms", "no"}
    | {"nos", "op", "pp", "prof", "ref", "refs", "resp", "sec", "sr", "st", "tab", "vol", "vs"}
)
MARKERS = "##", "Ġ", "▁", "Ċ"  # of pieces: inside a word, behind a blank, behind a line break


def words_in(tokenizer: Any, text: EncodedText) -> list[str]:
    """The words of a text in lower case, without the marks that tokenizers put on pieces."""
    pieces = tokenizer.convert_ids_to_tokens(text.input_ids[text.positions].tolist())
    starts = np.flatnonzero(np.diff(text.words)) + 1
    parts = np.split(np.arange(len(pieces)), starts) if pieces else []
    return ["".join(_plain(pieces[index]) for index in part).lower() for part in parts]


def _plain(piece: str) -> str:
    for marker in MARKERS:
        piece = piece.replace(marker, "") if len(piece) > len(marker) else piece
    return piece


def sentence_numbers(words: Sequence[str]) -> list[int]:
    """For each word the number of its sentence, from 0.

    A sentence ends behind a word of end marks, with the closing brackets and quotes that follow, unless a single letter
    or a known short form stands before it, or digits stand on both sides.
    """
    numbers, current, ended = [], 0, False
    for index, word in enumerate(words):
        closes = bool(word) and set(word) <= CLOSERS
        if ended and not closes and not set(word) <= ENDS:
            current, ended = current + 1, False
        numbers.append(current)
        if word and set(word) <= ENDS | CLOSERS and set(word) & ENDS:
            before = words[index - 1] if index else ""
            after = words[index + 1] if index + 1 < len(words) else ""
            inside = word == "." and (
                before in SHORT or (len(before) == 1 and before.isalpha()) or (before.isdigit() and after.isdigit())
            )
            ended = not inside
    return numbers


def of_tokens(tokenizer: Any, text: EncodedText) -> NDArray[np.int64]:
    """[n] number of the sentence of each eligible token."""
    numbers = np.asarray(sentence_numbers(words_in(tokenizer, text)), dtype=np.int64)
    return numbers[_word_of_token(text)]


def stop_words(tokenizer: Any, text: EncodedText) -> NDArray[np.bool_]:
    """[n] whether each eligible token belongs to a stop word (scikit-learn's English list) or to punctuation."""
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # here: importing it changes torch's threads

    stops = np.asarray(
        [word in ENGLISH_STOP_WORDS or not any(map(str.isalnum, word)) for word in words_in(tokenizer, text)],
        dtype=bool,
    )
    return stops[_word_of_token(text)]


def _word_of_token(text: EncodedText) -> NDArray[np.int64]:
    if not len(text.words):
        return np.zeros(0, dtype=np.int64)
    return np.cumsum(np.diff(text.words, prepend=text.words[0]) != 0)
