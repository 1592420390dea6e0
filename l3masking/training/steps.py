"""One optimiser step: the gradients of the tasks, weighed, and what META-TARTAN learns from them.

A window is `accumulate` micro-steps; task weights are constant within it. Every pass has its own random stream, named
by update, micro-step and pass, so that no pass depends on which others ran.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from l3masking import rng
from l3masking.masking.applied import MaskedText
from l3masking.masking.corruption import corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.precision import Precision, autocast
from l3masking.training.batches import (
    Chunk,
    by_length,
    chunk_of,
    draws,
    epochs,
    pad,
    pad_leaders,
    sampler_of,
    to_device,
)
from l3masking.training.checkpoint import Snapshot, below, under
from l3masking.training.flat_gradients import GradientSpan, cosine, norm
from l3masking.training.model import ClassificationHead, MultiTaskModel
from l3masking.training.optim import SettledLoss
from l3masking.training.portions import Portions, stream_of
from l3masking.training.settings import MetaConfig, ModelConfig, Sampling
from l3masking.training.task_weights import Weighting
from l3masking.training.windows import WindowStepper
from l3masking.transfer import moved


@dataclass(frozen=True, eq=False)
class Examples:
    """Encoded texts of one split: input ids [T] each, and class numbers [n]."""

    input_ids: Sequence[NDArray]
    labels: Tensor

    def chunks(self, indices: Sequence[int], num_chunks: int, pad_id: int, device: torch.device) -> list[Chunk]:
        parts = by_length(indices, self.input_ids, num_chunks)
        return to_device([chunk_of(self.input_ids, part, self.labels[part], pad_id) for part in parts], device)


@dataclass(frozen=True, eq=False)
class Auxiliary:
    """The texts of the masked-LM task: input ids [T] and mask probability per input id [T] each."""

    input_ids: Sequence[NDArray]
    probabilities: Sequence[NDArray]
    masking: MaskingConfig
    leaders: Sequence[NDArray] | None = None  # [T] each: the position that draws for each; None: each for itself

    @classmethod
    def of(cls, texts: Sequence[MaskedText], masking: MaskingConfig) -> Auxiliary:
        """From texts under a policy."""
        leaders = None
        if any(text.leaders is not None for text in texts):
            leaders = [np.arange(len(text.input_ids)) if text.leaders is None else text.leaders for text in texts]
        return cls([text.input_ids for text in texts], [text.probabilities for text in texts], masking, leaders)

    def chunks(
        self, indices: Sequence[int], num_chunks: int, tokenizer: Any, generator: torch.Generator, device: torch.device
    ) -> list[Chunk]:
        """A batch with fresh masks. The draws depend on the texts' lengths alone: RTM and L3Masking draw alike.

        They are made for the whole batch before it is cut into chunks, so that `num_chunks` has no part in them.
        """
        parts = by_length(indices, self.input_ids, num_chunks)
        ordered = [index for part in parts for index in part]
        probabilities_BT = pad([self.probabilities[index] for index in ordered], 0.0, torch.float64)
        plain = chunk_of(self.input_ids, ordered, torch.empty(0), tokenizer.pad_token_id)
        leaders_BT = None if self.leaders is None else pad_leaders([self.leaders[index] for index in ordered])
        masked = corrupt(plain.input_ids, probabilities_BT, tokenizer, generator, self.masking, leaders_BT)
        chunks, start = [], 0
        for part in parts:
            rows, longest = slice(start, start + len(part)), len(self.input_ids[part[-1]])
            whole = (masked.input_ids, plain.attention_mask, masked.labels)
            chunks.append(Chunk.of(*(tensor[rows, :longest] for tensor in whole)))
            start += len(part)
        return to_device(chunks, device)


class Stepper(WindowStepper):
    """Computes the weighed gradient of one window into `param.grad`, and feeds the task weights."""

    def __init__(
        self,
        model: MultiTaskModel,
        train: Examples,
        validation: Examples,
        auxiliary: Auxiliary | None,
        weighting: Weighting,
        meta: MetaConfig,
        *,
        model_config: ModelConfig,
        batch: int,
        accumulate: int,
        num_chunks: int,
        precision: Precision,
        seed: int,
        sampling: Sampling = "auto",
        portions: Portions | None = None,
    ) -> None:
        self.model, self.train, self.validation, self.auxiliary = model, train, validation, auxiliary
        self.weighting, self.meta, self.model_config = weighting, meta, model_config
        self.accumulate, self.num_chunks, self.precision, self.seed = accumulate, num_chunks, precision, seed
        self.portions = portions or Portions(max(batch, meta.head_sample))
        self.device = model.encoder.device
        self.tasks = ["primary"] if auxiliary is None else ["primary", "mlm"]
        self.empty_mlm_batches = 0
        span = model.gradients.span
        self.spans = {"mlm": span("lm_head", "body"), "primary": span("body", "head"), "dev": span("body")}
        order = rng.stream(seed, "order", "primary")
        sampler = sampler_of(sampling, "shuffle" if auxiliary is None else "random")
        self._primary = sampler(len(train.labels), batch, order)
        self._dev = draws(len(validation.labels), batch, rng.stream(seed, "dev-batch"))
        self._orders = {"primary": self._primary, "dev": self._dev}
        if auxiliary is not None:
            self._mlm = epochs(len(auxiliary.input_ids), batch, rng.stream(seed, "order", "mlm"))
            self._orders["mlm"] = self._mlm
            self._masks = rng.stream(seed, "mask")

    def task_weights(self) -> dict[str, float]:
        return dict(zip(self.tasks, self.weighting.weights().tolist(), strict=True))

    def state(self) -> Snapshot:
        tensors = {} if self.auxiliary is None else {"masks": self._masks.get_state()}
        for name, order in self._orders.items():
            tensors |= under(name, order.state())
        facts = {"empty": self.empty_mlm_batches, "portions": self.portions.state()}
        return Snapshot(facts, tensors | {"weighting": self.weighting.state()})

    def _go_back(self, saved: Snapshot) -> None:
        self.weighting.restore(saved.tensors["weighting"])
        self.empty_mlm_batches = saved.facts["empty"]
        for name, order in self._orders.items():
            order.restore(below(name, saved.tensors))
        if self.auxiliary is not None:
            self._masks.set_state(saved.tensors["masks"])

    def _window(self, update: int) -> dict[str, Tensor]:
        losses: dict[str, list[Tensor]] = {task: [] for task in self.tasks}
        self.model.gradients.clear()
        weights = (self.weighting.weights() / self.accumulate).float().unbind()
        dev_head = self.fit_dev_head(update) if self.weighting.learns else None
        for micro in range(self.accumulate):
            # the dev gradient first: those of the tasks then need not outlive their sums
            dev = None if dev_head is None else self.dev_gradient(dev_head, update, micro)
            cosines: list[Tensor] = []
            for task, weight in reversed([*zip(self.tasks, weights, strict=True)]):
                loss, gradient = self.gradient(task, update, micro)
                if dev is not None:
                    cosines.insert(0, self.cosine(dev, task, gradient))
                if loss is None or gradient is None:  # no position selected in the whole batch: it moves nothing
                    self.empty_mlm_batches += 1
                    continue
                losses[task].append(loss)
                self.model.gradients.add(self.spans[task], gradient, weight)
            if dev is not None:
                self.weighting.observe(torch.stack(cosines))
        return {task: torch.stack(values).mean() for task, values in losses.items() if values}

    def gradient(self, task: str, update: int, micro: int) -> tuple[Tensor | None, Tensor | None]:
        """Loss of the task's next batch and its gradient [P]; None if no position of it was selected."""
        if task == "mlm":
            assert self.auxiliary is not None
            tokenizer = self.model.encoder.tokenizer
            chunks = self.auxiliary.chunks(next(self._mlm), self.num_chunks, tokenizer, self._masks, self.device)
            return self._in_portions(self.model.mlm_loss, chunks, self.spans[task], "pass", update, micro, task)
        chunks = self.chunks(self.train, next(self._primary))
        return self._in_portions(self.model.classification_loss, chunks, self.spans[task], "pass", update, micro, task)

    def _in_portions(
        self,
        loss_of: Callable[[Sequence[Chunk]], Tensor | None],
        chunks: Sequence[Chunk],
        span: GradientSpan,
        room: str,
        *name: rng.Name,
    ) -> tuple[Tensor | None, Tensor | None]:
        """Mean loss of a batch and its gradient. name: of the pass; further portions are named by number too."""
        total, summed = None, None
        for number, (portion, share) in enumerate(self.portions.shares(chunks)):
            with rng.dropout(self.device, self.seed, *name, *stream_of(number)), autocast(self.device, self.precision):
                loss = loss_of(portion)
            if loss is None:
                continue
            loss = loss if share == 1 else loss * share
            found = self.model.gradients.of(loss, span, room if summed is None else "portion")
            total = loss.detach() if total is None else loss.detach() + total
            summed = found if summed is None else summed.add_(found)
        return total, summed

    def chunks(self, examples: Examples, indices: Sequence[int]) -> list[Chunk]:
        return examples.chunks(indices, self.num_chunks, self.model.encoder.tokenizer.pad_token_id, self.device)

    def fit_dev_head(self, update: int) -> ClassificationHead:
        """A fresh head on the current body, fitted to one small validation sample.

        The body is frozen meanwhile, so without dropout its features are computed once for all iterations. With dropout
        (`dev_mode: train`) each iteration draws them anew, as the released code does, and `once` draws them once.
        """
        size = len(self.validation.labels)
        indices = next(draws(size, self.meta.head_sample, rng.stream(self.seed, "dev-sample", update)))
        chunks = self.chunks(self.validation, indices)
        labels = torch.cat([chunk.labels for chunk in chunks])
        self.model.train(self.meta.dev_mode != "eval")
        num_classes, hidden = self.model.classifier.out.out_features, self.model.encoder.hidden_size
        generator = rng.stream(self.seed, "dev-head", update)
        head = ClassificationHead(hidden, num_classes, self.model_config.dropout, generator)
        weights = head.state_dict()
        head.load_state_dict(dict(zip(weights, moved([*weights.values()], self.device), strict=True)), assign=True)
        head.train(self.meta.dev_mode != "eval")
        optimiser = torch.optim.AdamW(
            head.parameters(), lr=self.meta.head_lr, betas=(0.9, 0.98), weight_decay=self.meta.head_decay, fused=True
        )
        stop = SettledLoss(self.meta.head_tolerance, optimiser, self.device)
        with rng.dropout(self.device, self.seed, update, "dev-head"):
            features = self._frozen_features(chunks)
            for iteration in range(self.meta.head_iterations):
                if iteration and self.meta.dev_mode == "train":
                    if stop.settled():  # a pass through the body costs more than to wait for the answer
                        break
                    features = self._frozen_features(chunks)
                with autocast(self.device, self.precision):  # once per step: autocast keeps its copies of the weights
                    loss = F.cross_entropy(head(features).float(), labels)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                stop.see(loss.detach())
        self.model.train()
        return head

    @torch.no_grad()
    def _frozen_features(self, chunks: Sequence[Chunk]) -> Tensor:
        """[B, H] of the body as it is, under dropout in training mode."""
        with autocast(self.device, self.precision):
            return torch.cat([self.model.features(portion) for portion, _ in self.portions.shares(chunks)])

    def dev_gradient(self, dev_head: ClassificationHead, update: int, micro: int) -> Tensor:
        """[P] gradient of the next validation batch's loss through `dev_head`, over the body's parameters."""
        chunks = self.chunks(self.validation, next(self._dev))
        self.model.train(self.meta.dev_mode != "eval")
        loss_of = partial(self.model.classification_loss, head=dev_head)
        _, gradient = self._in_portions(loss_of, chunks, self.spans["dev"], "dev", update, micro, "dev")
        self.model.train()
        assert gradient is not None
        return gradient

    def cosine(self, dev: Tensor, task: str, gradient: Tensor | None) -> Tensor:
        """Of a task's gradient with the dev gradient, over the body's parameters; 0 where nothing was selected."""
        if gradient is None:
            return torch.zeros((), device=self.device)
        start = self.spans["dev"].place.start - self.spans[task].place.start
        whole = norm(gradient) if task == "mlm" and self.meta.cos_scope == "reference" else None
        return cosine(dev, gradient[start : start + len(dev)], whole)
