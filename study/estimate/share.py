"""How many trainings share a GPU where `resources.gpu` is auto: as many as it holds, while throughput grows.

Two things are measured before a run: the memory of the costliest training of each pair, and the updates per second of
one such training against those of as many as the memory holds, side by side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from study.estimate.fit import Fits, FreeGpu, Rates, heaviest
from study.gpu import CUDA_CONTEXT, GIB, Device

if TYPE_CHECKING:
    from study.assignment import Assignment

MOST_AT_ONCE = 10  # trainings at a time on a GPU; more were never tried
GROWTH = 0.05  # what a further training at a time has to add to the updates per second of all
GPU_PARTS = 10_000  # of a GPU, as fine as Ray counts
PairShares = dict[tuple[str, str], float]  # (encoder, dataset) -> GPUs per training


class SharedGpu(FreeGpu, Protocol):
    """A GPU that trainings are to share."""

    @property
    def cpus(self) -> float:
        """CPUs of its node, for each GPU of that node."""
        ...

    def rate(self, assignment: Assignment, count: int) -> float:
        """Updates per second of `count` such trainings side by side, in all."""
        ...


def share_of(count: int) -> float:
    """GPUs for each of `count` trainings on one GPU, rounded down."""
    return math.floor(GPU_PARTS / count) / GPU_PARTS


def held(peak: int, device: Device, most: int = MOST_AT_ONCE) -> int:
    """Trainings with this peak (bytes) that a GPU holds at a time: 1 to `most`; 1 also where it does not hold one."""
    fit = (count for count in range(most, 1, -1) if peak + CUDA_CONTEXT <= share_of(count) * device.total)
    return next(fit, 1)


def best(rates: Rates) -> int:
    """Trainings at a time, 1 to `rates.number`, up to which each further one adds GROWTH to the throughput.

    In between, n trainings are taken to make n / (1 + w (n - 1)) times the updates of one: w is the part of its time
    for which a training waits for another one.
    """
    if rates.number == 1:
        return 1
    waits = max(0.0, (rates.number * rates.alone / rates.together - 1) / (rates.number - 1))
    times = [count / (1 + waits * (count - 1)) for count in range(1, rates.number + 1)]
    grown = (count for count in range(1, rates.number) if times[count] < (1 + GROWTH) * times[count - 1])
    return next(grown, rates.number)


def choose_shares(root: Path, assignments: Sequence[Assignment], gpu: SharedGpu) -> tuple[PairShares, list[str]]:
    """The GPUs of each pair whose trainings ask for auto, and a line for each pair.

    Of a pair with several sizes of batch, the size of which the fewest trainings share a GPU counts. What was measured
    is kept in `root`/fits.json and not measured again.
    """
    fits = Fits(root)
    fewest: dict[tuple[str, str], tuple[int, str]] = {}
    for assignment in heaviest(asking(assignments)):
        pair = assignment.trial.encoder, assignment.trial.dataset
        count, why = _count(fits, assignment, gpu)
        if pair not in fewest or count < fewest[pair][0]:
            fewest[pair] = count, why
    shares = {pair: share_of(count) for pair, (count, _) in fewest.items()}
    lines = [f"gpu: auto -> {shares[pair]:g} for {pair[0]} on {pair[1]} ({why})" for pair, (_, why) in fewest.items()]
    return shares, lines


def _count(fits: Fits, assignment: Assignment, gpu: SharedGpu) -> tuple[int, str]:
    """How many trainings like this one share a GPU, and why."""
    peak = fits.peak(assignment, gpu.device, gpu.peak)
    allowed = max(1, min(MOST_AT_ONCE, int(gpu.cpus // assignment.resources.cpu)))
    most = held(peak, gpu.device, allowed)
    memory = f"peak {peak / GIB:.1f} of {gpu.device.total / GIB:.1f} GiB"
    if most == 1:
        limit = "its CPUs allow no more" if allowed == 1 else "its memory holds no more"
        return 1, f"one training at a time: {limit}; {memory}"
    rates = fits.rates(assignment, gpu.device, most, gpu.rate)
    count = best(rates)
    shared = "one training at a time" if count == 1 else f"{count} trainings share a GPU"
    if count < most:
        limit = f"a further one adds less than {GROWTH:.0%} throughput"
    elif most < allowed:
        limit = "its memory holds no more"
    else:
        limit = "its CPUs allow no more" if most < MOST_AT_ONCE else "the most that are tried"
    return (
        count,
        f"{shared}: {limit}; {memory}; {rates.alone:.3g} updates/s alone, {rates.together:.3g} by {most} together",
    )


def asking(assignments: Iterable[Assignment]) -> list[Assignment]:
    """Those whose share of a GPU is still to be chosen."""
    return [one for one in assignments if one.resources.gpu == "auto"]


def without_gpu(assignments: Iterable[Assignment]) -> tuple[PairShares, list[str]]:
    """As `choose_shares` where there is no GPU."""
    return _alike(assignments, 0), ["gpu: auto -> 0 (there is no GPU: trainings run on the processor)"]


def whole_gpu(assignments: Iterable[Assignment]) -> tuple[PairShares, list[str]]:
    """As `choose_shares` where trainings run one after the other."""
    return _alike(assignments, 1), ["gpu: auto -> 1 (executor serial: one training at a time)"]


def _alike(assignments: Iterable[Assignment], gpus: float) -> PairShares:
    return {(one.trial.encoder, one.trial.dataset): gpus for one in asking(assignments)}
