"""The sides of the scoring benchmark: each is called without arguments and gives every text's values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from unittest import mock

import numpy as np
import torch

from l3masking import Encoder, score_tokens
from l3masking.scoring.forward import OwnForward
from l3masking.scoring.words import encode_texts

Values = list[np.ndarray]  # log-likelihood of each text's eligible tokens


def our_side(
    encoder: Encoder, texts: Sequence[str], *, max_length: int, token_budget: int, precision: Any
) -> Callable[[], Values]:
    """The side that is measured."""

    def run() -> Values:
        scores = score_tokens(encoder, texts, max_length=max_length, precision=precision, token_budget=token_budget)
        return [score.log_likelihood for score in scores]

    return run


def own_side(encoder: Encoder, texts: Sequence[str], *, max_length: int, token_budget: int) -> Callable[[], Values]:
    """The same batches through the model's own forward pass, as an encoder without a fast pass is scored."""
    run = our_side(encoder, texts, max_length=max_length, token_budget=token_budget, precision="float32")

    def slow() -> Values:
        with mock.patch("l3masking.scoring.scoring.pass_of", OwnForward):
            return run()

    return slow


def minicons_side(encoder: Encoder, texts: Sequence[str], max_length: int) -> Callable[[], Values]:
    """minicons on the same model and ids: one call per text, its own masked copies and batch. Without its decoding."""
    from minicons.scorer import MaskedLMScorer
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder.tokenizer.name_or_path, use_fast=True, truncation_side="right")
    # transformers 5 removed the method that minicons calls; here it also cuts, which minicons does not
    tokenizer.batch_encode_plus = lambda batch, **given: tokenizer(
        batch, truncation=True, max_length=max_length, split_special_tokens=True, **given
    )
    scorer = MaskedLMScorer(encoder.model, device=str(encoder.device), tokenizer=tokenizer)

    def score(text: str) -> np.ndarray:
        prepared = scorer.prepare_text([text], PLL_metric="within_word_l2r")
        return np.asarray(scorer.compute_stats(prepared)[0], dtype=np.float32)

    return lambda: [score(text) for text in texts]


def plain_side(encoder: Encoder, texts: Sequence[str], max_length: int) -> Callable[[], Values]:
    """The whole model on one masked copy after the other: no batch, logits of every position."""

    @torch.no_grad()
    def run() -> Values:
        values = []
        for text in encode_texts(encoder.tokenizer, texts, max_length=max_length):
            scores = []
            for position, word in zip(text.positions, text.words, strict=True):
                ids = torch.from_numpy(text.input_ids.copy())
                ids[torch.from_numpy(text.positions[(text.words == word) & (text.positions >= position)])] = int(
                    encoder.tokenizer.mask_token_id
                )
                logits_TV = encoder.model(input_ids=ids[None].to(encoder.device)).logits[0]
                scores.append(float(logits_TV[position].float().log_softmax(-1)[text.input_ids[position]]))
            values.append(np.asarray(scores, dtype=np.float32))
        return values

    return run
