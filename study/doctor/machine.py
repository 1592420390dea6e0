"""What `l3study doctor` says of this machine: packages, processor, GPUs."""

from __future__ import annotations

import importlib.metadata
import os
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path

from study.doctor.findings import Diagnosis, Patient
from study.version import DISTRIBUTION

SHOWN = ("ray", "torch", "transformers", "datasets", "optuna", "mlflow")
GIB = 2**30
CGROUP = Path("/sys/fs/cgroup/cpu.max")  # the share of the processor that a container has: "<microseconds> <period>"
PRODUCT = (512, 384, 1536)  # rows, inner width, columns: a layer of a small encoder
ROUNDS = 3  # of each measurement; the best one counts, as the first one loads its kernel
GAIN = 1.5  # of a product, from which a whole training gains: norms, dropout and the optimizer are not faster in bf16
SET_BF16 = "set precision: bf16 before the first run (it is part of each trial's key)"


def packages(patient: Patient) -> Iterator[Diagnosis]:
    """Python and the packages, as pyproject.toml asks for them."""
    python, wanted = requirements()
    wrong = []
    running = ".".join(map(str, sys.version_info[:3]))
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    if running not in SpecifierSet(python):
        wrong.append(f"Python {running} (wanted: {python})")
    for requirement in map(Requirement, wanted):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        found = version_of(requirement.name)
        if found is None or not requirement.specifier.contains(found, prereleases=True):
            wrong.append(f"{requirement.name} {found or 'missing'} (wanted: {requirement.specifier or 'any'})")
    shown = ", ".join(f"{name} {version_of(name)}" for name in SHOWN)
    if wrong:
        fix = "make setup, or pip install -c constraints.txt -e ."
        yield Diagnosis(name="packages", state="FAIL", text=", ".join(wrong), fix=fix)
    elif not wanted:
        text = f"Python {running}, {shown}; no pyproject.toml here says which are wanted"
        yield Diagnosis(name="packages", state="warn", text=text)
    else:
        yield Diagnosis(name="packages", state="ok", text=f"Python {running}, {shown}")


def requirements() -> tuple[str, list[str]]:
    """Which Python, and which packages: of the checkout around this file, or of the installed distribution.

    Nothing where the code alone was brought here.
    """
    file = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if file.is_file():
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        return str(project["requires-python"]), list(project["dependencies"])
    try:
        metadata = importlib.metadata.metadata(DISTRIBUTION)
    except importlib.metadata.PackageNotFoundError:
        return "", []
    return metadata["Requires-Python"], importlib.metadata.requires(DISTRIBUTION) or []


def version_of(name: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def processor(patient: Patient) -> Iterator[Diagnosis]:
    """Cores that this process may use, memory, and the threads that a trial is to have."""
    import psutil
    import torch

    cores, memory, there = usable_cores(), psutil.virtual_memory(), os.cpu_count() or 1
    text = (
        f"{cores:g} of {there} core{'s' * (there != 1)}, {memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB "
    )
    text += f"memory free, torch starts with {threads_of(torch.get_num_threads())}"
    resources = patient.spec.resources if patient.spec else None
    if resources and patient.address is None and max(resources.cpu, resources.threads) > cores:
        fix = f"--set resources.cpu={max(1, int(cores))} --set resources.threads={max(1, int(cores))}"
        text += f"; a trial asks for cpu {resources.cpu:g} and {threads_of(resources.threads)}"
        yield Diagnosis(name="processor", state="FAIL" if resources.cpu > cores else "warn", text=text, fix=fix)
    elif memory.available < 2 * GIB:
        yield Diagnosis(name="processor", state="warn", text=text, fix="a trial may need more than is free: end others")
    else:
        yield Diagnosis(name="processor", state="ok", text=text)


def threads_of(number: int) -> str:
    """ "1 thread", "2 threads"."""
    return f"{number} thread{'s' * (number != 1)}"


def usable_cores() -> float:
    """Cores of this process: by its affinity and its container's share."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = CGROUP.read_text().split()[:2]
        return cores if quota == "max" else min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        return cores


def bf16(patient: Patient) -> Iterator[Diagnosis]:
    """Whether bf16 makes trials on this processor faster: what its instructions say, and what a product takes."""
    import torch

    single, half = (multiplication_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    ratio, names = single / half, bf16_instructions()
    which = f"bf16 instructions ({', '.join(names)})" if names else "no bf16 instructions"
    text = f"this processor has {which}; a matrix product in bf16 is {ratio:.2g} times as fast as in float32"
    spec = patient.spec
    if spec is not None and spec.precision == "bf16":
        wrong = ratio < 1 and not spec.resources.gpu
        fix = "precision: float32, or a GPU" if wrong else ""
        yield Diagnosis(name="bf16", state="warn" if wrong else "ok", text=text, fix=fix)
    elif ratio >= GAIN and not (spec and spec.resources.gpu):
        yield Diagnosis(name="bf16", state="ok", text=text, fix=SET_BF16)
    else:
        yield Diagnosis(name="bf16", state="ok", text=text if ratio >= GAIN else f"{text}: keep precision: float32")


def bf16_instructions() -> list[str]:
    """Those of this processor for products of bf16, by torch's names of x86 and Arm."""
    import torch

    found = torch.cpu.get_capabilities()
    return [name for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16") if found.get(name)]


def multiplication_seconds(dtype: object) -> float:
    """Seconds of the processor for a matrix product of PRODUCT, on one thread."""
    import torch

    rows, inner, columns = PRODUCT
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        x = torch.ones(rows, inner, dtype=dtype)  # type: ignore[call-overload]
        weight = torch.ones(columns, inner, dtype=dtype)  # type: ignore[call-overload]
        seconds = []
        for _ in range(ROUNDS):
            began = time.thread_time()
            torch.nn.functional.linear(x, weight)
            seconds.append(time.thread_time() - began)
        return min(seconds)
    finally:
        torch.set_num_threads(threads)


def gpus(patient: Patient) -> Iterator[Diagnosis]:
    """The GPUs that torch finds here, and whether a study needs one."""
    import torch

    auto = patient.spec is not None and patient.spec.resources.gpu == "auto"  # takes what there is
    asked = patient.spec.resources.num_gpus if patient.spec and not auto else 0.0
    here = patient.address is None  # else the nodes have them
    if not torch.cuda.is_available():
        if asked and here:
            text = f"torch {torch.__version__} finds none, and a trial asks for {asked:g}"
            fix = "--set resources.gpu=0, or install a CUDA build of torch and its driver"
            yield Diagnosis(name="gpus", state="FAIL", text=text, fix=fix)
        else:
            yield Diagnosis(name="gpus", state="ok", text="none; trials run on the processor")
        return
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        half = "with" if (bf16 := has_bf16(index)) else "without"
        text = f"{index}: {properties.name}, {properties.total_memory / GIB:.1f} GiB, {half} bf16"
        if asked and patient.spec is not None:
            text += f"; trainings {'with' if patient.spec.resources.cuda_graphs else 'without'} CUDA graphs"
        fix = SET_BF16 if bf16 and asked and patient.spec and patient.spec.precision != "bf16" else ""
        yield Diagnosis(name="gpus", state="ok", text=text, fix=fix)
    if not asked and not auto and patient.spec is not None and here:
        yield Diagnosis(name="gpus", state="warn", text="trials run on the processor", fix="--set resources.gpu=0.25")


def has_bf16(index: int) -> bool:
    """Whether a GPU has bf16 in hardware: what it only emulates is slower than float32."""
    import torch

    with torch.cuda.device(index):
        return torch.cuda.is_bf16_supported(including_emulation=False)
