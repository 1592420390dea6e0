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
ROUNDS = 3  # of each measurement; the best one counts, as others may be at work


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

    cores, memory = usable_cores(), psutil.virtual_memory()
    text = (
        f"{cores:g} of {os.cpu_count()} cores, {memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB memory free"
    )
    text += f", torch starts with {torch.get_num_threads()} threads"
    resources = patient.spec.resources if patient.spec else None
    if resources and patient.address is None and max(resources.cpu, resources.threads) > cores:
        fix = f"--set resources.cpu={max(1, int(cores))} --set resources.threads={max(1, int(cores))}"
        text += f"; a trial asks for cpu {resources.cpu:g} and {resources.threads} threads"
        yield Diagnosis(name="processor", state="FAIL" if resources.cpu > cores else "warn", text=text, fix=fix)
    elif memory.available < 2 * GIB:
        yield Diagnosis(name="processor", state="warn", text=text, fix="a trial may need more than is free: end others")
    else:
        yield Diagnosis(name="processor", state="ok", text=text)


def usable_cores() -> float:
    """Cores of this process: by its affinity and its container's share."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        quota, period = CGROUP.read_text().split()[:2]
        return cores if quota == "max" else min(cores, int(quota) / int(period))
    except (OSError, ValueError):
        return cores


def bf16(patient: Patient) -> Iterator[Diagnosis]:
    """How fast this processor is in bf16, measured against float32."""
    import torch

    single, half = (multiplication_seconds(dtype) for dtype in (torch.float32, torch.bfloat16))
    ratio = single / half
    text = f"bf16 is {ratio:.2g} times as fast as float32 on this processor"
    wanted = patient.spec is not None and patient.spec.precision == "bf16" and not patient.spec.resources.gpu
    if ratio < 1 and wanted:
        yield Diagnosis(name="bf16", state="warn", text=text, fix="precision: float32, or a GPU")
    else:
        yield Diagnosis(name="bf16", state="ok", text=text if ratio >= 1 else f"{text}: keep precision: float32")


def multiplication_seconds(dtype: object) -> float:
    """Seconds of one matrix product of 128 × 768 × 768, the shape of a layer, on one thread."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        left, right = torch.ones(128, 768, dtype=dtype), torch.ones(768, 768, dtype=dtype)  # type: ignore[call-overload]
        seconds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            torch.mm(left, right)
            seconds.append(time.perf_counter() - began)
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
        half = "with" if torch.cuda.is_bf16_supported() else "without"
        text = f"{index}: {properties.name}, {properties.total_memory / GIB:.1f} GiB, {half} bf16"
        yield Diagnosis(name="gpus", state="ok", text=text)
    if not asked and not auto and patient.spec is not None and here:
        yield Diagnosis(name="gpus", state="warn", text="trials run on the processor", fix="--set resources.gpu=0.25")
