"""Work of fixed shapes on a GPU: recorded once as a CUDA graph, then replayed by one call in the place of thousands.

A replay reads weights and buffers where they lay when it was recorded, and what it is given from memory of its own. It
draws dropout from the device's default generator as that is seeded then, so that it gives what a plain call would.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import NamedTuple, Protocol
from weakref import WeakSet

import torch
from torch import Tensor

from l3masking.rng import default_generator

MOST = 24  # graphs of a training: each also takes memory that is not torch's
log = logging.getLogger("l3masking.graphs")
TensorWork = Callable[[Sequence[Tensor]], Sequence[Tensor]]


class Recorded(NamedTuple):
    """What was launched once, to be launched again."""

    found: Sequence[Tensor]  # what the work returned; a replay fills these, and may fill those of other recordings too
    replay: Callable[[], None]  # computes it, with the default generator as it is


class Recorder(Protocol):
    """Records work; what it has recorded ends together, and no two of it are replayed at a time."""

    def record(self, work: Callable[[], Sequence[Tensor]]) -> Recorded:
        """Nothing need be computed yet. The default generator stays as it was."""
        ...


class CudaRecorder:
    """Records CUDA graphs of the current device, which share their memory."""

    def __init__(self) -> None:
        # torch frees the workspaces of a stream with the first of its graphs: the stream is as much theirs as the pool
        self._pool, self._stream = torch.cuda.graph_pool_handle(), torch.cuda.Stream()

    def record(self, work: Callable[[], Sequence[Tensor]]) -> Recorded:
        """Calls `work` twice: once to warm up, and once to record it."""
        device, graph, before = torch.cuda.current_device(), torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        generator = default_generator(torch.device("cuda", device))
        state = generator.get_state()
        torch.cuda.empty_cache()  # of plain calls, whose memory graphs cannot use
        self._stream.wait_stream(before)
        recorded = False
        try:
            with torch.cuda.stream(self._stream):
                work()  # what CUDA loads and allocates at a first call must not be recorded
                graph.register_generator_state(generator)
                # other threads may go on meanwhile: they copy batches
                with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                    found = work()
            recorded = True
        finally:
            if not recorded:
                with suppress(RuntimeError):  # where CUDA has ended the recording, torch would go on to allocate for it
                    torch.cuda.memory._cuda_endAllocateToPool(device, self._pool)  # type: ignore[attr-defined]
                    torch.cuda.memory._cuda_releasePool(device, self._pool)  # type: ignore[attr-defined]
            generator.set_state(state)
            before.wait_stream(self._stream)
        return Recorded(found, graph.replay)


class _Process:
    """Whether work is recorded in this process."""

    wanted = True
    failed = False  # once work could not be recorded, none is


def record_work(wanted: bool) -> None:
    """Whether programs of this process record what they run, as they do by default."""
    _Process.wanted = wanted


def forget_recorded() -> None:
    """Give back the memory of all that is recorded in this process."""
    for programs in list(_LIVE):
        programs.forget()


class Programs:
    """The recorded work of one training."""

    def __init__(self, recorder: Callable[[], Recorder] = CudaRecorder) -> None:
        self._new, self._recorder = recorder, list[Recorder]()  # the one that recorded what there is
        self._seen = set[Hashable]()
        self._made = dict[Hashable, tuple[list[Tensor], Recorded]]()
        _LIVE.add(self)

    def run(self, key: Hashable, work: TensorWork, given: Sequence[Tensor]) -> list[Tensor]:
        """What `work` returns for `given`, in memory that nothing else uses.

        key: all that `work` depends on beside shapes and values of `given`, the values of weights, and the default
        generator. What comes for the second time is recorded. work: looks at no value of a tensor.
        """
        key = key, tuple((tensor.shape, tensor.dtype) for tensor in given)
        made = self._made.get(key) or self._record(key, work, given)
        if made is None:
            return [found.clone() for found in self._called(work, given)]
        mine, recorded = made
        for at, value in zip(mine, given, strict=True):
            at.copy_(value, non_blocking=True)
        recorded.replay()
        return [found.clone() for found in recorded.found]

    def forget(self) -> None:
        """Give back the memory of what is recorded; it is recorded anew where it comes twice again."""
        if self._made and torch.cuda.is_initialized():
            torch.cuda.synchronize()  # a replay may be under way
        self._seen.clear()
        self._made.clear()
        self._recorder.clear()

    def _called(self, work: TensorWork, given: Sequence[Tensor]) -> Sequence[Tensor]:
        """What `work` returns, launched one by one; what is recorded makes room for it where that has to be."""
        generator = default_generator(given[0].device)
        state = generator.get_state()
        try:
            return work(given)
        except torch.OutOfMemoryError as error:
            if not self._made:
                raise
            self._give_up(error)
        generator.set_state(state)
        return work(given)

    def _record(self, key: Hashable, work: TensorWork, given: Sequence[Tensor]) -> tuple[list[Tensor], Recorded] | None:
        """What was made for a key that is seen for the second time; None if there is nothing to replay."""
        if not _Process.wanted or _Process.failed or len(self._made) >= MOST:
            return None
        if key not in self._seen:
            self._seen.add(key)
            return None
        try:
            if not self._recorder:
                self._recorder.append(self._new())
            mine = [value.clone() for value in given]
            self._made[key] = mine, self._recorder[0].record(lambda: work(mine))
        except Exception as error:  # whatever it is, a plain call needs nothing of this
            self._give_up(error)
        return self._made.get(key)

    def _give_up(self, error: Exception) -> None:
        """Record nothing more in this process."""
        said = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("training goes on without CUDA graphs, more slowly and with the same results: %s", said)
        _Process.failed = True
        forget_recorded()


_LIVE = WeakSet[Programs]()
