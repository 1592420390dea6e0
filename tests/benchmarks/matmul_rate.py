"""Measure how fast a device multiplies matrices: python tests/benchmarks/matmul_rate.py [--device D] [--dtype T].

The rate is that of `torch.nn.functional.linear`, which is what an encoder's layers call, without a bias: large squares
and the products of an encoder of the given width, each the fastest of several calls; the best of all is the device's
rate. It holds for the number of threads that torch has at the time. `--packed` multiplies by weights in oneDNN's own
order instead, as scoring does on a CPU.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch.nn.functional import linear

from l3masking.scoring.forward import Affine, Packed

Shape = tuple[int, int, int]  # rows, inner width, columns
SQUARES = {"cpu": (1024, 2048), "cuda": (4096, 8192)}
DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16}


class Rate(NamedTuple):
    """Multiplications and additions per second, and the product at which they were reached."""

    operations: float
    shape: Shape


def main() -> None:
    """Print a line per shape and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=sorted(SQUARES))
    parser.add_argument("--dtype", default="float32", choices=sorted(DTYPES))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rows", type=int, default=8192, help="rows of the encoder's products: tokens of a batch")
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--packed", action="store_true", help="weights in oneDNN's own order; on a CPU alone")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    shapes = encoder_shapes(given.rows, given.width, 4 * given.width)
    found = survey(device, DTYPES[given.dtype], shapes, packed=given.packed)
    for shape, operations in found.items():
        print(f"{' × '.join(map(str, shape)):24}{operations / 1e9:12.1f} GFLOP/s")
    if given.json:
        rows = [{"shape": shape, "operations_per_second": rate} for shape, rate in found.items()]
        given.json.write_text(json.dumps(rows, indent=1) + "\n")


def encoder_shapes(rows: int, width: int, feed: int) -> list[Shape]:
    """The products of one layer: attention's projections and the two of the feed-forward part."""
    return [(rows, width, width), (rows, width, feed), (rows, feed, width)]


def survey(
    device: torch.device, dtype: torch.dtype, shapes: Sequence[Shape], *, packed: bool = False
) -> dict[Shape, float]:
    """Rate of each large square and of each given shape."""
    squares = [(side, side, side) for side in SQUARES[device.type]]
    return {shape: shape_rate(device, dtype, shape, packed=packed) for shape in [*squares, *shapes]}


def best_rate(device: torch.device, dtype: torch.dtype, shapes: Sequence[Shape]) -> Rate:
    """The best of a survey."""
    found = survey(device, dtype, shapes)
    shape = max(found, key=lambda one: found[one])
    return Rate(found[shape], shape)


def shape_rate(
    device: torch.device, dtype: torch.dtype, shape: Shape, *, seconds: float = 0.2, packed: bool = False
) -> float:
    """Operations per second of the fastest of at least three products, and of as many as fit into `seconds`."""
    rows, inner, columns = shape
    generator = torch.Generator(device=device).manual_seed(0)
    a = torch.randn(rows, inner, device=device, generator=generator).to(dtype)
    w = torch.randn(columns, inner, device=device, generator=generator).to(dtype)
    times: list[float] = []
    multiply = Affine(w, w.new_zeros(columns)).packed() if packed else partial(linear, weight=w)
    if packed and not isinstance(multiply, Packed):
        sys.exit(f"--packed: oneDNN takes no {dtype} here")
    with torch.inference_mode():
        multiply(a)  # the first call chooses and loads its kernel
        while len(times) < 3 or sum(times) < seconds:
            wait_for(device)
            start = time.perf_counter()
            multiply(a)
            wait_for(device)
            times.append(time.perf_counter() - start)
    return 2 * rows * inner * columns / min(times)


def wait_for(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    main()
