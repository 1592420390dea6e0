"""Text to token ids as the encoder sees them: which positions are eligible, and which word each belongs to.

The same encoding serves scoring, masking and training, so that a score always belongs to the token that is masked.
"""

from __future__ import annotations

import copy
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from tokenizers import AddedToken, Encoding, Tokenizer

from l3masking.data.pairs import Text, each_part, parts_of
from l3masking.errors import InputError, check_choice
from l3masking.scoring.rewriting import cut_after, rewritten
from l3masking.scoring.settings import Normalise, ScoringConfig, Whitespace, WordSource

log = logging.getLogger(__name__)

LONGEST_WORD = 20  # tokens; beyond it a "word" is probably a sentence, in a language written without spaces
WARNED: dict[WordSource, WeakSet[Any]] = {"tokenizer": WeakSet(), "whitespace": WeakSet()}  # tokenizers, once each
TOKENIZING = threading.Lock()  # a call sets truncation on the tokenizer itself, where another thread would change it


@dataclass(frozen=True, eq=False)
class EncodedText:
    """One text, truncated, special tokens included. T input ids, n eligible positions."""

    input_ids: NDArray[np.int64]  # [T]
    positions: NDArray[np.int64]  # [n], eligible positions, rising
    words: NDArray[np.int64]  # [n], word number of each eligible position


def sides_of(positions: NDArray[np.int64]) -> NDArray[np.int64]:
    """[n] 0 or 1: the text of a pair that each eligible token belongs to. Special tokens stand only between the two."""
    return np.cumsum(np.diff(positions, prepend=positions[:1]) > 1)


def encode_as(
    config: ScoringConfig, tokenizer: Any, texts: Iterable[Text], *, limit: int | None = None
) -> list[EncodedText]:
    """Encode texts under the settings of scoring, so that scores, masks and training see the same ids.

    limit: where the ids are cut; None: at `config.max_length`.
    """
    return encode_texts(
        tokenizer,
        texts_read(config, tokenizer, texts),
        max_length=config.max_length if limit is None else limit,
        whitespace="keep",
        word_source=config.word_source,
    )


def texts_read(config: ScoringConfig, tokenizer: Any, texts: Iterable[Text]) -> list[Text]:
    """The texts as `encode_as` gives them to the tokenizer: after `config.whitespace` and `config.normalise`.

    Offsets of tokens are places in these. A text that is rewritten is first cut where its ids are, as the released code
    does; for that the tokenizer is asked. For the errors see `encode_texts`.
    """
    return _read(tokenizer, checked_texts(texts), config.max_length, config.whitespace, config.normalise)


def _read(
    tokenizer: Any, texts: list[Text], max_length: int, whitespace: Whitespace, normalise: Normalise = "none"
) -> list[Text]:
    check_choice("whitespace", whitespace, Whitespace)
    check_choice("normalise", normalise, Normalise)
    if whitespace == "collapse":
        texts = [each_part(lambda part: " ".join(part.split()), text) for text in texts]
    if normalise == "none" or not texts:
        return texts
    _check_fast(tokenizer)
    found: list[Text] = []
    for text, encoding in zip(texts, tokenizations(tokenizer, texts, max_length), strict=True):
        ends = [0, 0]
        for side, (_, end) in zip(encoding.sequence_ids, encoding.offsets, strict=True):
            if side is not None:
                ends[side] = max(ends[side], end)
        parts = [rewritten(cut_after(part, end)) for part, end in zip(parts_of(text), ends, strict=False)]
        found.append(parts[0] if isinstance(text, str) else (parts[0], parts[1]))
    return found


def encode_texts(
    tokenizer: Any,
    texts: Iterable[Text],
    *,
    max_length: int,
    whitespace: Whitespace = "collapse",
    word_source: WordSource = "tokenizer",
) -> list[EncodedText]:
    """Encode texts with special tokens, cut to `max_length` ids (specials included, the head of the text is kept).

    A text is a string, or a tuple of two that are encoded as a pair, the longer one of which is cut first. Eligible is
    what the tokenizer takes from the text. Literal special strings in a text ("[MASK]") stay plain text. A word is a
    pre-token of the tokenizer, or with `word_source="whitespace"` a run between blanks, and blanks with a token of
    their own belong to the word behind them. Raises InputError for a slow tokenizer, for a text that is no string or
    pair, and where single texts and pairs are mixed.
    """
    check_choice("whitespace", whitespace, Whitespace)
    check_choice("word_source", word_source, WordSource)
    _check_fast(tokenizer)
    texts = checked_texts(texts)
    if not texts:
        return []
    if isinstance(texts[0], tuple):
        _check_pairs(tokenizer, max_length)
    texts = _read(tokenizer, texts, max_length, whitespace)
    encoded = []
    tokenized = tokenizations(tokenizer, texts, max_length)
    for text, encoding in zip(texts, tokenized, strict=True):
        positions = np.flatnonzero(np.asarray(encoding.special_tokens_mask) == 0)
        numbers = _word_numbers(text, encoding, word_source)
        words = np.asarray([numbers[position] for position in positions], dtype=np.int64)
        encoded.append(EncodedText(np.asarray(encoding.ids, dtype=np.int64), positions, words))
    sizes = [int(np.bincount(text.words).max()) if len(text.words) else 0 for text in encoded]
    longest = int(np.argmax(sizes))
    if sizes[longest] > LONGEST_WORD and tokenizer not in WARNED[word_source]:
        WARNED[word_source].add(tokenizer)
        _warn_of_long_words(sizes[longest], tokenized[longest], word_source)
    return encoded


def _check_fast(tokenizer: Any) -> None:
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"{type(tokenizer).__name__} is a slow tokenizer without word numbers: load its fast version")


def _warn_of_long_words(size: int, encoding: Encoding, word_source: WordSource) -> None:
    """Say what a word is, what that changes, and what to set instead. encoding: of the text with the longest word."""
    what, instead = "what the tokenizer does not split before it looks for pieces", ""
    if word_source == "whitespace":
        what = "what stands between spaces"
        split = max(Counter(number for number in encoding.word_ids if number is not None).values())
        if split <= LONGEST_WORD:
            instead = f"scoring.word_source: tokenizer, for words of at most {split} tokens in the same text, or "
    log.warning(
        "a word of %d tokens: under scoring.word_source: %s a word is %s, a whole sentence in a language written "
        "without spaces. The metrics word_l2r and whole_word then mask up to a sentence to score one token of it, and "
        "the policies whole_word, span and pmi mask it as one. Set %sscoring.metric: original, which masks one token",
        size,
        word_source,
        what,
        instead,
    )


def checked_texts(texts: Iterable[Text]) -> list[Text]:
    """The texts as a list. Raises InputError, with the index, for what is no string that UTF-8 can hold, or two.

    Either every text is a string or every one is a tuple of two.
    """
    if isinstance(texts, str | bytes | Mapping) or getattr(texts, "ndim", 1) != 1 or not isinstance(texts, Iterable):
        kind = type(texts).__name__
        raise InputError(f"texts is one {kind}: give a list of strings (one text alone: [text]; a table: its column)")
    checked: list[Text] = []
    for index, text in enumerate(texts):
        parts = text if isinstance(text, tuple) and len(text) == 2 else (text,)
        if not all(isinstance(part, str) for part in parts):
            kind = type(text).__name__
            wanted = "a string, or a tuple of two for a pair"
            raise InputError(f"texts[{index}] is {text!r:.60}, a {kind}: give {wanted}, or leave this text out")
        for part in parts:
            _check_encodable(part, index)
        checked.append(each_part(str, text))
        if isinstance(checked[0], str) != isinstance(text, str):
            raise InputError(f"texts[{index}] is {text!r:.60}: single texts and pairs are mixed; encode them apart")
    return checked


def _check_pairs(tokenizer: Any, max_length: int) -> None:
    """Raise InputError where pairs cannot be told apart, or nothing of them would be left."""
    specials = tokenizer.num_special_tokens_to_add(pair=True)
    if max_length <= specials:
        raise InputError(
            f"scoring.max_length is {max_length}: pairs have {specials} special tokens, so at least {specials + 1}"
        )
    with TOKENIZING:
        sides = tokenizer("a", "a").encodings[0].sequence_ids
    if None not in sides[sides.index(0) : sides.index(1)]:
        kind = type(tokenizer).__name__
        raise InputError(f"{kind} puts no special token between two texts: pairs need an encoder whose tokenizer does")


def _check_encodable(text: str, index: int) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        wrong = f"\\u{ord(text[error.start]):04x}"
        raise InputError(
            f"texts[{index}] holds {wrong}, half of a surrogate pair: repair the text where it is read"
        ) from None


def _word_numbers(text: Text, encoding: Encoding, word_source: WordSource) -> list[int | None]:
    """[T] the word of each token, counted on from the first text of a pair to the second; None for special tokens."""
    numbers: list[int | None] = list(encoding.word_ids)
    sides = encoding.sequence_ids  # 0 or 1; None for special tokens
    if word_source == "whitespace":
        for side, part in enumerate(parts_of(text)):
            places = [place for place, one in enumerate(sides) if one == side]
            found = _blank_words(part, [encoding.offsets[place] for place in places])
            for place, number in zip(places, found, strict=True):
                numbers[place] = number
    if isinstance(text, str):
        return numbers
    first = [number for number, side in zip(numbers, sides, strict=True) if side == 0 and number is not None]
    more = max(first, default=-1) + 1
    return [
        number + more if side == 1 and number is not None else number
        for number, side in zip(numbers, sides, strict=True)
    ]


def tokenizations(tokenizer: Any, texts: Sequence[Text], max_length: int) -> list[Encoding]:
    """One encoding per text. A text in which the tokenizer's model has found a special token is read once more."""
    special = {*structural_ids(tokenizer), tokenizer.mask_token_id} - {tokenizer.unk_token_id, None}
    with TOKENIZING:
        encodings = _called(tokenizer, texts, max_length)
        found = [index for index, encoding in enumerate(encodings) if not special.isdisjoint(_ids_of_text(encoding))]
        if found:
            plain = _without_specials(tokenizer, special)
            for index, encoding in zip(found, _called(plain, [texts[i] for i in found], max_length), strict=True):
                encodings[index] = encoding
    return encodings


def _ids_of_text(encoding: Encoding) -> list[int]:
    return [i for i, added in zip(encoding.ids, encoding.special_tokens_mask, strict=True) if not added]


def _called(tokenizer: Any, texts: Sequence[Text], max_length: int) -> list[Encoding]:
    return list(
        tokenizer(
            *(list(side) for side in zip(*map(parts_of, texts), strict=True)),
            add_special_tokens=True,
            truncation=True,
            max_length=max_length,
            split_special_tokens=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        ).encodings
    )


def _without_specials(tokenizer: Any, ids: Set[int]) -> Any:
    """A copy of the tokenizer that can't make these ids, those of special tokens, out of a text.

    `split_special_tokens` stops the search for special tokens that comes before the model, except for those that a
    tokenizer.json calls not special. But a model that takes whole strings from its vocabulary (Unigram, or any without
    a split at "<") finds them there. So their pieces get names that begin with U+FFFF, which is no character.
    """
    plain = copy.deepcopy(tokenizer)
    names = plain.convert_ids_to_tokens(sorted(ids))
    plain.backend_tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    model = json.loads(plain.backend_tokenizer.to_str())["model"]
    if isinstance(model["vocab"], dict):
        model["vocab"] = {f"\uffff{i}" if i in ids else piece: i for piece, i in model["vocab"].items()}
    else:
        pieces = enumerate(model["vocab"])
        model["vocab"] = [[f"\uffff{i}" if i in ids else piece, score] for i, (piece, score) in pieces]
    parts = ("truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder")
    alone = {"version": "1.0", "added_tokens": [], **dict.fromkeys(parts), "model": model}
    plain.backend_tokenizer.model = Tokenizer.from_str(json.dumps(alone)).model
    return plain


def _blank_words(text: str, offsets: Sequence[tuple[int, int]]) -> list[int]:
    """The word of each token, from its span of characters: how many blanks stand before it in the text."""
    before = np.cumsum([0, *(character.isspace() for character in text)])
    numbers = []
    for start, end in offsets:
        # a byte-level token's span may begin with the blank before its word, so look at its last character
        last = max(end - 1, 0)
        if text[last : last + 1].isspace() and not text[start:end].strip():  # a blank alone goes to the word behind it
            last = len(text) - len(text[end:].lstrip())
        numbers.append(int(before[last]))
    return numbers


def structural_ids(tokenizer: Any) -> list[int]:
    """Ids that are never scored or masked: cls, sep, bos, eos, pad. An unknown token is an ordinary token."""
    names = ("cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id", "pad_token_id")
    ids = (getattr(tokenizer, name, None) for name in names)
    return sorted({int(value) for value in ids if value is not None})
