"""Mask-tuning: mask a few tokens, predict them, and classify the text with the predictions filled in, in one update.

The loss is alpha L_MLM + (1 - alpha) L_fine: the masked-LM loss at the masked positions, and the classification loss of
the perturbed text under its true label. Nothing flows back through the choice of the predicted tokens. Evaluation is
that of plain fine-tuning, on texts as they are.

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

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.precision import Precision, autocast
from l3masking.training.batches import Chunk, by_length, chunk_of, pad, sampler_of, to_device
from l3masking.training.checkpoint import Snapshot, below, under
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import FinetuneConfig, MaskTuningConfig
from l3masking.training.steps import Examples, accumulate_gradients, gradients_of


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
    encoder: Encoder,
    chunk: Chunk,
    selected_BT: Tensor,
    config: MaskTuningConfig,
    draws: torch.Generator,
    *,
    precision: Precision,
) -> Filled:
    """Mask the selected tokens, predict them, and put the predictions in their place. Special tokens are never put in.

    The loss carries gradients where they are enabled.
    """
    rows, positions = torch.nonzero(selected_BT, as_tuple=True)
    if not len(rows):
        return Filled(chunk.input_ids, None)
    masked = chunk.input_ids.clone()
    masked[rows, positions] = encoder.tokenizer.mask_token_id
    truth_N = chunk.input_ids[rows, positions]
    with autocast(encoder.device, precision):
        states_NH = encoder.states_at(masked, chunk.attention_mask, rows, positions)
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
    logits_NV = logits_NV.clone()
    logits_NV[:, len(tokenizer) :] = -torch.inf
    logits_NV[:, [index for index in tokenizer.all_special_ids if index < len(tokenizer)]] = -torch.inf
    if config.forbid_original:
        logits_NV[torch.arange(len(truth_N)), truth_N] = -torch.inf
    if config.fill == "argmax":
        return logits_NV.argmax(dim=-1)
    if config.fill == "top_k":
        least = logits_NV.topk(min(config.top_k, logits_NV.shape[1]), dim=-1).values[:, -1:]
        logits_NV = torch.where(logits_NV >= least, logits_NV, -torch.inf)
    # inverse of the distribution function at a uniform number: one draw per token, on the CPU, for every device
    uniform_N1 = torch.rand((len(truth_N), 1), generator=draws, dtype=torch.float64).to(logits_NV.device)
    ends_NV = torch.softmax(logits_NV.double(), dim=-1).cumsum(dim=-1)
    return torch.searchsorted(ends_NV, uniform_N1 * ends_NV[:, -1:], right=True)[:, 0].clamp(max=logits_NV.shape[1] - 1)


class MaskTuneStepper:
    """Computes the gradient of one window of Mask-tuning into `param.grad`; takes the place of `steps.Stepper`."""

    def __init__(
        self, model: MultiTaskModel, train: Examples, tuning: MaskTuning, config: FinetuneConfig, seed: int
    ) -> None:
        self.model, self.train, self.tuning, self.config, self.seed = model, train, tuning, config, seed
        self.device = model.encoder.device
        self.empty_mlm_batches = 0
        self.body, self.lm_head = model.body_parameters(), model.mlm_head_parameters()
        self.head = list(model.classifier.parameters())
        self.alpha = tuning.config.alpha if tuning.mlm_loss else 0.0
        sampler = sampler_of(config.train.sampling, "shuffle")
        self._primary = sampler(len(train.labels), config.train.batch, rng.stream(seed, "order", "primary"))
        self._masks, self._draws = rng.stream(seed, "mask"), rng.stream(seed, "fill")

    def task_weights(self) -> dict[str, float]:
        """Task and the weight of its loss."""
        return {"primary": 1 - self.alpha, "mlm": self.alpha} if self.tuning.mlm_loss else {"primary": 1.0}

    def state(self) -> Snapshot:
        """What the next windows depend on beside the model."""
        generators = {"masks": self._masks.get_state(), "draws": self._draws.get_state()}
        return Snapshot({"empty": self.empty_mlm_batches}, generators | under("primary", self._primary.state()))

    def restore(self, saved: Snapshot) -> None:
        """Go on where `state` was taken."""
        self.empty_mlm_batches = saved.facts["empty"]
        self._masks.set_state(saved.tensors["masks"])
        self._draws.set_state(saved.tensors["draws"])
        self._primary.restore(below("primary", saved.tensors))

    def window(self, update: int) -> dict[str, Tensor]:
        """Fill `param.grad` for one optimiser step; returns the mean loss of each task (nats, on the device)."""
        parameters = [*self.body, *self.lm_head, *self.head]
        for parameter in parameters:
            parameter.grad = None
        losses: dict[str, list[Tensor]] = {name: [] for name in self.task_weights()}
        accumulate = self.config.train.accumulate
        for micro in range(accumulate):
            loss, parts = self.loss(update, micro)
            for name, part in parts.items():
                losses[name].append(part.detach())
            accumulate_gradients(parameters, gradients_of(loss, parameters), 1 / accumulate)
        return {name: torch.stack(values).mean() for name, values in losses.items() if values}

    def loss(self, update: int, micro: int) -> tuple[Tensor, dict[str, Tensor]]:
        """The joint loss of the next batch, and its parts."""
        tuning, encoder, precision = self.tuning, self.model.encoder, self.config.precision
        batch = next(self._primary)
        perturbed: list[Chunk] = []
        mlm, count = torch.zeros((), device=self.device), 0
        for chunk, selected in self.chosen(batch):
            self.model.train(not tuning.config.eval_fill)
            with (
                torch.set_grad_enabled(tuning.mlm_loss),
                rng.dropout(self.device, self.seed, update, micro, "mlm", len(perturbed)),
            ):
                filled = fill_in(encoder, chunk, selected, tuning.config, self._draws, precision=precision)
            self.model.train()
            perturbed.append(chunk._replace(input_ids=filled.input_ids))
            if filled.loss is not None:
                masked = int(selected.sum())
                mlm, count = mlm + filled.loss * masked, count + masked
        with rng.dropout(self.device, self.seed, update, micro, "primary"), autocast(self.device, precision):
            fine = self.model.classification_loss(perturbed)
        if not count:
            self.empty_mlm_batches += 1
            return (1 - self.alpha) * fine, {"primary": fine}
        if not tuning.mlm_loss:
            return fine, {"primary": fine}
        mlm = mlm / count
        return self.alpha * mlm + (1 - self.alpha) * fine, {"primary": fine, "mlm": mlm}

    def chosen(self, batch: Sequence[int]) -> list[tuple[Chunk, Tensor]]:
        """A batch in chunks of like lengths, each with its masks, which are drawn for the whole batch at once."""
        parts = by_length(batch, self.train.input_ids, self.config.train.length_buckets)
        ordered = [index for part in parts for index in part]
        selected_BT = self.tuning.chosen(ordered, self._masks)
        chunks, start = [], 0
        for part in parts:
            chunk = chunk_of(
                self.train.input_ids, part, self.train.labels[part], self.model.encoder.tokenizer.pad_token_id
            )
            selected = selected_BT[start : start + len(part), : chunk.input_ids.shape[1]]
            chunks.append((to_device([chunk], self.device)[0], selected.to(self.device)))
            start += len(part)
        return chunks
