"""One layer of the scoring pass without its attention: what is done to each token by itself.

Shapes: S tokens, H hidden width, P = 3 H.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.activations import GELUActivation

from l3masking.encoders.layers import Layer

CPU_ROWS = 512  # tokens a thread that a CPU takes through all layers at a time: they stay in its cache


class Affine(NamedTuple):
    """x ↦ x Wᵀ + b, for one linear layer or several side by side."""

    weight: Tensor  # [out, in]
    bias: Tensor  # [out]; zeros where the layer has none

    @classmethod
    def of(cls, layers: Sequence[nn.Linear], dtype: torch.dtype) -> Affine:
        """The layers side by side."""
        weight = torch.cat([layer.weight.detach().to(dtype) for layer in layers])
        zeros = weight.new_zeros(len(weight))
        biases = [zeros[: len(one.weight)] if one.bias is None else one.bias.detach().to(dtype) for one in layers]
        return cls(weight, torch.cat(biases))

    def parts(self, count: int) -> list[Affine]:
        """Its outputs in equal parts, each as a map of its own."""
        return [Affine(*both) for both in zip(self.weight.chunk(count), self.bias.chunk(count), strict=True)]

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x.to(self.weight.dtype), self.weight.t())

    def packed(self) -> Affine | Packed:
        """The same map as this processor multiplies it fastest."""
        if self.weight.device.type != "cpu":
            return self
        try:
            weight = torch.ops.mkldnn._reorder_linear_weight(self.weight, CPU_ROWS)
        except (AttributeError, RuntimeError):  # torch without oneDNN, or a dtype that oneDNN lacks on this processor
            return self
        return Packed(weight, self.bias)


class Packed(NamedTuple):
    """x ↦ x Wᵀ + b with the weight in oneDNN's own order, which it reads faster than rows."""

    weight: Tensor  # opaque
    bias: Tensor  # [out]
    then: str = "none"  # "gelu": of the result, before it is written

    def __call__(self, x: Tensor) -> Tensor:
        x = x.to(self.bias.dtype)
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.then, [], "none")


class LayerPass:
    """One layer, its weights in the dtype of the matrix products."""

    def __init__(self, layer: Layer, dtype: torch.dtype, *, packed: bool) -> None:
        def product(affine: Affine) -> Affine | Packed:
            return affine.packed() if packed else affine

        self.layer, self.activation = layer, layer.activation
        self.projection = product(Affine.of(layer.project, dtype))
        self.attention_out = product(Affine.of([layer.attention_out], dtype))
        self.feed_in, *self.gates = map(product, Affine.of([layer.feed_in], dtype).parts(1 + layer.gated))
        self.feed_out = product(Affine.of([layer.feed_out], dtype))
        if _is_gelu(layer.activation) and isinstance(self.feed_in, Packed):
            self.feed_in, self.activation = self.feed_in._replace(then="gelu"), nn.Identity()

    def seen(self, x: Tensor) -> Tensor:
        """[S, H] the layer's input to what its attention sees of it."""
        return self.layer.attention_norm(x) if self.layer.norms_first else x

    def project(self, x: Tensor) -> Tensor:
        """[S, H] the layer's input to [S, P] query, key and value, side by side."""
        return self.projection(self.seen(x))

    def finish(self, context: Tensor, x: Tensor) -> Tensor:
        """[S, H] attention output and the layer's input to the layer's output, each token by itself. `x` is used up."""
        x = x.add_(self.attention_out(context))
        if self.layer.norms_first:
            return x.add_(self._feed(self.layer.feed_norm(x)))
        x = self.layer.attention_norm(x)
        return self.layer.feed_norm(x.add_(self._feed(x)))

    def _feed(self, x: Tensor) -> Tensor:
        inner = _activated(self.activation, self.feed_in(x))
        for gate in self.gates:  # one, or none
            inner = inner.mul_(gate(x))
        return self.feed_out(inner)


def _is_gelu(activation: Any) -> bool:
    """Whether it is the exact GELU."""
    return type(activation) is GELUActivation and activation.act is F.gelu


def _activated(activation: Any, inner: Tensor) -> Tensor:
    """The activation of a layer, in place where torch can: new memory of this width costs a CPU as much as the GELU."""
    if _is_gelu(activation):
        return torch.ops.aten.gelu.out(inner, out=inner)
    return activation(inner)
