"""Which tokens Mask-tuning masks, and what it puts in their place.

Shapes: B texts, T positions, N masked positions, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l3masking.encoders.load import Encoder
from l3masking.precision import Precision, autocast
from l3masking.training.batches import Chunk, pad
from l3masking.training.settings import MaskTuningConfig
from l3masking.transfer import moved


@dataclass(frozen=True, eq=False, kw_only=True)
class MaskTuning:
    """What Mask-tuning needs beside a task."""

    config: MaskTuningConfig
    weights: Sequence[NDArray[np.float64]]  # [T] per training text: chance of each token to be masked, 0: never
    mlm_loss: bool = True  # False: the classification loss alone
    rounds: int = 1  # 2: the masked LM first, then fine-tuning on texts that were perturbed once

    def chosen(self, indices: Sequence[int], generator: torch.Generator) -> Tensor:
        """[B, T] which tokens of some training texts are masked, drawn for all of them at once."""
        weights = [self.weights[index] for index in indices]
        eligible_B = torch.tensor([int(np.count_nonzero(row)) for row in weights])
        return choose(pad(weights, 0.0, torch.float64), eligible_B, self.config, generator)


class Filled(NamedTuple):
    """A batch after the prediction pass."""

    input_ids: Tensor  # [B, T], predictions in the place of the masked tokens
    loss: Tensor | None  # mean cross-entropy at the masked positions (nats); None if none was masked


def choose(weights_BT: Tensor, num_eligible_B: Tensor, config: MaskTuningConfig, generator: torch.Generator) -> Tensor:
    """[B, T] which tokens are masked: round(rate n) of the n eligible tokens of each text, at least `least`.

    Tokens are drawn one after the other, each with a chance in proportion to its weight among those that are left: the
    ones that come first in a race of exponential clocks. weights_BT: >= 0, 0 where nothing may be masked.
    """
    clocks = torch.empty(weights_BT.shape, dtype=torch.float64).exponential_(generator=generator)
    finish = torch.where(weights_BT > 0, clocks / weights_BT, torch.inf)
    wanted = torch.round(config.rate * num_eligible_B.double()).long().clamp(min=config.least)
    place = finish.argsort(dim=1).argsort(dim=1)
    return (place < wanted[:, None]) & torch.isfinite(finish)


def fill_in(
    encoder: Encoder, chunk: Chunk, config: MaskTuningConfig, draws: torch.Generator, *, precision: Precision
) -> Filled:
    """Mask the tokens at the chunk's places, predict them, and put the predictions in their place.

    Special tokens are never put in. The loss carries gradients where they are enabled.
    """
    if chunk.places is None or not chunk.predicted:
        return Filled(chunk.input_ids, None)
    rows, positions, _ = chunk.places
    masked = chunk.input_ids.clone()
    masked[rows, positions] = encoder.tokenizer.mask_token_id
    truth_N = chunk.input_ids[rows, positions]
    with autocast(encoder.device, precision):
        states_NH = encoder.states_at(masked, chunk.attention_mask, rows, positions, chunk.lengths)
        logits_NV = encoder.mlm_logits(states_NH).float()
    filled = chunk.input_ids.clone()
    filled[rows, positions] = predicted(logits_NV.detach(), truth_N, encoder.tokenizer, config, draws)
    return Filled(filled, F.cross_entropy(logits_NV, truth_N))


def predicted(
    logits_NV: Tensor, truth_N: Tensor, tokenizer: Any, config: MaskTuningConfig, draws: torch.Generator
) -> Tensor:
    """[N] ids to fill in: the likeliest, one drawn from the prediction, or one drawn from its `top_k` likeliest.

    Never a special token, nor one of the rows that some models have beyond the tokenizer's vocabulary.
    """
    never_V = torch.arange(logits_NV.shape[1]) >= len(tokenizer)
    never_V[[index for index in tokenizer.all_special_ids if index < len(tokenizer)]] = True
    uniform_N1 = torch.empty(0, 1, dtype=torch.float64)
    if config.fill != "argmax":  # one draw per token, on the CPU, for every device
        uniform_N1 = torch.rand((len(truth_N), 1), generator=draws, dtype=torch.float64)
    never_V, uniform_N1 = moved([never_V, uniform_N1], logits_NV.device)
    logits_NV = logits_NV.masked_fill(never_V, -torch.inf)
    if config.forbid_original:
        logits_NV.scatter_(1, truth_N[:, None], -torch.inf)
    if config.fill == "argmax":
        return logits_NV.argmax(dim=-1)
    if config.fill == "top_k":
        least = logits_NV.topk(min(config.top_k, logits_NV.shape[1]), dim=-1).values[:, -1:]
        logits_NV = torch.where(logits_NV >= least, logits_NV, -torch.inf)
    # inverse of the distribution function at a uniform number
    ends_NV = torch.softmax(logits_NV.double(), dim=-1).cumsum(dim=-1)
    return torch.searchsorted(ends_NV, uniform_N1 * ends_NV[:, -1:], right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)
