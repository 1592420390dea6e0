"""Records of trainings that take given numbers of epochs; no tests here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from result_cells import records

from study.results.aggregate import Cell, cells
from study.results.effort_pairs import Efforts, efforts_of

PER_EPOCH = 13  # updates


def trained(**epochs: Sequence[float]) -> tuple[list[Cell], Efforts]:
    """Cells and efforts. `epochs`: method -> epochs to the stop by seed; the best comes one epoch before.

    A training of s epochs takes 2 s seconds on a machine called cpu; macro F1 stops one epoch later than accuracy.
    """
    made: list[dict[str, Any]] = []
    for record in records(tuple(epochs), max(map(len, epochs.values()))):
        mine = epochs[record["method"]]
        if record["seed"] < len(mine):
            stop = mine[record["seed"]] + (record["objective"] == "macro_f1")
            more = {"epochs_to_stop": stop, "epochs_to_best": stop, "epochs_to_first_best": stop - 1}
            run = record["run"] | {"seconds": 2.0 * mine[record["seed"]]}
            made.append(record | more | {"updates": round(PER_EPOCH * stop), "run": run})
    return cells(made, [], 10), efforts_of(made)
