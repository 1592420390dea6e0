"""A GPU that isn't there: torch's device `meta`, whose tensors have shapes and no values.

The host works on tensors of the CPU as ever. What it would wait for with a real GPU raises: a value or a size that is
read from the device (`item`, `tolist`, `nonzero`, an index by a mask, `cpu`) is refused by torch itself, as there is
none; a copy to the device that isn't asked for as `non_blocking` or isn't from pinned memory, and an operator that
takes a tensor or a list of the host beside one of the device, raise `Waited`.
"""

from __future__ import annotations

import copy
import dataclasses
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from l3masking.encoders import joined
from l3masking.encoders.load import Encoder

DEVICE = torch.device("meta")


class Waited(AssertionError):
    """The host has waited for the device."""


class Watch(TorchDispatchMode):
    """Looks at each operator, and counts those that work on the device."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()  # by name, views left out
        self.pinned: list[Tensor] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket.__name__
        leaves = tree_leaves((args, kwargs))
        tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
        here = [tensor for tensor in tensors if tensor.device.type == "cpu"]
        devices = [leaf for leaf in leaves if isinstance(leaf, torch.device)]
        there = len(here) < len(tensors) or DEVICE in devices
        if there and not func.is_view:
            self.calls[name] += 1
        if there and name in ("_to_copy", "copy_", "to"):
            if len(here) and not all(any(one is kept for kept in self.pinned) for one in here):
                raise Waited(f"{name} to the device, not from pinned memory")
            if len(here) and not (kwargs.get("non_blocking") or any(one is True for one in args[2:])):
                raise Waited(f"{name} to the device, not non_blocking")
        elif there and any(tensor.dim() for tensor in here):
            raise Waited(f"{name} takes a tensor of the host, which is copied for it")
        return func(*args, **kwargs)

    def pin(self, tensor: Tensor) -> Tensor:
        self.pinned.append(tensor)
        return tensor


class NoLists(TorchFunctionMode):
    """Refuses values of the host that become a tensor of the device: torch makes them on the host, and copies."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and kwargs.get("device") not in (None, torch.device("cpu"), "cpu"):
            raise Waited("torch.tensor with values for the device")
        if func in (Tensor.__getitem__, Tensor.__setitem__) and args[0].device == DEVICE:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            if any(isinstance(one, list | np.ndarray) for one in index):
                raise Waited("an index that is a list")
        return func(*args, **kwargs)


def encoder_on_it(encoder: Encoder) -> Encoder:
    """A copy of an encoder on the device."""
    model = copy.deepcopy(encoder.model).to(DEVICE)
    model.tie_weights()  # type: ignore[operator]
    return dataclasses.replace(encoder, model=model)


@contextmanager
def watched() -> Iterator[Watch]:
    """Raises where what runs in it waits for the device."""
    watch, supported = Watch(), ["cpu", "meta"]
    with (
        mock.patch.object(Tensor, "pin_memory", lambda tensor: watch.pin(tensor)),
        mock.patch.dict(joined.NEAR_LENGTHS, {"meta": joined.NEAR_LENGTHS["cuda"]}),
        mock.patch("torch.optim.optimizer._get_fused_kernels_supported_devices", return_value=supported),
        NoLists(),
        watch,
    ):
        yield watch
