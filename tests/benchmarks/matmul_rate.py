"""Measure how fast a device multiplies matrices: python tests/benchmarks/matmul_rate.py [--device D] [--dtype T].

The rate is that of the fastest product that torch offers on the device: `torch.nn.functional.linear`, which the layers
of an encoder call, `addmm`, and on a CPU the products with weights in oneDNN's or MKL's own order, where torch has
them. Which one is fastest depends on the processor: with AVX-512 the packed product can be twice as fast as `linear`.
Measured are large squares and the products of an encoder of the given width, each as the fastest of several calls; the
best of all is the device's rate. It holds for the number of threads that torch has at the time.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from l3masking.scoring.layer_pass import CPU_ROWS, Affine, Packed

Shape = tuple[int, int, int]  # rows, inner width, columns
SQUARES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class Rate(NamedTuple):
    """Multiplications and additions per second, and the product at which they were reached."""

    operations: float
    shape: Shape
    product: str  # a key of `products`


def main() -> None:
    """Print a line per shape and product, the best one last, and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=sorted(SQUARES))
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=8192, help="rows of the encoder's products: tokens of a batch")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    found = survey(device, DTYPES[given.dtype], encoder_shapes(device, given.rows, given.width, 4 * given.width))
    for rate in [*found, max(found)]:
        print(f"{' × '.join(map(str, rate.shape)):24}{rate.product:16}{rate.operations / 1e9:12.1f} GFLOP/s")
    if given.json:
        keys = ("operations_per_second", "shape", "product")
        given.json.write_text(json.dumps([dict(zip(keys, rate, strict=True)) for rate in found], indent=1) + "\n")


def encoder_shapes(device: torch.device, rows: int, width: int, feed: int) -> list[Shape]:
    """The products of one layer: attention's projections, apart and side by side, and those of the feed-forward part.

    On a CPU also with as many rows as scoring takes at a time: what stays in the cache is multiplied faster.
    """
    sizes = {rows, min(rows, CPU_ROWS * torch.get_num_threads())} if device.type == "cpu" else {rows}
    layers = ((width, width), (width, 3 * width), (width, feed), (feed, width))
    return [(size, *layer) for size in sorted(sizes, reverse=True) for layer in layers]


def survey(device: torch.device, dtype: torch.dtype, shapes: Sequence[Shape]) -> list[Rate]:
    """The rate of each product for each large square and each given shape."""
    squares = [(side, side, side) for side in SQUARES[device.type]]
    return [rate for shape in [*squares, *shapes] for rate in shape_rates(device, dtype, shape)]


def best_rate(device: torch.device, dtype: torch.dtype, shapes: Sequence[Shape]) -> Rate:
    """The best of a survey."""
    return max(survey(device, dtype, shapes))


def products(weight: Tensor, rows: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Every way in which torch multiplies `rows` rows by a weight [out, in] on this device, by name."""
    bias = weight.new_zeros(len(weight))
    found: dict[str, Callable[[Tensor], Tensor]] = {
        "linear": partial(linear, weight=weight),
        "addmm": Affine(weight, bias),
    }
    packed = Affine(weight, bias).packed()
    if isinstance(packed, Packed):
        found["packed, oneDNN"] = packed
    if weight.device.type == "cpu":
        with suppress(AttributeError, RuntimeError):  # torch without MKL, or a dtype that MKL does not pack
            own = torch.ops.mkl._mkl_reorder_linear_weight(weight, rows)
            found["packed, MKL"] = lambda x: torch.ops.mkl._mkl_linear(x, own, weight, None, len(x))
    return found


def shape_rates(
    device: torch.device, dtype: torch.dtype, shape: Shape, *, only: str | None = None, seconds: float = 0.1
) -> list[Rate]:
    """The rate of each product for one shape: the fastest of at least three, and of as many as fit into `seconds`.

    only: measure the product of this name alone.
    """
    rows, inner, columns = shape
    generator = torch.Generator(device=device).manual_seed(0)
    a = torch.randn(rows, inner, device=device, generator=generator).to(dtype)
    w = torch.randn(columns, inner, device=device, generator=generator).to(dtype)
    rates = []
    with torch.inference_mode():
        for name, multiply in products(w, rows).items():
            if only is None or name == only:
                least = least_seconds(device, partial(multiply, a), seconds)
                rates.append(Rate(2 * rows * inner * columns / least, shape, name))
    return rates


def least_seconds(device: torch.device, work: Callable[[], object], seconds: float) -> float:
    """Seconds of the fastest of at least three calls, and of as many as fit into `seconds`."""
    times: list[float] = []
    work()  # the first call chooses and loads its kernel
    while len(times) < 3 or sum(times) < seconds:
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        times.append(time.perf_counter() - start)
    return min(times)


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
