"""Weights of a module by the names of its parameters: a copy of them, as bytes, and back."""

from __future__ import annotations

from collections.abc import Mapping

import safetensors.torch
import torch
from torch import Tensor, nn


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of all weights by name, where they lie; shared ones once."""
    return {name: parameter.detach().clone() for name, parameter in module.named_parameters()}


@torch.no_grad()
def restore_weights(module: nn.Module, weights: Mapping[str, Tensor]) -> None:
    """Put weights back, from any device."""
    for name, parameter in module.named_parameters():
        parameter.copy_(weights[name])


def packed(weights: Mapping[str, Tensor], facts: Mapping[str, str] | None = None) -> bytes:
    """Weights as the content of a safetensors file, with `facts` in its header."""
    whole = {name: weight.cpu().contiguous() for name, weight in weights.items()}
    return safetensors.torch.save(whole, None if facts is None else dict(facts))


def unpacked(content: bytes) -> dict[str, Tensor]:
    """What `packed` made, on the CPU."""
    return safetensors.torch.load(content)
