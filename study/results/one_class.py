"""Rows whose models all predict one class: their values say how frequent that class is, and nothing of the method."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from study.results.aggregate import Cell
from study.results.texts import Predictions


def one_class_notes(cells: Iterable[Cell], predictions: Predictions) -> list[str]:
    """A line that names the rows of two models or more, each of which predicts one class for every test text, if any.

    `predictions`: as `study.results.gather.Results` has them.
    """
    found = []
    for cell in cells:
        models = list(predictions.get(cell.key, {}).values())
        if len(models) > 1 and all(len(model) > 1 and np.ptp(model) == 0 for model in models):
            found.append(f"all {len(models)} models of {cell.key.name} chosen by {cell.objective}")
    return [f"One class is predicted for every test text by {', by '.join(found)}."] if found else []
