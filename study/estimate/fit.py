"""Whether fractions of a GPU hold the trainings that are to share it.

Ray's fractions only count: nothing keeps a training within its share, and one that takes more ends its neighbours. So
before a grid with 0 < gpu < 1 the costliest training of each pair is measured (`study.estimate.peak`), and its peak is
held against the share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from l3masking.errors import InputError
from study.estimate.sizes import passes
from study.gpu import CUDA_CONTEXT, GIB, Device
from study.store.hints import read_hint
from study.store.seal import with_checksum
from study.store.whole_files import canonical, content_key, write_atomic

if TYPE_CHECKING:
    from study.assignment import Assignment


FITS_FILE = "fits.json"
FITS_SCHEMA = 1  # of the file; another one is as good as none


def heaviest(assignments: Sequence[Assignment]) -> list[Assignment]:
    """Of all trainings one for each encoder, dataset and size of batch: the most gradients, then the most masks."""
    chosen: dict[tuple[Any, ...], Assignment] = {}
    for assignment in assignments:
        trial = assignment.trial
        size = _size(trial.settings)
        place = (trial.encoder, trial.dataset, *size.values())
        if place not in chosen or _weight(assignment) > _weight(chosen[place]):
            chosen[place] = assignment
    return list(chosen.values())


def _weight(assignment: Assignment) -> tuple[float, float, int]:
    trial = assignment.trial
    return passes(trial.arm), trial.settings.get("masking", {}).get("mean", 0.0), len(trial.objectives)


def _size(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that a training's memory depends on, whatever its method."""
    train = settings["train"]
    return {
        "batch": train["batch"],
        "length_buckets": train["length_buckets"],
        "forward": settings["model"]["forward"],
        "max_length": settings["scoring"]["max_length"],
        "precision": settings["precision"],
        "final": settings["final"]["enabled"],
    }


class FreeGpu(Protocol):
    """A GPU on which nothing else runs, and what is measured there."""

    @property
    def device(self) -> Device: ...

    def peak(self, assignment: Assignment) -> int:
        """Bytes that a training takes at most, as `study.estimate.peak` measures it."""
        ...


def check_fits(root: Path, assignments: Sequence[Assignment], gpu: FreeGpu) -> None:
    """Raise InputError, naming all pairs, where a training does not fit into its fraction of `gpu`.

    `assignments`: what is to be run; those without a fraction (gpu 0, auto, or whole GPUs) are left alone. What was
    measured is kept in `root`/fits.json and not measured again.
    """
    fits = Fits(root)
    lines = [misfit(one, fits.peak(one, gpu.device, gpu.peak), gpu.device) for one in heaviest(shared(assignments))]
    if wrong := [line for line in lines if line is not None]:
        raise InputError("\n".join(wrong))


def shared(assignments: Iterable[Assignment]) -> list[Assignment]:
    """Those that ask for a fraction of a GPU."""
    return [one for one in assignments if one.resources.gpu != "auto" and 0 < one.resources.gpu < 1]


def misfit(assignment: Assignment, peak: int, device: Device) -> str | None:
    """Why a training with this peak (bytes) does not fit, with the fix; None if it does."""
    share, needed = assignment.resources.num_gpus * device.total, peak + CUDA_CONTEXT
    if needed <= share:
        return None
    trial = assignment.trial
    who = f"{trial.encoder} on {trial.dataset} ({trial.method}) needs {needed / GIB:.1f} GiB"
    held = f"resources.gpu {assignment.resources.num_gpus:g} holds {share / GIB:.1f} GiB of a {device.name}, {who}"
    if needed > device.total:
        return f"{held}, more than the whole GPU: lower train.batch or scoring.max_length, or set precision: bf16"
    parts = int(device.total // needed)
    least = math.ceil(100 * needed / device.total) / 100
    even = f", i.e. 1/{parts}" if parts > 1 else ", the whole GPU"
    return f"{held}: use {least:g} or more{even}"


def _key(assignment: Assignment, device: Device) -> str:
    trial = assignment.trial
    return content_key(
        {
            "schema": FITS_SCHEMA,
            "revision": trial.revision,
            "data_hash": trial.whole_hash or trial.data_hash,
            "weight": _weight(assignment),
            "cuda_graphs": assignment.resources.cuda_graphs,
            "size": _size(trial.settings),
            "device": device.name,
            "torch": version("torch"),
        }
    )


class Rates(NamedTuple):
    """What trainings of one kind make of a GPU."""

    alone: float  # updates per second of one
    together: float  # of `number` side by side, in all
    number: int


class Fits:
    """What was measured before, in fits.json; a file that cannot be read is as good as none."""

    def __init__(self, root: Path) -> None:
        self._file = root / FITS_FILE
        self._peaks: dict[str, int] = {}  # key of a training -> bytes
        self._rates: dict[str, Rates] = {}
        if found := read_hint(self._file, _measured):
            self._peaks, self._rates = found

    def peak(self, assignment: Assignment, device: Device, measure: Callable[[Assignment], int]) -> int:
        """Bytes that a training like this one takes at most on such a device; measured where that is not known."""
        key = _key(assignment, device)
        if key not in self._peaks:
            self._peaks[key] = measure(assignment)
            self._write()
        return self._peaks[key]

    def rates(
        self, assignment: Assignment, device: Device, count: int, measure: Callable[[Assignment, int], float]
    ) -> Rates:
        """What `count` trainings like this one make of such a device. measure: the updates per second of so many."""
        key = _key(assignment, device)
        if key not in self._rates or self._rates[key].number != count:
            self._rates[key] = Rates(measure(assignment, 1), measure(assignment, count), count)
            self._write()
        return self._rates[key]

    def _write(self) -> None:
        value = {"schema": FITS_SCHEMA, "peaks": self._peaks} | ({"rates": self._rates} if self._rates else {})
        write_atomic(self._file, canonical(with_checksum(value)))


def _measured(value: Any) -> tuple[dict[str, int], dict[str, Rates]]:
    if value["schema"] != FITS_SCHEMA:
        return {}, {}
    peaks = {str(key): int(peak) for key, peak in value["peaks"].items() if peak > 0}
    found = value.get("rates", {}).items()
    rates = {str(key): Rates(float(one), float(all_), int(number)) for key, (one, all_, number) in found}
    return peaks, {key: one for key, one in rates.items() if min(one) > 0}
