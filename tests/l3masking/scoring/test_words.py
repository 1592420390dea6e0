"""Encoding, eligibility and word numbers."""

import logging

import numpy as np
import pytest
from small_encoders import TEXTS, TYPES

from l3masking.encoders.load import Encoder
from l3masking.errors import InputError
from l3masking.scoring.words import encode_texts, structural_ids


def tokens(encoder: Encoder, text) -> list[str]:
    return encoder.tokenizer.convert_ids_to_tokens(text.input_ids[text.positions].tolist())


@pytest.mark.parametrize("kind", TYPES)
def test_everything_but_the_two_ends_is_eligible(encoders: dict, kind: str) -> None:
    for text in encode_texts(encoders[kind].tokenizer, TEXTS, max_length=40):
        assert text.positions.tolist() == list(range(1, len(text.input_ids) - 1))
        assert len(text.words) == len(text.positions)
        assert np.all(np.diff(text.words) >= 0)


@pytest.mark.parametrize("kind", TYPES)
def test_literal_special_strings_stay_plain_text(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    literal = "a [MASK] b [SEP] </s> <mask> <s> [CLS] <pad> [PAD]"
    (text,) = encode_texts(tokenizer, [literal], max_length=128)
    inner = text.input_ids[1:-1]
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    assert not special & set(inner.tolist())
    assert len(text.positions) == len(inner)


@pytest.mark.parametrize("kind", ["bert", "distilbert"])
def test_unknown_tokens_are_eligible(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    (text,) = encode_texts(tokenizer, ["the \u2603 parser"], max_length=40)
    assert tokenizer.unk_token_id in text.input_ids[text.positions]


def test_wordpiece_words_are_blank_and_punctuation_runs(encoders: dict) -> None:
    (text,) = encode_texts(encoders["bert"].tokenizer, ["don't low-frequency (1997a)."], max_length=40)
    words = [""] * (text.words[-1] + 1)
    for word, token in zip(text.words, tokens(encoders["bert"], text), strict=True):
        words[word] += token.removeprefix("##")
    assert words == ["don", "'", "t", "low", "-", "frequency", "(", "1997a", ")", "."]


def test_byte_level_words_split_letters_digits_and_clitics(encoders: dict) -> None:
    (text,) = encode_texts(encoders["roberta"].tokenizer, ["We don't see 1997a)."], max_length=40)
    words = [""] * (text.words[-1] + 1)
    for word, token in zip(text.words, tokens(encoders["roberta"], text), strict=True):
        words[word] += token
    assert words == ["We", "Ġdon", "'t", "Ġsee", "Ġ1997", "a", ")."]


@pytest.mark.parametrize("kind", TYPES)
def test_whitespace_words_follow_the_blanks(encoders: dict, kind: str) -> None:
    raw = "We  don't see (1997a),\nhooligans."
    (text,) = encode_texts(encoders[kind].tokenizer, [raw], max_length=64, word_source="whitespace")
    words = [""] * (text.words[-1] + 1)
    for word, token in zip(text.words, tokens(encoders[kind], text), strict=True):
        words[word] += token.removeprefix("##").replace("Ġ", "")
    assert [word.lower() for word in words] == raw.lower().split()


def test_collapse_and_keep_differ_where_blanks_are_tokens(encoders: dict) -> None:
    tokenizer = encoders["roberta"].tokenizer
    wide, narrow = "  the   parser\n reads ", "the parser reads"
    collapsed, plain = encode_texts(tokenizer, [wide, narrow], max_length=40)
    (kept,) = encode_texts(tokenizer, [wide], max_length=40, whitespace="keep")
    assert collapsed.input_ids.tolist() == plain.input_ids.tolist()
    assert len(kept.input_ids) > len(plain.input_ids)


@pytest.mark.parametrize("kind", TYPES)
def test_truncation_keeps_the_head(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    (whole,) = encode_texts(tokenizer, [TEXTS[1]], max_length=48)
    (short,) = encode_texts(tokenizer, [TEXTS[1]], max_length=9)
    assert short.input_ids.tolist() == [*whole.input_ids[:8], whole.input_ids[-1]]
    assert short.words.tolist() == whole.words[:7].tolist()


@pytest.mark.parametrize("kind", TYPES)
def test_empty_text_and_no_text(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    for text in encode_texts(tokenizer, ["", " \n "], max_length=10):
        assert len(text.input_ids) == 2
        assert len(text.positions) == len(text.words) == 0
    assert encode_texts(tokenizer, [], max_length=10) == []


def test_a_word_of_many_pieces_warns(encoders: dict, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = encoders["roberta"].tokenizer
    with caplog.at_level(logging.WARNING, logger="l3masking.scoring.words"):
        encode_texts(tokenizer, ["the parser"], max_length=40)
        assert not caplog.records
        encode_texts(tokenizer, ["qzjxk" * 6], max_length=40)
    assert "a word of 30 tokens" in caplog.text


def test_a_slow_tokenizer_is_refused() -> None:
    class Slow:
        is_fast = False

    with pytest.raises(InputError, match="Slow is a slow tokenizer"):
        encode_texts(Slow(), ["a"], max_length=10)


@pytest.mark.parametrize("kind", TYPES)
def test_structural_ids_hold_neither_mask_nor_unknown(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    wanted = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id}
    assert structural_ids(tokenizer) == sorted(wanted)
