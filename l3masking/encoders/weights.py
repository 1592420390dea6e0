"""Weights of a module by the names of its parameters: a copy of them, and back."""

from __future__ import annotations

from collections.abc import Mapping

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
