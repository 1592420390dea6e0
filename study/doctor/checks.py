"""What a run will meet on this machine, and on a cluster, looked at beforehand: one line per thing, with its fix.

Nothing is downloaded, nothing is left behind, and no question takes longer than a few seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from l3masking.errors import EnvironmentFault, InputError
from study.doctor.findings import Diagnosis, Patient
from study.space.spec import StudySpec
from study.store.whole_files import Place

Check = Callable[[Patient], Iterator[Diagnosis]]


def examine(patient: Patient, checks: Sequence[Check] | None = None) -> Iterator[Diagnosis]:
    """The findings of all checks, each as soon as it is there. A check that cannot be made is a finding itself."""
    for check in checks or all_checks():
        try:
            yield from check(patient)
        except (InputError, EnvironmentFault, OSError, ImportError) as error:
            yield Diagnosis(name=check.__name__, state="FAIL", text=str(error) or type(error).__name__)


def all_checks() -> tuple[Check, ...]:
    """In the order in which they are told."""
    from study.doctor import machine
    from study.doctor import ray_cluster as ray
    from study.doctor import storage as places

    return (
        machine.packages,
        machine.processor,
        machine.bf16,
        machine.gpus,
        ray.token,
        ray.cluster,
        ray.listeners,
        ray.shared_files,
        places.folder,
        places.clock,
        places.cache,
        places.scratch,
        places.hub,
        places.inputs,
        places.database,
    )


def describe(finding: Diagnosis) -> str:
    """One line."""
    fix = f"; {finding.fix}" if finding.fix else ""
    return f"{finding.state:4}  {finding.name}: {finding.text}{fix}"


def place_of(spec: StudySpec | None, out: Place | None) -> Place:
    """Where a study goes; without one, the folder of all studies."""
    from study.store.places import find_place

    return Path("studies").absolute() if spec is None and out is None else find_place(out, spec.name if spec else "")
