"""Sentences and stop words of tokens, under tokenizers that keep blanks and such that do not."""

from __future__ import annotations

from typing import Any

import pytest
from small_task import tokenizer
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from l3masking.scoring.words import encode_texts
from l3masking.selective.sentences import characters, of_tokens, sentence_ends, stop_words

SPECIAL = {"cls_token": "<s>", "sep_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>", "mask_token": "<mask>"}
TEXT = "He said “it works…” today. Not so! 他说了。我们看见了。"
LEARNT = [TEXT, "the café, of course"] * 3


def byte_level() -> Any:
    """As RoBERTa's tokenizer."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    return trained(made, trainers.BpeTrainer(vocab_size=300, initial_alphabet=letters, **LEARNING))


def sentence_piece() -> Any:
    """As XLM-R's: a word is all between two blanks."""
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer, made.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    return trained(made, trainers.UnigramTrainer(vocab_size=100, unk_token="<unk>", **LEARNING))


LEARNING = {"special_tokens": list(SPECIAL.values()), "show_progress": False}


def trained(made: Tokenizer, trainer: Any) -> Any:
    made.train_from_iterator(LEARNT, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=made, **SPECIAL)


@pytest.mark.parametrize(
    "text",  # with | where a sentence ends
    [
        "we see . | we use .",
        "we see ? ! ) | we",
        "see fig . 3 here . | new",
        "j . smith et al . said . | old",
        "of 3 . 5 and 7 . | we",
        "",
        "Of 3.5 and 7. | In 1990. | 5 of them!",
        "Prof. J. Smith (cf. fig. 3), e.g. in the U.S.A. now. | It ends.",
        "He said no. | No. 5 is here.",
        "Well... so it is... | So! | “It ends.” | Yes",
        "see www.x.org/a.b for it! | Now",
        "他说了这个。|我们看见了！|好",
        "well ... | so . . . | and",
        "by d1 , . . . , dn ( Och etc.), and (see p.);  Yahoo!, too",
    ],
)
def test_sentences(text: str) -> None:
    parts = text.split("|")
    whole = "".join(parts)
    cuts = [whole[:end].rstrip() for end in sentence_ends(whole)]
    expected = ["".join(parts[:count]).rstrip() for count in range(1, len(parts))]
    assert [cut for cut in cuts if cut != whole.rstrip()] == expected


@pytest.mark.parametrize("kind", [byte_level, sentence_piece])
def test_sentences_of_tokens_that_keep_blanks(kind: Any) -> None:
    made = kind()
    encoded = encode_texts(made, [TEXT], max_length=200)[0]
    spelt = characters(made, encoded)
    assert "".join(spelt).strip() == TEXT
    numbers = of_tokens(made, encoded).tolist()
    found: dict[int, str] = {}
    for number, piece in zip(numbers, spelt, strict=True):
        found[number] = found.get(number, "") + piece
    sentences = [found[number].strip() for number in sorted(found)]
    assert sentences == ["He said “it works…” today.", "Not so!", "他说了。", "我们看见了。"]
    assert numbers == sorted(numbers)


@pytest.mark.parametrize("kind", [byte_level, sentence_piece])
def test_stop_words_of_tokens_that_keep_blanks(kind: Any) -> None:
    made = kind()
    encoded = encode_texts(made, ["the café, of course."], max_length=200)[0]
    flags, spelt = stop_words(made, encoded), characters(made, encoded)
    kept = "".join(piece for piece, flag in zip(spelt, flags, strict=True) if not flag)
    assert kept.replace(" ", "") == "cafécourse"


def test_wordpiece() -> None:
    text = encode_texts(tokenizer(), ["we use the unlikely oak"], max_length=16)[0]
    assert characters(tokenizer(), text) == [" we", " use", " the", " un", "like", "ly", " oak"]
    assert of_tokens(tokenizer(), text).tolist() == [0] * len(text.positions)
    flags = stop_words(tokenizer(), text).tolist()
    assert flags[0] is flags[2] is True
    assert flags[3:] == [False] * 4, "a word's pieces share its fate"


def test_a_text_without_tokens() -> None:
    text = encode_texts(tokenizer(), [""], max_length=16)[0]
    assert of_tokens(tokenizer(), text).tolist() == stop_words(tokenizer(), text).tolist() == []


def test_half_a_character_does_not_swallow_the_rest() -> None:
    made = byte_level()
    encoded = encode_texts(made, ["\ufffd so. Then \U0001f600"], max_length=200)[0]
    assert of_tokens(made, encoded).max() == 1
