"""The section `compare` of a space file: which comparisons of a study are confirmatory, said before it has results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from l3masking.errors import InputError

RowPair = tuple[str, str]  # two rows of the result table, each "method" or "method @ variant"


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A confirmatory family that was declared before the present one, and was dropped when there were results."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    questions: tuple[RowPair, ...]
    objectives: tuple[str, ...]
    pairs: tuple[str, ...]  # "encoder / dataset"
    records: int  # that the study had when it was changed, 1 and up
    margin: float | None = None  # of equivalence; none: no margin was declared


@dataclass(frozen=True, kw_only=True)
class CompareConfig:
    """The confirmatory family of a study: these questions on these objectives, for every encoder and dataset pair."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    questions: tuple[RowPair, ...] | None = None  # none: those of the paper whose rows are in the study
    objectives: tuple[str, ...] | None = None  # of the study's objectives; none: the first of them
    margin: float | None = None  # largest difference that does not matter, in (0, 1); none: no test of equivalence
    earlier: tuple[Earlier, ...] = ()  # filled in by a run, and kept in resolved.yaml

    def __post_init__(self) -> None:
        if self.margin is not None and not 0 < self.margin < 1:
            raise InputError(
                f"compare.margin is {self.margin}: a fraction between 0 and 1, such as 0.01 for one percentage point"
            )
