"""Profiles of parts of speech: a planted one under three kinds of tokenizer, and what random masking gives."""

from __future__ import annotations

import statistics
from collections import defaultdict
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from more_encoders import unigram_tokenizer
from small_encoders import SENTENCES

from l3masking.analysis.columns import mask_columns
from l3masking.analysis.pos_profile import TagRow, tag_profile
from l3masking.analysis.tagging import TaggedSpan, TokenTagger
from l3masking.errors import InputError
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.probabilities import mask_probabilities
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.places import token_places
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_as

CONFIG, MASKING = ScoringConfig(max_length=40), MaskingConfig(mean=0.15)
LIKELIHOOD = {"DT": 0.9, "NN": 0.02, "VBZ": 0.4, "IN": 0.7}  # planted: of every token of a word with this tag
WORDS = {"the": "DT", "an": "DT", "parser": "NN", "thrombosis": "NN", "words": "NN", "reads": "VBZ", "of": "IN"}


class Planted:
    """The tags of WORDS, and RARE for any other word."""

    name = "planted 1"

    def tag(self, text: str) -> list[TaggedSpan]:
        spans, at = [], 0
        for word in text.split():
            at = text.index(word, at)
            spans.append((at, at + len(word), WORDS.get(word, "RARE")))
            at += len(word)
        return spans


def made_texts() -> list[str]:
    draw = np.random.default_rng(5)
    texts = [" ".join(draw.choice(list(WORDS), size=size)) for size in draw.integers(3, 9, 60)]
    return [*texts, "vehicle of the parser", texts[0]]


@pytest.fixture(scope="module")
def tokenizers(encoders: dict) -> dict[str, Any]:
    own = {kind: encoders[kind].tokenizer for kind in ("bert", "roberta")}
    return own | {"unigram": unigram_tokenizer(SENTENCES)}


@pytest.mark.parametrize("kind", ["bert", "roberta", "unigram"])
@pytest.mark.parametrize("weighting", ["complement", "surprisal"])
def test_a_planted_profile_is_found(tokenizers: dict, kind: str, weighting: str) -> None:
    tokenizer, texts = tokenizers[kind], made_texts()
    encoded = encode_as(CONFIG, tokenizer, texts)
    tagger = TokenTagger(Planted())
    tags = [tagger.tags(places) for places in token_places(CONFIG, tokenizer, texts)]
    scores = [
        TokenScores(
            input_ids=text.input_ids,
            positions=text.positions,
            words=text.words,
            log_likelihood=np.log([LIKELIHOOD.get(tag or "", 0.5) for tag in found]).astype(np.float32),
        )
        for text, found in zip(encoded, tags, strict=True)
    ]
    (column,) = mask_columns({"l3": POLICIES["l3"]}, [weighting])
    masks = list(column.masks(encoded, MASKING, scores=scores))
    values = [mask.probabilities[text.positions] for text, mask in zip(encoded, masks, strict=True)]
    profile = tag_profile(values, tags, wanted=0.15)

    slow: dict[str, list[float]] = defaultdict(list)
    for score, found in zip(scores, tags, strict=True):
        each = mask_probabilities(np.exp(score.log_likelihood.astype(np.float64)), mean=0.15, weighting=weighting)
        for tag, value in zip(found, each, strict=True):
            slow[tag or "none"].append(value)
    assert [row.tag for row in profile.rows] == ["NN", "VBZ", "IN", "DT"], "the less likely, the more often"
    assert [row.tag for row in profile.lowest(2)] == ["DT", "IN"]
    assert [row.tag for row in profile.highest(1)] == ["NN"]
    for row in (*profile.rows, *profile.rare):
        assert row.count == len(slow[row.tag])
        assert row.mean == pytest.approx(statistics.fmean(slow[row.tag]), abs=1e-12)
        assert row.std == pytest.approx(statistics.stdev(slow[row.tag]), abs=1e-9)
    assert {row.tag for row in profile.rare} == {"RARE"}, "fewer than ten tokens"
    assert profile.tokens == sum(map(len, values))
    assert profile.untagged == len(slow["none"]) == 0
    if kind != "bert":  # pieces count, not words
        assert sum(row.count for row in profile.rows) > sum(len(text.split()) for text in texts)


@pytest.mark.parametrize("mean", [0.15, 1 / 3, 0.07, 1.0])
def test_random_masking_gives_every_tag_exactly_the_mean(tokenizers: dict, mean: float) -> None:
    tokenizer, texts = tokenizers["bert"], made_texts()
    encoded = encode_as(CONFIG, tokenizer, texts)
    tags = [TokenTagger(Planted()).tags(places) for places in token_places(CONFIG, tokenizer, texts)]
    (column,) = mask_columns({"uniform": POLICIES["uniform"]}, ["complement", "surprisal"])
    assert column.label == "RTM"
    masks = column.masks(encoded, MaskingConfig(mean=mean))
    values = [mask.probabilities[text.positions] for text, mask in zip(encoded, masks, strict=True)]
    profile = tag_profile(values, tags, wanted=mean, min_count=1)
    assert len(profile.rows) == 5
    assert {(row.mean, row.std) for row in profile.rows} == {(mean, 0.0)}
    assert [row.tag for row in profile.rows] == sorted(row.tag for row in profile.rows), "ties by name"
    assert profile.lowest(9) == profile.rows


def test_the_mean_is_exact_to_the_last_bits() -> None:
    draw = np.random.default_rng(2)
    values = draw.random(5000)
    (row,) = tag_profile([values], [["X"] * 5000], wanted=0.15).rows
    exact = sum(map(Fraction, values.tolist())) / 5000
    assert abs(Fraction(row.mean) - exact) < 1e-16
    assert row.std == pytest.approx(statistics.stdev(values.tolist()), rel=1e-12)


def test_rare_tags_ties_and_tokens_without_a_tag() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.4, 0.2, 0.2, 0.9])
    profile = tag_profile([values], [["B", "B", "A", "A", "C", None, "D"]], wanted=0.15, min_count=1)
    assert profile.untagged == 1
    assert [row.tag for row in profile.rows] == ["D", "A", "C", "B"]
    assert profile.rows[0] == TagRow("D", 1, pytest.approx(0.9), None)
    assert [row.tag for row in profile.lowest()] == ["B", "C", "A", "D"]
    dropped = tag_profile([values], [["B", "B", "A", "A", "C", None, "D"]], wanted=0.15, min_count=2)
    assert [row.tag for row in dropped.rows] == ["A", "B"]
    assert [(row.tag, row.count) for row in dropped.rare] == [("C", 1), ("D", 1)]


def test_no_texts_no_tags() -> None:
    profile = tag_profile([], [], wanted=0.15)
    assert (profile.tokens, profile.rows, profile.rare) == (0, (), ())


def test_wrong_input_is_one_line() -> None:
    with pytest.raises(InputError, match="min_count is 0: at least 1 token"):
        tag_profile([], [], wanted=0.15, min_count=0)
    with pytest.raises(InputError, match="text 0 has 2 probabilities and 1 tags"):
        tag_profile([np.zeros(2)], [["A"]], wanted=0.15)
    with pytest.raises(InputError, match="weighting is 'complment'"):
        mask_columns({"l3": POLICIES["l3"]}, ["complment"])


def test_a_column_for_each_weighting_of_a_policy_that_reads_the_likelihood() -> None:
    columns = mask_columns({name: POLICIES[name] for name in ("l3", "uniform", "span")}, ["surprisal", "complement"])
    assert [column.label for column in columns] == ["l3, complement", "l3, surprisal", "RTM", "span"]
