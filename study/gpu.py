"""The GPU of this process: what it is, how much of it is taken, and how a process is kept to its share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

GIB = 2**30
CUDA_CONTEXT = 0.75 * GIB  # of each process beside torch's own memory: CUDA context, workspaces (an assumption)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A GPU, as far as it matters here."""

    name: str
    total: int  # bytes


class Gpu(Protocol):
    """What is asked of the GPU of this process; tests put another one in its place."""

    @property
    def place(self) -> str:
        """As torch names it."""
        ...

    def describe(self) -> Device: ...

    def start(self) -> None:
        """Forget earlier peaks."""
        ...

    def peak(self) -> int:
        """Most bytes that torch has reserved since `start`."""
        ...


class Cuda:
    """The GPU that Ray, or the environment, gave to this process."""

    place = "cuda"

    def describe(self) -> Device:
        properties = torch.cuda.get_device_properties(0)
        return Device(name=properties.name, total=properties.total_memory)

    def start(self) -> None:
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        return int(torch.cuda.max_memory_reserved())


def limit_share(gpu: float, device: Gpu | None = None) -> None:
    """Keep torch of this process within its fraction of the GPU, so that a training that grows ends alone.

    Does nothing for a whole GPU or none. To be called before the first tensor is put on the GPU.
    """
    if 0 < gpu < 1:
        total = (device or Cuda()).describe().total
        torch.cuda.set_per_process_memory_fraction(max(0.0, gpu - CUDA_CONTEXT / total))
