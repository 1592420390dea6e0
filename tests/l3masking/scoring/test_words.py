"""Encoding, eligibility and word numbers."""

import copy
import json
import logging
import random
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import transformers
from small_encoders import SENTENCES, TEXTS, TYPES
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from l3masking.encoders.load import Encoder
from l3masking.errors import InputError
from l3masking.scoring.words import checked_texts, encode_texts, structural_ids


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


def fast(raw: Tokenizer) -> transformers.PreTrainedTokenizerFast:
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=raw,
        pad_token="<pad>",
        unk_token="<unk>",
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
    )


def byte_level(*, trimmed: bool) -> transformers.PreTrainedTokenizerFast:
    """A byte-level BPE that merges nothing but "do" and "Ġb": most blanks are tokens of their own."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *letters, "do", "Ġb"]
    merges = [("d", "o"), ("Ġ", "b")]
    raw = Tokenizer(models.BPE(vocab={name: number for number, name in enumerate(names)}, merges=merges))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), trim_offsets=trimmed)
    return fast(raw)


def pieces_and_words(tokenizer, text: str, whitespace: str) -> tuple[list[str], list[int]]:
    (one,) = encode_texts(tokenizer, [text], max_length=99, whitespace=whitespace, word_source="whitespace")
    return tokenizer.convert_ids_to_tokens(one.input_ids[one.positions].tolist()), one.words.tolist()


@pytest.mark.parametrize("trimmed", [True, False])
def test_a_blank_alone_belongs_to_the_word_behind_it(trimmed: bool) -> None:
    tokenizer = byte_level(trimmed=trimmed)
    assert pieces_and_words(tokenizer, "a don", "collapse") == (["a", "Ġ", "do", "n"], [0, 1, 1, 1])
    assert pieces_and_words(tokenizer, "a b do", "collapse") == (["a", "Ġb", "Ġ", "do"], [0, 1, 2, 2])
    assert pieces_and_words(tokenizer, "a  b", "keep") == (["a", "Ġ", "Ġb"], [0, 2, 2])
    assert pieces_and_words(tokenizer, " a ", "keep") == (["Ġ", "a", "Ġ"], [1, 1, 2])


@pytest.mark.parametrize("trimmed", [True, False])
@pytest.mark.parametrize("kind", ["byte level", "roberta"])
def test_words_hold_the_characters_between_blanks(encoders: dict, kind: str, trimmed: bool) -> None:
    """From the pieces alone: joined by word, blanks taken away, they are what `split` gives."""
    tokenizer = byte_level(trimmed=trimmed) if kind == "byte level" else encoders["roberta"].tokenizer
    draw = random.Random(5)
    for _ in range(60):
        text = "".join(draw.choices("ab do'1,", k=draw.randint(1, 25)))
        for whitespace in ("collapse", "keep"):
            pieces, words = pieces_and_words(tokenizer, text, whitespace)
            joined: dict[int, str] = {}
            for piece, word in zip(pieces, words, strict=True):
                joined[word] = joined.get(word, "") + piece
            assert [word.replace("Ġ", "") for word in joined.values() if word.strip("Ġ")] == text.split()
            assert sorted(words) == words
            assert all(word[: len(word) - len(word.lstrip("Ġ"))] == word[: word.count("Ġ")] for word in joined.values())


def whole_string_tokenizers() -> dict[str, transformers.PreTrainedTokenizerFast]:
    """Tokenizers whose models find the names of special tokens in a text without any search for them."""
    letters = "abcdefghijklmnopqrstuvwxyz</>"
    pieces = [("<s>", 0.0), ("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -3.0) for c in letters)]
    unigram = transformers.XLMRobertaTokenizer(vocab=[*pieces, ("<mask>", 0.0)])
    names = ["<s>", "<pad>", "</s>", "<unk>", *letters, *(f"##{c}" for c in letters), "<mask>"]
    raw = Tokenizer(models.WordPiece(vocab={name: number for number, name in enumerate(names)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    ends = [("<s>", 0), ("</s>", 2)]
    raw.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ends)
    # the same with tokens that are searched for in every text, as their file does not call them special
    searched = json.loads(raw.to_str())
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    specials = ("<s>", "<pad>", "</s>", "<unk>", "<mask>")
    searched["added_tokens"] = [{"id": raw.token_to_id(name), "content": name, **flags} for name in specials]
    return {
        "unigram": unigram,
        "wordpiece": fast(raw),
        "searched": fast(Tokenizer.from_str(json.dumps(searched))),
    }


@pytest.mark.parametrize("kind", ["unigram", "wordpiece", "searched"])
def test_literal_special_strings_are_plain_text_to_models_that_take_whole_strings(kind: str) -> None:
    tokenizer = whole_string_tokenizers()[kind]
    texts = ["ab <mask> cd", "plain words", "</s>", "a <pad> <s> b", "m<mask>d", "☃ <unk>"]
    before = copy.deepcopy(tokenizer).backend_tokenizer.to_str()
    for text, encoded in zip(texts, encode_texts(tokenizer, texts, max_length=40), strict=True):
        special = {tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id}
        assert not special & set(encoded.input_ids[1:-1].tolist())
        assert encoded.positions.tolist() == list(range(1, len(encoded.input_ids) - 1))
        plain = "".join(tokenizer.convert_ids_to_tokens(encoded.input_ids[encoded.positions].tolist()))
        if "☃" not in text:
            assert plain.replace("▁", "").replace("##", "") == text.replace(" ", "")
    assert tokenizer.unk_token_id in encoded.input_ids
    tokenizer.backend_tokenizer.no_truncation()
    assert tokenizer.backend_tokenizer.to_str() == before, "the tokenizer itself stays as it was"


def test_texts_without_literals_do_not_depend_on_their_company() -> None:
    tokenizer = whole_string_tokenizers()["unigram"]
    (alone,) = encode_texts(tokenizer, ["plain words"], max_length=40)
    _, among = encode_texts(tokenizer, ["a <mask>", "plain words"], max_length=40)
    assert alone.input_ids.tolist() == among.input_ids.tolist()


def test_what_the_tokenizer_adds_is_not_eligible_and_what_stands_in_the_text_is() -> None:
    """Its own mask decides: here the text holds the id of an end, under another name."""
    tokenizer = whole_string_tokenizers()["wordpiece"]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single="a $A b",
        special_tokens=[("a", tokenizer.convert_tokens_to_ids("a")), ("b", tokenizer.convert_tokens_to_ids("b"))],
    )
    (text,) = encode_texts(tokenizer, ["a c b"], max_length=40)
    assert tokenizer.convert_ids_to_tokens(text.input_ids.tolist()) == ["a", "a", "c", "b", "b"]
    assert text.positions.tolist() == [1, 2, 3]


@pytest.mark.parametrize("kind", TYPES)
def test_threads_with_other_lengths_do_not_disturb_each_other(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    texts = SENTENCES * 20
    lengths = [4, 7, 11, 30] * 8

    def ids(length: int) -> list[list[int]]:
        return [text.input_ids.tolist() for text in encode_texts(tokenizer, texts, max_length=length)]

    alone = {length: ids(length) for length in set(lengths)}
    with ThreadPoolExecutor(8) as pool:
        for length, found in zip(lengths, pool.map(ids, lengths), strict=True):
            assert found == alone[length]


@pytest.mark.parametrize(
    "texts",
    [
        pd.Series(["ra min", "hu"], index=[7, 3]),
        pd.Series(["ra min", "hu"], dtype="category"),
        np.array(["ra min", "hu"]),
        np.array(["ra min", "hu"], dtype=object),
        ("ra min", "hu"),
        (text for text in ("ra min", "hu")),
        {"ra min": 1, "hu": 2}.keys(),
    ],
    ids=lambda texts: type(texts).__name__,
)
def test_any_iterable_of_strings_is_taken(encoders: dict, texts) -> None:
    wanted = encode_texts(encoders["bert"].tokenizer, ["ra min", "hu"], max_length=20, whitespace="keep")
    found = encode_texts(encoders["bert"].tokenizer, texts, max_length=20, whitespace="keep")
    assert [text.input_ids.tolist() for text in found] == [text.input_ids.tolist() for text in wanted]


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ("ra min", r"texts is one str: give a list"),
        (b"ra min", r"texts is one bytes"),
        (None, r"texts is one NoneType"),
        (3, r"texts is one int"),
        ({"text": "ra"}, r"texts is one dict"),
        (pd.DataFrame({"text": ["ra"]}), r"texts is one DataFrame"),
        (np.array([["ra"]]), r"texts is one ndarray"),
        (np.array("ra"), r"texts is one ndarray"),
        (["ra", None], r"texts\[1\] is None, a NoneType"),
        (["ra", float("nan")], r"texts\[1\] is nan, a float"),
        (pd.Series([pd.NA, "ra"]), r"texts\[0\] is "),
        (["ra", b"ra"], r"texts\[1\] is b'ra', a bytes"),
        ([["ra"]], r"texts\[0\] is \['ra'\], a list"),
        (["ra", "", "x\ud83d"], r"texts\[2\] holds \\ud83d, half of a surrogate pair"),
    ],
)
def test_what_is_not_a_text_is_refused_with_its_place(encoders: dict, texts, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        encode_texts(encoders["bert"].tokenizer, texts, max_length=20)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=words):
        checked_texts(texts)


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
    tokenizer = copy.deepcopy(encoders["roberta"].tokenizer)  # each is warned of once
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
