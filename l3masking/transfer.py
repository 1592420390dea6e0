"""Tensors from the host to a device in few copies, for none of which the host waits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def moved(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """Tensors of the CPU on `device`; the same ones where that is the CPU.

    Those of one dtype go together, in one copy from pinned memory, which the device makes when it comes to it.
    """
    import torch

    found = list(tensors)
    if device.type == "cpu":
        return found
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        same = [at for at, tensor in enumerate(tensors) if tensor.dtype == dtype]
        parts = [tensors[at] for at in same]
        flat = torch.cat([part.flatten() for part in parts]).pin_memory().to(device, non_blocking=True)
        for at, view in zip(same, views_of(flat, parts), strict=True):
            found[at] = view
    return found


def views_of(flat: Tensor, shaped: Sequence[Tensor]) -> list[Tensor]:
    """The parts of a flat tensor, one after the other, in the shapes of others that are together as long."""
    parts = flat.split([one.numel() for one in shaped])
    return [part.view(one.shape) for part, one in zip(parts, shaped, strict=True)]
