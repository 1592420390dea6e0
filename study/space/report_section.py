"""The section `report` of a space file: how results are shown. It changes no result, and is no part of any key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import check_choice

EpochUnit = Literal["primary", "mlm", "updates"]


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What tables, figures and the terminal show; records hold all of it."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    # epochs of the main stage: passes over train, over the texts of the masked-LM task, or optimizer updates
    epoch_unit: EpochUnit = "primary"

    def __post_init__(self) -> None:
        check_choice("report.epoch_unit", self.epoch_unit, EpochUnit)
