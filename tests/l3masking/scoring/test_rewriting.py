"""The rewriting of the released code: by hand, against a scan character by character, and against decoded ids."""

from __future__ import annotations

import random

import numpy as np
import pytest
from small_encoders import SENTENCES
from small_task import SCORING, data, encoder, scores, settings

from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import encode_inputs, prepare
from l3masking.scoring.rewriting import cut_after, rewritten
from l3masking.scoring.scoring import score_texts
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as, encode_texts, texts_read

CASES = {
    "3.5": "3 . 5",
    "i.e.": "i . e . ",
    "heart. The": "heart . The",
    "heart.  The": "heart .The",
    "low-frequency words, here": "low - frequency words , here",
    "as <<Och>> and [[Ney]] did": "asOchandNeydid",
    "see [[1]].": "see1. ",
    "one\ntwo": "onetwo",
    "is it ? n't , ok": "is it?n't , ok",
    "a  b": "a b",
    "a   b": "ab",
    "": "",
}


def replaced(text: str, found: str, instead: str) -> str:
    """Left to right, no overlaps, by hand."""
    out, at = "", 0
    while at < len(text):
        if text[at : at + len(found)] == found:
            out, at = out + instead, at + len(found)
        else:
            out, at = out + text[at], at + 1
    return out


def slow(text: str, *, tidied: bool = False) -> str:
    """The steps of the released code, one after the other. tidied: decoding has done its part already."""
    if not tidied:
        for found in (" .", " ?", " !", " ,"):
            text = replaced(text, found, found[1])
        text = replaced(text, " ' ", "'")
        for found in (" n't", " 'm", " 's", " 've", " 're"):
            text = replaced(text, found, found[1:])
    text = "".join(" " + mark + " " if mark in ",.-" else mark for mark in text if mark != "\n")
    text = replaced(text, "  ", " ")
    for found in (" <<", ">> ", " [[", "]] ", "<<", ">>", "[[", "]]", "  "):
        text = replaced(text, found, "")
    return text


@pytest.mark.parametrize(("text", "wanted"), CASES.items())
def test_texts_by_hand(text: str, wanted: str) -> None:
    assert rewritten(text) == wanted == slow(text)


def test_random_texts_are_rewritten_as_by_the_scan() -> None:
    draw = random.Random(1)
    parts = [" ", "  ", ".", ",", "-", "<<", ">>", "[[", "]]", "\n", "a", "it", "'s", "n't", "?", "!", " ' ", "7"]
    for _ in range(2000):
        text = "".join(draw.choice(parts) for _ in range(draw.randint(0, 14)))
        assert rewritten(text) == slow(text), text


def test_white_space_at_the_end_is_not_cut_off() -> None:
    assert cut_after("a bc ", 4) == "a bc "
    assert cut_after("a bc d", 4) == "a bc"


@pytest.mark.parametrize("max_length", [9, 40])
def test_byte_level_texts_are_those_that_decoding_gives(encoders: dict, max_length: int) -> None:
    tokenizer = encoders["roberta"].tokenizer
    config = ScoringConfig(max_length=max_length, whitespace="keep", normalise="reference")
    texts = [*SENTENCES, "heart.  The 3.5, i.e. low-frequency  words ?", "it 's , well", ""]
    for text, found in zip(texts, texts_read(config, tokenizer, texts), strict=True):
        ids = tokenizer(text, truncation=True, max_length=max_length)["input_ids"]
        decoded = tokenizer.clean_up_tokenization(tokenizer.decode(ids, clean_up_tokenization_spaces=False))
        for special in ("<pad>", "</s>", "<s>"):
            decoded = decoded.replace(special, "")
        assert found == slow(decoded, tidied=True)
        (encoded,) = encode_as(config, tokenizer, [text])
        assert encoded.input_ids.tolist() == tokenizer(found, truncation=True, max_length=max_length)["input_ids"]


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_each_text_of_a_pair_is_rewritten(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    config = ScoringConfig(max_length=40, normalise="reference")
    assert texts_read(config, tokenizer, [("3.5", "the  words-parser")]) == [("3 . 5", "the words - parser")]
    assert texts_read(ScoringConfig(), tokenizer, ["3.5  x"]) == ["3.5 x"]


def test_scores_belong_to_the_rewritten_text(encoders: dict) -> None:
    model = encoders["roberta"]
    text = "low-frequency words, in 1997a."
    config = ScoringConfig(max_length=40, normalise="reference")
    (found,) = score_texts(model, [text], config)
    (plain,) = score_texts(model, [rewritten(text)], ScoringConfig(max_length=40, whitespace="keep"))
    (untouched,) = score_texts(model, [text], ScoringConfig(max_length=40))
    assert found.input_ids.tolist() == plain.input_ids.tolist() != untouched.input_ids.tolist()
    np.testing.assert_array_equal(found.log_likelihood, plain.log_likelihood)


@pytest.mark.parametrize("method", ["stl", "rtm", "mtl_static", "mask_tuning", "mtl_selective"])
def test_the_classifier_reads_the_text_as_it_is(encoders: dict, method: str) -> None:
    """And the masked texts are rewritten only where no classifier reads them."""
    model, source = encoders["roberta"], data()
    config = ScoringConfig(max_length=24, normalise="reference", whitespace="keep")
    spoiled = type(source)(**{**vars(source), "mlm_texts": tuple(f"{text}-x" for text in source.mlm_texts)})
    plain = encode_texts(model.tokenizer, source.train.texts, max_length=24)
    inputs = encode_inputs(METHODS[method], model, spoiled, config)
    assert [ids.tolist() for ids in inputs.task.train.input_ids] == [text.input_ids.tolist() for text in plain]
    assert inputs.max_length == 24
    if method == "stl":
        assert inputs.mlm is None
        return
    texts = spoiled.mlm_texts if METHODS[method].masks else source.train.texts
    expected = [slow(text) if METHODS[method].rewrites else text for text in texts]
    wanted = [model.tokenizer(text, truncation=True, max_length=24)["input_ids"] for text in expected]
    assert [text.input_ids.tolist() for text in inputs.mlm or ()] == wanted
    assert METHODS[method].rewrites == (method in ("rtm", "mtl_static"))


def test_rewritten_scores_meet_the_ids_that_are_masked() -> None:
    """WordPiece: rewriting leaves these ids as they are, so the scores of the texts fit."""
    inputs = encode_inputs(METHODS["l3masking"], encoder(), data(), ScoringConfig(max_length=16, normalise="reference"))
    made = prepare(
        METHODS["l3masking"],
        encoder(),
        inputs,
        masking=MaskingConfig(),
        config=settings(),
        seed=0,
        scores=scores(data().mlm_texts),
    )
    assert made.auxiliary is not None
    assert SCORING.normalise == "none"
