"""Number formats of scoring and training."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the names of the formats need no torch
    import torch

Precision = Literal["float32", "bf16"]


def autocast(device: torch.device, precision: Precision) -> AbstractContextManager:
    """bf16: matrix products under autocast, weights and losses stay float32. float32: nothing changes."""
    if precision == "bf16":
        import torch

        return torch.autocast(device.type, dtype=torch.bfloat16)
    return nullcontext()
