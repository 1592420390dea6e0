"""Passes over batches: the loss of one and its gradient. On a GPU they take few shapes, and are recorded and replayed.

Shapes: P elements of a gradient as flat_gradients.py lays them out, B texts, H hidden width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from l3masking.encoders.load import Encoder
from l3masking.graphs import Programs
from l3masking.precision import Precision, autocast
from l3masking.training.batches import Chunk, bucketed
from l3masking.training.flat_gradients import FlatGradients, Span

LossOf = Callable[[Sequence[Chunk], nn.Module | None], Tensor | None]  # of a batch, through a head where one is given


class Found(NamedTuple):
    """What a pass gives."""

    loss: Tensor  # nats, without a gradient
    gradient: Tensor  # [P]


class Passes:
    """The passes of one training."""

    def __init__(self, encoder: Encoder, gradients: FlatGradients, precision: Precision) -> None:
        self._encoder, self._gradients, self._precision = encoder, gradients, precision
        self._programs = Programs() if encoder.in_buckets else None

    def gradient(
        self,
        name: str,
        loss_of: LossOf,
        chunks: Sequence[Chunk],
        span: Span,
        *,
        head: nn.Module | None = None,
        share: float = 1.0,
        room: str = "pass",
    ) -> Found | None:
        """`share` of the loss of a batch and its gradient; None where the batch has no loss.

        name: of the pass, one for each `loss_of`. head: what the loss goes through; it may be another one every time,
        of one architecture. room: as in `FlatGradients.of`. Dropout draws from the default generator.
        """
        if self._programs is None:
            with autocast(self._encoder.device, self._precision):
                loss = loss_of(chunks, head)
            if loss is None:
                return None
            return Found(loss.detach() * share, self._gradients.of(loss * share, span, room))
        if all(chunk.labels.dim() == 2 and not chunk.predicted for chunk in chunks):
            return None

        def work(batch: Sequence[Chunk], through: nn.Module | None) -> list[Tensor]:
            loss = loss_of(batch, through)
            assert loss is not None
            return [loss.detach(), self._gradients.of(loss, span, "recorded", kept=True)]

        loss, gradient = self._run((name, span.parts), work, chunks, head)
        return Found(loss, gradient) if share == 1 else Found(loss * share, gradient.mul_(share))

    @torch.no_grad()
    def features(self, features_of: Callable[[Sequence[Chunk]], Tensor], chunks: Sequence[Chunk]) -> Tensor:
        """[B, H] of a batch, with nothing kept for a gradient."""
        if self._programs is None:
            with autocast(self._encoder.device, self._precision):
                return features_of(chunks)
        (found,) = self._run("features", lambda batch, _: [features_of(batch)], chunks, None)
        return found

    def forget(self) -> None:
        """Give back the memory of recorded passes."""
        if self._programs is not None:
            self._programs.forget()

    def _run(
        self,
        name: object,
        work: Callable[[Sequence[Chunk], nn.Module | None], Sequence[Tensor]],
        chunks: Sequence[Chunk],
        head: nn.Module | None,
    ) -> list[Tensor]:
        """What `work` gives for a batch in its buckets, through a head with the weights of `head`."""
        assert self._programs is not None
        filled = [bucketed(chunk) for chunk in chunks]
        weights = {} if head is None else {name: weight.detach() for name, weight in head.named_parameters()}

        def program(given: Sequence[Tensor]) -> Sequence[Tensor]:
            batch = [
                Chunk(*given[3 * at : 3 * at + 3], (), bucket=chunk.bucket) for at, chunk in enumerate(filled)
            ]
            mine = dict(zip(weights, given[3 * len(batch) :], strict=True))
            through = None if head is None else _Through(head, mine)
            with autocast(self._encoder.device, self._precision):
                return work(batch, through)

        model = self._encoder.model
        layers = self._encoder.family.layers
        key = (
            name,
            tuple(chunk.bucket for chunk in filled),
            (model.training, head is not None and head.training),
            tuple(layer.drops for layer in layers(self._encoder.body)) if layers else (),
            tuple(parameter.data_ptr() for parameter in model.parameters()),
        )
        given = [tensor for chunk in filled for tensor in chunk[:3]]
        return self._programs.run(key, program, [*given, *weights.values()])
