"""Which tag each token takes, against a walk through the text that reads no offsets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from more_encoders import BERT_NAMES, unigram_tokenizer
from small_encoders import SENTENCES

from l3masking.analysis.tagging import TaggedSpan, TokenTagger
from l3masking.errors import InputError
from l3masking.scoring.places import token_places
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as

KINDS = ("bert", "roberta", "unigram")
TEXTS = [
    "The hooligan wrecked the vehicle.",
    "We follow (Och, 2003) and don't use low-frequency words.",
    "Thrombosis of the portal vein, in 1997a, was seen twice.",
    "an   unlikely  token  is masked more",
    "(the)",
    "",
]


class Letters:
    """Runs of letters or digits are words, tagged by their length; other characters are no word of it, but brackets."""

    name = "letters 1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def tag(self, text: str) -> list[TaggedSpan]:
        self.asked.append(text)
        spans, at = [], 0
        while at < len(text):
            end = at + 1
            if text[at].isalnum():
                while end < len(text) and text[end].isalnum():
                    end += 1
                spans.append((at, end, f"L{end - at}"))
            elif text[at] in "()":
                spans.append((at, end, text[at]))
            at = end
        return spans


@pytest.fixture(scope="module")
def tokenizers(encoders: dict) -> dict[str, Any]:
    own = {kind: encoders[kind].tokenizer for kind in ("bert", "roberta")}
    return own | {"unigram": unigram_tokenizer(SENTENCES)}


def walked(tokenizer: Any, ids: list[int], text: str) -> list[int]:
    """Where each token begins: its letters are looked for in the text one after the other. ASCII, nothing unknown."""
    starts, at = [], 0
    for piece in tokenizer.convert_ids_to_tokens(ids):
        letters = piece.removeprefix("##").lstrip("Ġ▁") if len(piece) > 2 else piece.lstrip("Ġ▁")
        while at < len(text) and text[at].isspace():
            at += 1
        starts.append(at)
        assert text[at : at + len(letters)].lower() == letters.lower(), (piece, text[at:])
        at += len(letters)
    return starts


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("whitespace", ["collapse", "keep"])
def test_a_token_takes_the_tag_of_the_word_in_which_it_starts(tokenizers: dict, kind: str, whitespace: str) -> None:
    tokenizer, tagger = tokenizers[kind], Letters()
    config = ScoringConfig(max_length=40, whitespace=whitespace)
    tokens = TokenTagger(tagger)
    seen = 0
    for text, encoded, places in zip(
        TEXTS, encode_as(config, tokenizer, TEXTS), token_places(config, tokenizer, TEXTS), strict=True
    ):
        read = " ".join(text.split()) if whitespace == "collapse" else text
        assert places.parts == (read,)
        starts = walked(tokenizer, encoded.input_ids[encoded.positions].tolist(), read)
        spans = tagger.tag(read)
        wanted = [next((tag for first, end, tag in spans if first <= start < end), None) for start in starts]
        assert tokens.tags(places) == wanted
        seen += len(wanted)
    assert seen > 60


@pytest.mark.parametrize("kind", KINDS)
def test_pieces_take_the_tag_of_their_whole_word(tokenizers: dict, kind: str) -> None:
    config = ScoringConfig(max_length=40)
    (places,) = token_places(config, tokenizers[kind], ["the thrombosis"])
    tags = TokenTagger(Letters()).tags(places)
    assert tags.count("L10") == len(tags) - tags.count("L3") > 1
    if kind != "unigram":  # which may have a token for the blank in front of the text
        assert "".join(places.surfaces()) == "thethrombosis"


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_text_contributes_what_survives(tokenizers: dict, kind: str) -> None:
    whole, cut = (token_places(ScoringConfig(max_length=length), tokenizers[kind], TEXTS[:1])[0] for length in (40, 6))
    assert len(cut.starts) == 4 < len(whole.starts)
    assert TokenTagger(Letters()).tags(cut) == TokenTagger(Letters()).tags(whole)[:4]


@pytest.mark.parametrize("names", [BERT_NAMES, None])
def test_both_texts_of_a_pair_are_tagged_each_for_itself(names: tuple[str, ...] | None) -> None:
    tokenizer = unigram_tokenizer(SENTENCES, **({"names": names} if names else {}))
    tagger, config = Letters(), ScoringConfig(max_length=40)
    pair = ("the parser", "reads (the) words")
    (places,) = token_places(config, tokenizer, [pair])
    (encoded,) = encode_as(config, tokenizer, [pair])
    assert len(places.starts) == len(encoded.positions)
    tags = TokenTagger(tagger).tags(places)
    alone = [TokenTagger(Letters()).tags(one) for one in token_places(config, tokenizer, list(pair))]
    assert tags == alone[0] + alone[1]
    assert tagger.asked == list(pair)


def test_a_text_is_tagged_once(tokenizers: dict) -> None:
    tagger = Letters()
    tokens = TokenTagger(tagger)
    for kind in KINDS:
        for places in token_places(ScoringConfig(max_length=40), tokenizers[kind], [TEXTS[0], TEXTS[0]]):
            tokens.tags(places)
    assert tagger.asked == [TEXTS[0]]


WRONG: list[list[TaggedSpan]] = [
    [(0, 99, "X")],
    [(2, 2, "X")],
    [(0, 3, "X"), (2, 5, "Y")],
    [(0, 3, "")],
    [(-1, 3, "X")],
]


@pytest.mark.parametrize("spans", WRONG)
def test_spans_that_are_none_are_refused(tokenizers: dict, spans: list[TaggedSpan]) -> None:
    class Wrong:
        name = "wrong 0"

        def tag(self, text: str) -> list[TaggedSpan]:
            return spans

    (places,) = token_places(ScoringConfig(max_length=40), tokenizers["bert"], TEXTS[:1])
    with pytest.raises(InputError, match="tagger wrong 0 gives the span"):
        TokenTagger(Wrong()).tags(places)


def test_a_byte_level_token_starts_behind_its_blank(encoders: dict) -> None:
    (places,) = token_places(ScoringConfig(max_length=40), encoders["roberta"].tokenizer, ["the \u2603 parser"])
    surfaces = places.surfaces()
    assert [surface for surface in surfaces if surface] == ["t", "he", "\u2603", "\u2603", "\u2603", "parser"]
    assert np.all(np.diff(places.starts) >= 0)
    assert places.parts[0][places.starts[2]] == "\u2603"


def test_no_texts_no_places(encoder_folders: dict[str, Path], encoders: dict) -> None:
    assert token_places(ScoringConfig(), encoders["bert"].tokenizer, []) == []
