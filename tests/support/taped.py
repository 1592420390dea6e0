"""A recorder for the CPU: notes the operators that some work calls, and calls them again on the same memory.

As with a CUDA graph, a replay runs no Python of the work: what it read from lists, numbers and clocks stays as it was.
What a recording cannot hold is refused as CUDA refuses it: to read a value, or a shape that depends on values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from l3masking.graphs import Recorded

REFUSED = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::repeat_interleave", "aten::lift_fresh"}


class Tape(TorchDispatchMode):
    """The operators that are called inside."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = list[Callable[[], None]]()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        schema = function._schema
        if schema.name in REFUSED:
            raise RuntimeError(f"{schema.name}: operation not permitted when stream is capturing\nsecond line")
        found = function(*args, **(kwargs or {}))
        if not function.is_view:  # else its memory is that of another one
            noted, (args, kwargs) = memory_of(found), memory_of((args, kwargs or {}))
            self.calls.append(partial(self.again, partial(function, *args, **kwargs), noted))
        return found

    @staticmethod
    def again(call: Callable[[], Any], before: Any) -> None:
        for old, new in zip(tree_leaves(before), tree_leaves(call()), strict=True):
            if isinstance(old, Tensor):  # one that is written in place is copied onto itself
                old.copy_(new)


def memory_of(tree: Any) -> Any:
    """The same tensors, of which autograd knows nothing."""
    return tree_map(lambda leaf: leaf.detach() if isinstance(leaf, Tensor) else leaf, tree)


class TapeRecorder:
    """Counts what it records and replays."""

    def __init__(self) -> None:
        self.recorded = self.replayed = self.operators = 0

    def record(self, work: Callable[[], Sequence[Tensor]]) -> Recorded:
        self.recorded += 1
        state = torch.get_rng_state()
        try:
            with Tape() as tape:
                found = work()
        finally:
            torch.set_rng_state(state)
        self.operators += len(tape.calls)
        for tensor in found:
            tensor.fill_(torch.nan)  # a graph has computed nothing yet

        def replay() -> None:
            self.replayed += 1
            with torch.no_grad():
                for call in tape.calls:
                    call()

        return Recorded(found, replay)
