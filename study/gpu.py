"""The GPU of this process: what it is, how much of it is taken, and how a process is kept to its share.

Importing this imports no torch: a driver needs the names alone.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass
from typing import Protocol

from l3masking.errors import EnvironmentFault

GIB = 2**30
CUDA_CONTEXT = 0.75 * GIB  # of each process beside torch's own memory: CUDA context, workspaces (an assumption)
LASTING = ("CUDA error", "cuDNN error", "CUDA driver error", "device-side assert", "No CUDA GPUs are available")


class GpuLost(EnvironmentFault):
    """Nothing works any more on the GPU of this process: only another process can go on."""

    def __init__(self, said: str) -> None:
        """said: by CUDA, in one line."""
        super().__init__(said)
        self.said = said

    def __str__(self) -> str:
        return f"this process has lost its GPU ({self.said}): the same command continues in a new one"


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
        import torch

        properties = torch.cuda.get_device_properties(0)
        return Device(name=properties.name, total=properties.total_memory)

    def start(self) -> None:
        import torch

        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()

    def peak(self) -> int:
        import torch

        return int(torch.cuda.max_memory_reserved())


def device_name(device: str) -> str:
    """Name of the GPU, or architecture of the processor."""
    if device != "cuda":
        return platform.machine()
    import torch

    return torch.cuda.get_device_name()


def limit_share(gpu: float, device: Gpu | None = None) -> None:
    """Keep torch of this process within its fraction of the GPU, so that a training that grows ends alone.

    Does nothing for a whole GPU or none. To be called before the first tensor is put on the GPU.
    """
    if 0 < gpu < 1:
        import torch

        total = (device or Cuda()).describe().total
        torch.cuda.set_per_process_memory_fraction(max(0.0, gpu - CUDA_CONTEXT / total))


def loss_of(error: BaseException) -> GpuLost | None:
    """What an error means that stays with the process, so that everything after it fails too; None for others.

    Such are a failed assertion in a kernel, an illegal address, a GPU that fell off the bus. Too little memory is not.
    """
    import torch

    said = str(error)
    lasts = isinstance(error, RuntimeError) and any(sign in said for sign in LASTING)
    if isinstance(error, torch.OutOfMemoryError) or not lasts:
        return None
    return GpuLost(said.splitlines()[0])
