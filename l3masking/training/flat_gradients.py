"""The gradients of one optimiser step in one buffer: sums, norms and cosines are then few calls over long vectors.

Parameters come in parts, which lie one after the other. Each part is filled up with zeros to a multiple of SUM_BLOCK:
sums over a vector of millions are taken block by block, as one float32 sum would be off by a thousandth on a CPU.

Shapes: P elements of a span (a few parts next to each other) with what it is filled up with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from l3masking.transfer import views_of

SUM_BLOCK = 4096  # elements


class GradientSpan(NamedTuple):
    """Parts that lie next to each other."""

    parts: tuple[str, ...]
    parameters: list[nn.Parameter]  # of all parts
    place: slice  # [P] of the buffer


class FlatGradients:
    """Sums the gradients of passes into one buffer, of which every `param.grad` is a view."""

    def __init__(self, parts: Mapping[str, Sequence[nn.Parameter]]) -> None:
        """parts: parameters by name of the part, in the order in which they lie in the buffer."""
        # odd lengths last: what follows them would not be aligned, which fused AdamW is slower with
        self._parameters = {
            name: sorted(parameters, key=lambda parameter: parameter.numel() % 4 > 0)
            for name, parameters in parts.items()
        }
        self._sizes = {name: sum(p.numel() for p in parameters) for name, parameters in self._parameters.items()}
        self._sums: Tensor | None = None  # made at the first use, where the model lies by then
        self._views: dict[str, list[Tensor]] = {}
        self._rooms: dict[str, Tensor] = {}

    @property
    def parameters(self) -> list[nn.Parameter]:
        """Of all parts."""
        return [parameter for parameters in self._parameters.values() for parameter in parameters]

    def span(self, *parts: str) -> GradientSpan:
        """Parts that are next to each other, in their order."""
        names = [*self._parameters]
        start = names.index(parts[0])
        assert [*parts] == names[start : start + len(parts)], f"{parts} do not follow each other in {names}"
        begin = sum(_filled_up(self._sizes[name]) for name in names[:start])
        end = begin + sum(_filled_up(self._sizes[name]) for name in parts)
        return GradientSpan(parts, [p for name in parts for p in self._parameters[name]], slice(begin, end))

    def clear(self) -> None:
        """Begin a step: no parameter has a gradient."""
        if self._sums is None:
            whole = self.span(*self._parameters)
            self._sums = torch.zeros(whole.place.stop, device=whole.parameters[0].device)
            for name, parameters in self._parameters.items():
                part = self._sums[self.span(name).place][: self._sizes[name]]
                self._views[name] = views_of(part, parameters)
        self._sums.zero_()
        for parameters in self._parameters.values():
            for parameter in parameters:
                parameter.grad = None

    def of(self, loss: Tensor, span: GradientSpan, room: str = "pass", *, kept: bool = False) -> Tensor:
        """[P] gradient of a loss, zero where it does not reach.

        On a CPU, where new memory is slow, and where it is `kept`, the next call with the same `room` overwrites it.
        """
        found = torch.autograd.grad(loss, span.parameters, materialize_grads=True)
        pieces, at = list[Tensor](), 0
        for name in span.parts:
            count, fill = len(self._parameters[name]), -self._sizes[name] % SUM_BLOCK
            pieces += [gradient.reshape(-1) for gradient in found[at : at + count]]
            pieces += [found[at].new_zeros(fill)] if fill else []
            at += count
        size = span.place.stop - span.place.start
        if loss.device.type != "cpu" and not kept:
            return torch.cat(pieces)
        if room not in self._rooms or len(self._rooms[room]) < size:
            self._rooms[room] = torch.empty(size, device=loss.device)
        return torch.cat(pieces, out=self._rooms[room][:size])

    def add(self, span: GradientSpan, gradient: Tensor, weight: Tensor | float) -> None:
        """param.grad += weight * gradient. gradient: [P]; weight: a scalar, of the device where it is a tensor."""
        assert self._sums is not None, "clear comes first"
        if isinstance(weight, Tensor):
            self._sums[span.place].addcmul_(gradient, weight)
        else:
            self._sums[span.place].add_(gradient, alpha=weight)
        for name in span.parts:
            for parameter, view in zip(self._parameters[name], self._views[name], strict=True):
                parameter.grad = view

    def clip(self, span: GradientSpan, largest: float) -> None:
        """Scale the gradient of a span down to a norm of `largest`, where it is longer."""
        assert self._sums is not None, "clear comes first"
        gradient = self._sums[span.place]
        gradient.mul_((largest / (norm(gradient) + 1e-6)).clamp(max=1.0))


def _filled_up(size: int) -> int:
    return size + -size % SUM_BLOCK


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Scalar product of two [P]."""
    return torch.bmm(a.view(-1, 1, SUM_BLOCK), b.view(-1, SUM_BLOCK, 1)).sum()


def norm(gradient: Tensor) -> Tensor:
    """Euclidean norm of a [P]."""
    return torch.linalg.vector_norm(torch.linalg.vector_norm(gradient.view(-1, SUM_BLOCK), dim=1))


def cosine(dev: Tensor, task: Tensor, task_norm: Tensor | None = None) -> Tensor:
    """<dev, task> / (|dev| |task|) of two [P]; 0 where a norm is 0. A scalar on the device.

    task_norm: taken for |task| where given (cos_scope "reference").
    """
    scale = norm(dev) * (norm(task) if task_norm is None else task_norm)
    product = dot(dev, task)
    return torch.where(scale > 0, product / scale.clamp(min=torch.finfo(scale.dtype).tiny), torch.zeros_like(product))
