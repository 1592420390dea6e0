"""Count the operators of an update, and how often it waits for the device: python tests/benchmarks/launches.py.

Counted is one update of STL and one of META-TARTAN, the optimizer included, after two others. Numbers do not depend on
the encoder's width, so that a narrow one stands for all of its depth.

On a CPU: what torch dispatches, forward and backward, in the branches that the program takes on a GPU. An operator is
at least one launch there. Views and allocations are not counted, and neither is what makes the batches, which works
on the host. Dropout counts as one operator, as does attention, which is run without its dropout for that. Operators
over lists (`_foreach_*`, `_fused_*`) count once each; how many tensors they take is printed too. A wait is a value or a
size that the host reads: `item`, `tolist`, `nonzero`, an index by a mask. The places in the code are listed.
On a GPU: launches of kernels and graphs, by torch's profiler, and the waits of which CUDA's debug mode warns.
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from training import Bench
from training_stl import updater
from training_world import add_world_arguments, device_words, read_world

from l3masking.encoders import joined

KINDS = ("stl", "meta")
WARM = 2  # updates before the one that is counted
# what makes batches, and lays them out
HOST = tuple(f"l3masking/{name}.py" for name in ("training/batches", "masking/corruption", "rng", "transfer"))
ON_HOST = ("laid_out", "groups_of")
ALLOCATES = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
READS = {"_local_scalar_dense", "nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "equal"}
METHODS = ("tolist", "numpy", "cpu")  # of a tensor: they read its values, and on a CPU nothing is dispatched
PROJECT = str(Path(joined.__file__).resolve().parents[2]) + "/"
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch")


@dataclass
class Counts(TorchDispatchMode):
    """Operators and waits of what runs in it, by their place in the project's code."""

    operators: Counter[str] = field(default_factory=Counter)
    waits: Counter[str] = field(default_factory=Counter)
    listed: int = 0  # tensors that operators over lists took

    def __post_init__(self) -> None:
        super().__init__()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = func.overloadpacket.__name__, kwargs or {}
        where = place()
        if where is not None and not func.is_view and name not in ALLOCATES:
            self.operators[where] += 1
            if name.startswith(("_foreach", "_fused")):
                self.listed += len(args[0])
            if name in READS or _sized_by_values(name, args, kwargs):
                self.waits[f"{where}: {name.strip('_')}"] += 1
        return func(*args, **kwargs)

    def __enter__(self) -> Any:
        self._patches = ExitStack()
        for method in METHODS:
            self._patches.enter_context(mock.patch.object(torch.Tensor, method, self._counted(method)))
        return super().__enter__()

    def __exit__(self, *given: Any) -> None:
        super().__exit__(*given)
        self._patches.close()

    def _counted(self, method: str) -> Callable[..., Any]:
        real = getattr(torch.Tensor, method)

        def call(tensor: torch.Tensor, *given: Any, **more: Any) -> Any:
            if (where := place()) is not None:
                self.waits[f"{where}: {method}"] += 1
            return real(tensor, *given, **more)

        return call


def _sized_by_values(name: str, args: Any, kwargs: Any) -> bool:
    """Whether the host must read values to know the size of what comes out."""
    if name == "repeat_interleave":
        return kwargs.get("output_size") is None
    masks = args[1] if name in ("index", "index_put", "index_put_", "_unsafe_index") else ()
    return any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in masks)


def place() -> str | None:
    """`file.py function` of the project's code that is running; None where that makes batches on the host."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        path = frame.f_code.co_filename
        if path.startswith(PROJECT + "l3masking/"):
            name = frame.f_code.co_name
            return None if path.endswith(HOST) or name in ON_HOST else f"{Path(path).name} {name}"
        frame = frame.f_back
    return "the optimizer"


@contextmanager
def as_on_a_gpu() -> Iterator[None]:
    """The branches that the program takes on a GPU; dropout and attention are one operator each, as they are there."""
    attention = F.scaled_dot_product_attention

    def dropout(x: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
        return torch.native_dropout(x, p, True)[0] if training and p else x

    with (
        mock.patch.object(joined, "draws_slowly", return_value=False),
        mock.patch("l3masking.encoders.dropout.draws_slowly", return_value=False),
        mock.patch.dict(joined.NEAR_LENGTHS, cpu=joined.NEAR_LENGTHS["cuda"]),
        mock.patch.object(F, "dropout", dropout),
        mock.patch.object(
            F, "scaled_dot_product_attention", lambda *given, dropout_p=0.0, **more: attention(*given, **more)
        ),
    ):
        yield


def counted_on_host(work: Callable[[], object]) -> dict[str, Any]:
    """What torch dispatches."""
    with Counts() as counts:
        work()
    return {
        "operators": counts.operators.total(),
        "tensors_in_lists": counts.listed,
        "waits": counts.waits.total(),
        "operators_by_place": dict(counts.operators.most_common()),
        "waits_by_place": dict(counts.waits.most_common()),
    }


def counted_on_gpu(work: Callable[[], object]) -> dict[str, Any]:
    """What the GPU is given, and where the host waits for it."""
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as recorded:
        work()
        torch.cuda.synchronize()
    events = recorded.key_averages()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        work()
        torch.cuda.set_sync_debug_mode("default")
    waits = Counter(f"{Path(one.filename).name} line {one.lineno}" for one in said if "synchroniz" in str(one.message))
    return {
        "launches": sum(event.count for event in events if event.key.startswith(LAUNCHES)),
        "kernel_ms": sum(event.self_device_time_total for event in events) / 1e3,
        "waits": waits.total(),
        "waits_by_place": dict(waits.most_common()),
    }


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """The counts of each kind of update."""
    torch.set_num_threads(given.threads)
    on_gpu = given.device == "cuda"
    bench = Bench(read_world(given), given)
    found: dict[str, Any] = {"world": bench.world.words, **device_words(bench.device), "dtype": given.dtype}
    found |= {key: getattr(given, key) for key in ("batch", "accumulate", "buckets")}
    with ExitStack() as branches:
        if not on_gpu:
            branches.enter_context(as_on_a_gpu())
        for kind in KINDS:
            model = bench.fresh_model()
            stepper = bench.stepper(model, multi_task=kind == "meta", buckets=given.buckets)
            update = updater(model, stepper, bench.config.optim, total=1000)
            for number in range(1, WARM + 1):
                update(number)
            found[kind] = (counted_on_gpu if on_gpu else counted_on_host)(partial(update, WARM + 1))
    return found


def describe(found: dict[str, Any], places: int) -> str:
    """The numbers in lines of text."""
    lines = [
        f"{found['world']}; {found['dtype']}, batch {found['batch']} x {found['accumulate']}; {found['device']}, "
        f"torch {found['torch']}"
    ]
    for kind in KINDS:
        counts = found[kind]
        names = ("operators", "tensors_in_lists", "launches", "kernel_ms", "waits")
        numbers = [f"{counts[name]:.0f} {name.replace('_', ' ')}" for name in names if name in counts]
        lines.append(f"{kind}: {', '.join(numbers)}")
        for what in ("operators", "waits"):
            for where, times in list(counts.get(f"{what}_by_place", {}).items())[:places]:
                lines.append(f"  {what} {times:6}  {where}")
    return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_world_arguments(parser)
    parser.set_defaults(layers=12, hidden=64, vocabulary=1000)
    parser.add_argument("--batch", type=int, default=64, help="texts per micro-step and task")
    parser.add_argument("--accumulate", type=int, default=2, help="micro-steps per update")
    parser.add_argument("--buckets", type=int, default=1, help="parts of like length per batch")
    parser.add_argument("--places", type=int, default=12, help="places in the code to list")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser


def main() -> None:
    """Print the counts and write all numbers."""
    given = arguments().parse_args()
    found = measure(given)
    if given.json:
        given.json.write_text(json.dumps(found) + "\n")
    print(describe(found, given.places))


if __name__ == "__main__":
    main()
