"""What is looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from study.space.spec import StudySpec
from study.store.whole_files import Place

State = Literal["ok", "warn", "FAIL"]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """One thing that was looked at."""

    name: str
    state: State
    text: str
    fix: str = ""  # of what is not ok


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What is to be looked at beside the machine."""

    spec: StudySpec | None = None  # a study that is to run here
    out: Place  # where it goes; for no study, where studies go
    address: str | None = None  # of a cluster's dashboard
