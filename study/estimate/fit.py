"""Whether fractions of a GPU hold the trainings that are to share it.

Ray's fractions only count: nothing keeps a training within its share, and one that takes more ends its neighbours. So
before a grid with 0 < gpu < 1 the costliest training of each pair is measured (`study.estimate.peak`), and its peak is
held against the share.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from l3masking.errors import InputError
from study.estimate.peak import measure_peak
from study.estimate.sizes import passes
from study.gpu import CUDA_CONTEXT, GIB, Cuda, Device
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


def check_fits(
    root: Path, assignments: Sequence[Assignment], device: Device, measure: Callable[[Assignment], int]
) -> None:
    """Raise InputError, naming all pairs, where a training does not fit into its fraction of `device`.

    `assignments`: what is to be run; those without a fraction (gpu 0, or whole GPUs) are left alone. `measure`: as
    `measure_peak`, on a free GPU. What was measured is kept in `root`/fits.json and not measured again.
    """
    known = _read(root)
    wrong = []
    for assignment in heaviest([a for a in assignments if 0 < a.resources.gpu < 1]):
        key = _key(assignment, device)
        if key not in known:
            known[key] = measure(assignment)
            _write(root, known)
        line = misfit(assignment, known[key], device)
        if line is not None:
            wrong.append(line)
    if wrong:
        raise InputError("\n".join(wrong))


def check_on_ray(root: Path, assignments: Sequence[Assignment]) -> None:
    """As `check_fits`, on a GPU of the Ray cluster, where a share is asked for at all. Needs a connected driver.

    A GPU of one kind stands for all: on a cluster with several kinds, give the smallest ones a study of their own.
    """
    import ray

    shared = [assignment for assignment in assignments if 0 < assignment.resources.gpu < 1]
    if not shared:
        return
    alone = ray.remote(num_gpus=1, num_cpus=1, max_calls=1)  # a whole GPU, and a process that ends and frees it
    device = ray.get(alone(_describe).remote())
    check_fits(root, shared, device, lambda assignment: int(ray.get(alone(measure_peak).remote(assignment))))


def _describe() -> Device:
    return Cuda().describe()


def misfit(assignment: Assignment, peak: int, device: Device) -> str | None:
    """Why a training with this peak (bytes) does not fit, with the fix; None if it does."""
    share, needed = assignment.resources.gpu * device.total, peak + CUDA_CONTEXT
    if needed <= share:
        return None
    trial = assignment.trial
    who = f"{trial.encoder} on {trial.dataset} ({trial.method}) needs {needed / GIB:.1f} GiB"
    held = f"resources.gpu {assignment.resources.gpu:g} holds {share / GIB:.1f} GiB of a {device.name}, {who}"
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
            "torch": torch.__version__,
        }
    )


def _read(root: Path) -> dict[str, int]:
    """What was measured before; nothing where the file cannot be read, and it is then measured again."""

    def peaks(value: Any) -> dict[str, int]:
        entries = value["peaks"] if value["schema"] == FITS_SCHEMA else {}
        return {str(key): int(peak) for key, peak in entries.items() if peak > 0}

    return read_hint(root / FITS_FILE, peaks) or {}


def _write(root: Path, peaks: Mapping[str, int]) -> None:
    write_atomic(root / FITS_FILE, canonical(with_checksum({"schema": FITS_SCHEMA, "peaks": peaks})))
