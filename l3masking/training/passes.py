"""Passes over batches: the loss of one and its gradient. On a GPU they take few shapes, and are recorded and replayed.

Shapes: P elements of a gradient as flat_gradients.py lays them out, B texts, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call

from l3masking.encoders.load import Encoder
from l3masking.graphs import Programs
from l3masking.precision import Precision, autocast
from l3masking.training.batches import Chunk, bucketed
from l3masking.training.flat_gradients import FlatGradients, GradientSpan

Head = Callable[[Tensor], Tensor]
LossOf = Callable[..., Tensor | None]  # of a batch [list of Chunk], and through a head where one is given


class LossAndGradient(NamedTuple):
    """What a pass gives."""

    loss: Tensor  # nats, without a gradient
    gradient: Tensor  # [P]


class Passes:
    """The passes of one training."""

    def __init__(self, encoder: Encoder, gradients: FlatGradients) -> None:
        self._encoder, self._gradients = encoder, gradients
        self._programs = Programs() if encoder.in_buckets else None

    def gradient(
        self,
        name: str,
        loss_of: LossOf,
        chunks: Sequence[Chunk],
        span: GradientSpan,
        precision: Precision,
        share: float = 1.0,
        over: int = 1,
        *,
        head: nn.Module | None = None,
        room: str = "pass",
    ) -> LossAndGradient | None:
        """`share` of the loss of a batch by `over`, and the gradient of that; None if the batch has no loss.

        name: of the pass, one for each `loss_of`. head: what the loss goes through; it may be another one every time,
        of one architecture. room: as in `FlatGradients.of`. Dropout draws from the default generator.
        """
        if self._programs is None:
            with autocast(self._encoder.device, precision):
                loss = loss_of(chunks) if head is None else loss_of(chunks, head)
            if loss is None:
                return None
            loss = loss if share == over == 1 else loss * share / over
            return LossAndGradient(loss.detach(), self._gradients.of(loss, span, room))
        if all(chunk.labels.dim() == 2 and not chunk.predicted for chunk in chunks):
            return None

        def work(batch: Sequence[Chunk], through: Head | None) -> list[Tensor]:
            with autocast(self._encoder.device, precision):
                loss = loss_of(batch) if through is None else loss_of(batch, through)
            assert loss is not None
            return [loss.detach(), self._gradients.of(loss, span, "recorded", kept=True)]

        loss, gradient = self._run((name, span.parts, precision), work, chunks, head)
        return LossAndGradient(*(part if share == over else part.mul_(share / over) for part in (loss, gradient)))

    @torch.no_grad()
    def features(
        self, features_of: Callable[[Sequence[Chunk]], Tensor], chunks: Sequence[Chunk], precision: Precision
    ) -> Tensor:
        """[B, H] of a batch, with nothing kept for a gradient."""
        if self._programs is None:
            with autocast(self._encoder.device, precision):
                return features_of(chunks)

        def work(batch: Sequence[Chunk], _: Head | None) -> list[Tensor]:
            with autocast(self._encoder.device, precision):
                return [features_of(batch)]

        (found,) = self._run(("features", precision), work, chunks)
        return found

    def _run(
        self,
        name: Hashable,
        work: Callable[[Sequence[Chunk], Head | None], Sequence[Tensor]],
        chunks: Sequence[Chunk],
        head: nn.Module | None = None,
    ) -> list[Tensor]:
        """What `work` gives for a batch in its buckets, through a head with the present weights of `head`."""
        assert self._programs is not None
        filled = [bucketed(chunk) for chunk in chunks]
        weights = {} if head is None else {name: weight.detach() for name, weight in head.named_parameters()}

        def program(given: Sequence[Tensor]) -> Sequence[Tensor]:
            left = iter(given)
            batch = [Chunk(next(left), next(left), next(left), (), bucket=chunk.bucket) for chunk in filled]
            return work(
                batch, None if head is None else partial(functional_call, head, {n: next(left) for n in weights})
            )

        given = [tensor for chunk in filled for tensor in chunk[:3]]
        key = name, tuple(chunk.bucket for chunk in filled), head is not None and head.training, self._state()
        return self._programs.run(key, program, [*given, *weights.values()])

    def _state(self) -> Hashable:
        """What passes depend on beside batches and the values of weights."""
        encoder = self._encoder
        drops = [layer.drops for layer in encoder.family.layers(encoder.body)] if encoder.family.layers else []
        addresses = [parameter.data_ptr() for parameter in self._gradients.parameters]
        return encoder.model.training, tuple(drops), tuple(addresses)
