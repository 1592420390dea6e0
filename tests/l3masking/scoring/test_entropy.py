"""Entropy of the predictions against a loop that masks one copy at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from small_encoders import TEXTS, TYPES

from l3masking.scoring.scoring import score_texts, score_tokens
from l3masking.scoring.settings import ScoringConfig

LENGTH = 34


@torch.no_grad()
def slow_entropies(encoder, score, metric: str) -> list[float]:
    """-sum p ln p over the vocabulary in float64, one forward of the whole model per token."""
    found = []
    for token, position in enumerate(score.positions):
        same = [j for j, word in enumerate(score.words) if word == score.words[token]]
        masked = {"original": [token], "word_l2r": [j for j in same if j >= token], "whole_word": same}[metric]
        ids = torch.tensor([score.input_ids.tolist()])
        ids[0, score.positions[masked].tolist()] = encoder.tokenizer.mask_token_id
        p = torch.softmax(encoder.model(input_ids=ids).logits[0, position].double(), dim=0)
        found.append(-math.fsum(float(x) * math.log(x) for x in p.tolist() if x > 0))
    return found


@pytest.mark.parametrize("metric", ["original", "word_l2r", "whole_word"])
@pytest.mark.parametrize("kind", TYPES)
def test_entropy_equals_one_mask_at_a_time(encoders: dict, kind: str, metric: str) -> None:
    encoder = encoders[kind]
    config = ScoringConfig(metric=metric, max_length=LENGTH)
    texts = [TEXTS[0], TEXTS[1], "", TEXTS[5], TEXTS[0]]
    scores = score_texts(encoder, texts, config, entropy=True)
    for score in scores:
        assert score.entropy is not None
        assert score.entropy.dtype == np.float32
        assert score.entropy.shape == score.log_likelihood.shape
        assert np.all((score.entropy >= 0) & (score.entropy <= math.log(len(encoder.tokenizer)) + 1e-5))
        np.testing.assert_allclose(score.entropy, slow_entropies(encoder, score, metric), atol=1e-5, rtol=0)


def test_the_scores_are_the_same_with_and_without(encoders: dict) -> None:
    plain = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH)
    more = score_texts(encoders["bert"], TEXTS, ScoringConfig(max_length=LENGTH), entropy=True)
    for one, other in zip(plain, more, strict=True):
        assert one.entropy is None
        assert np.array_equal(one.log_likelihood, other.log_likelihood)
