"""Checks of this machine and of a cluster before a run: packages, GPUs, tokens, folders, caches, the Hub."""

from typing import TYPE_CHECKING

from l3masking.lazy import public_names

if TYPE_CHECKING:
    from study.doctor.checks import describe as describe
    from study.doctor.checks import examine as examine
    from study.doctor.findings import Diagnosis as Diagnosis
    from study.doctor.findings import Patient as Patient

__getattr__, __all__ = public_names(
    __name__,
    {
        "Diagnosis": "findings",
        "Patient": "findings",
        "describe": "checks",
        "examine": "checks",
    },
)
