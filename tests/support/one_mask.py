"""Pseudo-likelihoods by a loop that masks one token at a time, from the definition."""

from __future__ import annotations

import torch

from l3masking.encoders.load import Encoder
from l3masking.scoring.words import EncodedText

METRICS = ("original", "word_l2r", "whole_word")


def mask_set(metric: str, words: list[int], token: int) -> list[int]:
    """Indices of the tokens that are masked while `token` is scored, from the definition."""
    same = [j for j, word in enumerate(words) if word == words[token]]
    return {"original": [token], "word_l2r": [j for j in same if j >= token], "whole_word": same}[metric]


@torch.no_grad()
def slow_scores(encoder: Encoder, text: EncodedText, metric: str) -> list[float]:
    """One copy, one forward of the whole model, batch of one, no padding."""
    scores = []
    for token, position in enumerate(text.positions):
        ids = torch.tensor([text.input_ids.tolist()])
        for other in mask_set(metric, text.words.tolist(), token):
            ids[0, text.positions[other]] = encoder.tokenizer.mask_token_id
        logits = encoder.model(input_ids=ids).logits[0, position].double()
        scores.append(float(torch.log_softmax(logits, dim=0)[text.input_ids[position]]))
    return scores
