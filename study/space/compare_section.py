"""The section `compare` of a space file: which comparisons of a study are confirmatory, said before it has results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

RowPair = tuple[str, str]  # two rows of the result table, each "method" or "method @ variant"


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A confirmatory family that was declared before the present one, and was dropped when there were results."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    questions: tuple[RowPair, ...]
    objectives: tuple[str, ...]
    pairs: tuple[str, ...]  # "encoder / dataset"
    records: int  # that the study had when it was changed, 1 and up


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The confirmatory family of a study: these questions on these objectives, for every encoder and dataset pair."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    questions: tuple[RowPair, ...] | None = None  # none: those of the paper whose rows are in the study
    objectives: tuple[str, ...] | None = None  # of the study's objectives; none: the first of them
    earlier: tuple[Earlier, ...] = ()  # filled in by a run, and kept in resolved.yaml
