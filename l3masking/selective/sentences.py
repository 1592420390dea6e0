"""Where sentences end, and which words are stop words, judged by the tokens of a text alone."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import decoders

from l3masking.scoring.words import EncodedText, sides_of

SURE = "。！？｡।؟۔"  # marks that end a sentence whatever follows
MARKS = r"[.!?…" + SURE + "]"
CLOSERS = r"[\"')\]}»”’]"
# marks that stand alone may have their closing brackets and quotes behind blanks: tokens of WordPiece, old data sets
END = re.compile(rf"(?<=\s){MARKS}(?:\s*{MARKS})*(?:\s*{CLOSERS})*|{MARKS}+{CLOSERS}*")
SHORT = frozenset(  # words that a full stop follows inside a sentence
    {"al", "approx", "cf", "ch", "dr", "ed", "eds", "eq", "eqs", "etc", "fig", "figs", "jr", "mr", "mrs", "ms"}
    | {"op", "pp", "prof", "ref", "refs", "resp", "sec", "sr", "st", "tab", "vol", "vs"}
)
NUMBERED = frozenset({"no", "nos"})  # short forms in front of a number, words elsewhere
BYTES = 8  # most bytes that wait for the rest of a character


def characters(tokenizer: Any, text: EncodedText) -> list[str]:
    """[n] what each eligible token stands for, with a blank in front where it begins a word.

    WordPiece keeps no blanks, so each of its words gets one. A character of several byte-level tokens belongs to the
    last of them.
    """
    ids = text.input_ids[text.positions].tolist()
    pieces = tokenizer.convert_ids_to_tokens(ids)
    backend = tokenizer.backend_tokenizer
    if "ByteLevel" in f"{backend.decoder} {backend.pre_tokenizer}":
        return _from_bytes(pieces)
    if type(backend.model).__name__ == "WordPiece":
        inside = backend.model.continuing_subword_prefix
        pieces = [piece[len(inside) :] if piece.startswith(inside) else f" {piece}" for piece in pieces]
    spelt = [piece.replace("▁", " ") for piece in pieces]
    return [" unknown" if index == tokenizer.unk_token_id else piece for index, piece in zip(ids, spelt, strict=True)]


def _from_bytes(pieces: Sequence[str]) -> list[str]:
    """The same for byte-level tokens, one letter of which is one byte."""
    decoder, waiting, spelt = decoders.ByteLevel(), "", []
    for piece in pieces:
        waiting += piece
        read = decoder.decode([waiting])
        if "\ufffd" in read and len(waiting) < BYTES:  # half a character, or that character itself
            spelt.append("")
        else:
            spelt.append(read)
            waiting = ""
    return spelt


def sentence_ends(text: str) -> list[int]:
    """Where the next sentence begins: offsets behind end marks and the closing brackets and quotes that follow them.

    A full stop ends no sentence behind a short form or a single letter, or in a decimal number, no mark in front of a
    comma, or of a letter or digit without a blank, and no ellipsis if a small letter follows in a text with capitals.
    """
    return [found.end() for found in END.finditer(text) if not _goes_on(text, found)]


def _goes_on(text: str, found: re.Match[str]) -> bool:
    """Whether a sentence goes on behind what might be its end."""
    marks = "".join(re.findall(MARKS, found.group()))
    before, after = text[: found.start()].rstrip(), text[found.end() :].lstrip()[:1]
    spaced = text[found.end() : found.end() + 1].isspace()
    if not after or marks[-1] in SURE:
        return False
    if after in ",;:" or (not spaced and after.isascii() and after.isalnum()):
        return True
    if marks == ".":
        start = len(before)
        while start and before[start - 1].isalnum():
            start -= 1
        word = before[start:].lower()
        if word in SHORT or (len(word) == 1 and word.isalpha()) or (word in NUMBERED and after.isdigit()):
            return True
        decimal = spaced == (len(before) < found.start())  # blanks on both sides of the point or on none
        return decimal and word.isdigit() and after.isdigit()
    ellipsis = set(marks) <= {".", "…"}
    return ellipsis and after.islower() and text != text.lower()


def of_tokens(tokenizer: Any, text: EncodedText) -> NDArray[np.int64]:
    """[n] number of the sentence of each eligible token, from 0. A token belongs to that of its first character.

    A sentence ends where special tokens stand behind it: between the two texts of a pair.
    """
    spelt = characters(tokenizer, text)
    starts = np.cumsum([0, *map(len, spelt)])[:-1]
    blanks = [len(piece) - len(piece.lstrip()) if piece.strip() else 0 for piece in spelt]
    ends = np.asarray(sentence_ends("".join(spelt)), dtype=np.int64)
    numbers = np.searchsorted(ends, starts + np.asarray(blanks, dtype=np.int64), side="right")
    numbers = numbers + sides_of(text.positions)
    return np.unique(numbers, return_inverse=True)[1].astype(np.int64)  # a token may hold a whole sentence's end


def stop_words(tokenizer: Any, text: EncodedText) -> NDArray[np.bool_]:
    """[n] whether each eligible token belongs to a stop word (scikit-learn's English list) or to punctuation.

    A word is all its tokens; punctuation at its ends does not count, so that "the," is a stop word.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS  # here: importing it changes torch's threads

    spelt = characters(tokenizer, text)
    flags = np.zeros(len(spelt), dtype=bool)
    cuts = np.flatnonzero(np.diff(text.words)) + 1
    for part in np.split(np.arange(len(spelt)), cuts) if spelt else []:
        word = "".join(spelt[index] for index in part).lower()
        inner = [place for place, character in enumerate(word) if _says_something(character)]
        if not inner or word[inner[0] : inner[-1] + 1] in ENGLISH_STOP_WORDS:
            flags[part] = True
        for index in part:
            flags[index] |= bool(spelt[index]) and not any(map(_says_something, spelt[index]))
    return flags


def _says_something(character: str) -> bool:
    """Whether it is a letter, a mark on one, or a digit."""
    return unicodedata.category(character)[0] in "LMN"
