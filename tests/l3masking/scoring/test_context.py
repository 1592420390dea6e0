"""Scores in the context of the whole text, against one masked copy at a time of the whole text."""

from __future__ import annotations

import numpy as np
import pytest
from one_mask import METRICS, slow_scores
from small_encoders import TEXTS, TYPES

from l3masking.scoring.scoring import kept_places, score_texts, score_tokens
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import encode_texts

CUT = 9
PAIRS = [("The hooligan wrecked the vehicle.", "the parser reads the words"), ("parsers", "an unlikely token")]


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TYPES)
def test_kept_tokens_have_the_scores_of_the_whole_text(encoders: dict, kind: str, metric: str) -> None:
    encoder = encoders[kind]
    texts = [text[:60] for text in TEXTS]
    found = score_tokens(encoder, texts, metric=metric, max_length=CUT, context="full")
    cut = encode_texts(encoder.tokenizer, texts, max_length=CUT)
    whole = encode_texts(encoder.tokenizer, texts, max_length=encoder.max_positions)
    assert any(len(text.positions) > len(short.positions) for text, short in zip(whole, cut, strict=True))
    for score, short, full in zip(found, cut, whole, strict=True):
        assert score.input_ids.tolist() == short.input_ids.tolist()
        assert score.words.tolist() == short.words.tolist()
        wanted = slow_scores(encoder, full, metric)[: len(short.positions)]
        np.testing.assert_allclose(score.log_likelihood, wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_both_texts_of_a_pair_keep_their_first_tokens(encoders: dict, kind: str) -> None:
    encoder = encoders[kind]
    config = ScoringConfig(max_length=12, context="full")
    found = score_texts(encoder, PAIRS, config, entropy=True)
    cut = encode_texts(encoder.tokenizer, PAIRS, max_length=12)
    whole = encode_texts(encoder.tokenizer, PAIRS, max_length=encoder.max_positions)
    everything = score_texts(encoder, PAIRS, ScoringConfig(max_length=encoder.max_positions), entropy=True)
    for score, short, full, complete in zip(found, cut, whole, everything, strict=True):
        kept = kept_places(full, short)
        assert full.input_ids[full.positions[kept]].tolist() == short.input_ids[short.positions].tolist()
        np.testing.assert_allclose(score.log_likelihood, complete.log_likelihood[kept], atol=1e-5)
        np.testing.assert_allclose(score.entropy, complete.entropy[kept], atol=1e-5)


def test_the_cut_alone_changes_nothing_of_a_short_text(encoders: dict) -> None:
    encoder = encoders["bert"]
    for one, other in zip(
        score_tokens(encoder, TEXTS[:3], max_length=40, context="full"),
        score_tokens(encoder, TEXTS[:3], max_length=40),
        strict=True,
    ):
        np.testing.assert_array_equal(one.log_likelihood, other.log_likelihood)


def test_a_rewritten_text_is_cut_before_it_is_rewritten(encoders: dict) -> None:
    """As in the released code: blanks make it longer again, and that context counts."""
    encoder = encoders["roberta"]
    text = "low-frequency,words,in,1997a"
    (short,) = score_tokens(encoder, [text], max_length=CUT, normalise="reference")
    (full,) = score_tokens(encoder, [text], max_length=CUT, normalise="reference", context="full")
    assert short.input_ids.tolist() == full.input_ids.tolist()
    assert not np.allclose(short.log_likelihood, full.log_likelihood, atol=1e-5)
