"""Named random streams. A stream is a function of a seed and a name, never of what was drawn before it.

Two methods that run with the same seed share the streams "head", "order" and "split" and so differ in their masks
alone: that is what pairs them. Nothing here touches torch's default generator, except `dropout`, which puts it back.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a seed needs no torch
    import torch

Name = str | int


def stream_seed(seed: int, *names: Name) -> int:
    """A seed in [0, 2**63) from SHA-256 over the seed and the names: equal on every machine and in every process."""
    text = "\x1f".join([str(int(seed)), *(f"{type(name).__name__}:{name}" for name in names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: Name) -> torch.Generator:
    """A fresh CPU generator for one purpose, e.g. `stream(3, "mask")`."""
    import torch

    generator = torch.Generator()
    generator.manual_seed(stream_seed(seed, *names))
    return generator


@contextmanager
def dropout(device: torch.device, seed: int, *names: Name) -> Iterator[None]:
    """Seed the device's default generator for one pass through dropout, which takes no generator, and put it back.

    `torch.manual_seed` is not called: it reseeds every GPU, or files a note for later wherever none is in use.
    """
    generator = default_generator(device)
    state = generator.get_state()
    generator.manual_seed(stream_seed(seed, "dropout", *names))
    try:
        yield
    finally:
        generator.set_state(state)


def default_generator(device: torch.device) -> torch.Generator:
    """The generator that operations on a device draw from where they are given none."""
    import torch

    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or torch.cuda.current_device()]
    return torch.default_generator
