"""How epochs are called in the unit of `report.epoch_unit`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from study.results.aggregate import Cell
from study.space.report_section import EpochUnit

NO_MLM = "–: no masked-LM task beside the task"


class UnitWords(NamedTuple):
    """The words of one unit."""

    short: str  # head of a narrow column
    counted: str  # what is counted, as in "12 ..."
    meaning: str  # a sentence without its full stop, on the main stage


UNITS: Mapping[EpochUnit, UnitWords] = {
    "primary": UnitWords(
        "epochs",
        "epochs",
        "Epochs are passes over the training texts of the primary task (primary examples seen / training texts, main "
        "stage)",
    ),
    "mlm": UnitWords(
        "passes",
        "masked-LM epochs",
        f"Epochs are passes over the texts of the masked-LM task (main stage; {NO_MLM})",
    ),
    "updates": UnitWords("updates", "updates", "Epochs are given as optimizer updates of the main stage"),
}


def unit_of(cells: Iterable[Cell]) -> EpochUnit:
    """The unit in which a study shows epochs."""
    return next((cell.epochs_shown.unit for cell in cells if cell.epochs_shown is not None), "primary")


def epochs_note(cells: Iterable[Cell]) -> str:
    """What the table of epochs shows."""
    return (
        f"{UNITS[unit_of(cells)].meaning}: until the best validation value (the first of equal ones) / until the stop, "
        "mean over the seeds."
    )


def epochs(cell: Cell) -> str:
    """Epochs to the best validation value and to the stop, as "3.2 / 6.0"; a dash where there is none."""
    shown = cell.epochs_shown
    if shown is not None:
        first, last = shown.to_best, shown.to_stop
    else:
        first, last = cell.epochs_to_first_best_mean, cell.epochs_to_stop_mean
        first = cell.epochs_to_best_mean if first is None else first
    if first is None or last is None:
        return "–"
    digits = 0 if shown is not None and shown.unit == "updates" else 1
    return f"{first:.{digits}f} / {last:.{digits}f}"
