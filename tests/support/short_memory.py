"""A device whose memory holds a number of tokens: a pass that takes more raises what torch raises."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn


class ShortMemory:
    """Makes every embedding of more than `room` ids fail, from the pass of number `begin` on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, *, begin: int = 0) -> None:
        self.passes: list[int] = []  # ids of each pass that was tried
        self.room, self.begin = room, begin
        self.error: Exception = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        forward = nn.Embedding.forward

        def limited(layer: nn.Embedding, ids: Tensor) -> Tensor:
            if layer.padding_idx is not None:  # that of words: positions and types are not counted
                self.passes.append(ids.numel())
                if ids.numel() > self.room and len(self.passes) > self.begin:
                    raise self.error
            return forward(layer, ids)

        monkeypatch.setattr(nn.Embedding, "forward", limited)

    @property
    def failed(self) -> int:
        """Passes that did not fit."""
        return sum(size > self.room for size in self.passes[self.begin :])
