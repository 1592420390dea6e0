"""A study's results on the part of the test texts that train does not hold, from what its records hold already.

Records keep the predicted class of every test text, and data/<content hash>.json its true class and whether train holds
its text (case and white space folded). So every test value can be computed again on the other rows alone. Nothing is
trained, and the weights stay those that the whole validation split selected.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from l3masking.data.spec import DataSpec
from l3masking.data.textdata import absent_classes
from l3masking.metrics import METRICS
from study.plan.resolved import Resolved
from study.results.aggregate import Cell
from study.results.gather import Results
from study.results.spread import spread
from study.results.texts import METRIC_TOLERANCE, Truth
from study.store.data_facts import SplitFacts, read_facts

NO_FACTS = "this study keeps no list of the test texts that train holds; run it again, which trains nothing anew"
SAME_TEXT = "texts count as one whatever their case and white space"


class UnseenPart(NamedTuple):
    """How much of a test split is left."""

    rows: int  # whose text train does not hold
    of: int  # in the whole split


class Unseen(NamedTuple):
    """Results on the unseen part of every dataset where there is one."""

    results: Results  # their cells and predictions alone; no comparison yet, and nothing of evaluation sets
    truths: dict[str, Truth]  # dataset -> the true classes of the rows that are left
    parts: dict[str, UnseenPart]  # dataset -> how many these are
    notes: list[str]  # what a reader must know, the rows first


def unseen_part(results: Results, resolved: Resolved, root: Path) -> Unseen:
    """The cells of a study with test values on unseen texts. A dataset without such rows is left out, with a note."""
    truths: dict[str, Truth] = {}
    parts: dict[str, UnseenPart] = {}
    rows: dict[str, NDArray[np.intp]] = {}
    whole: dict[str, Truth] = {}
    notes = []
    for name in dict.fromkeys(cell.dataset for cell in results.cells):
        data = resolved.spec.datasets[name]
        if isinstance(data, DataSpec) and data.per_seed:
            notes.append(f"{name}: no unseen part: each seed has its own splits, and with them its own unseen part")
            continue
        facts = read_facts(root, resolved.identities.datasets.get(name))
        if facts is None:
            notes.append(f"{name}: no unseen part: {NO_FACTS}")
            continue
        test = facts["splits"]["test"]
        left, of = _rows_left(test), len(test["labels"])
        parts[name] = UnseenPart(len(left), of)
        notes += _said(name, parts[name], test, left)
        if len(left):
            labels, classes = np.asarray(test["labels"], dtype=np.int32), len(test["classes"])
            whole[name], rows[name] = Truth(labels, classes), left
            truths[name] = Truth(labels[left], classes)
    for cell in results.cells:
        if cell.dataset in rows and not _reproduced(cell, results.predictions.get(cell.key, {}), whole[cell.dataset]):
            notes.append(f"{cell.dataset}: left out: the kept labels do not give the recorded test values")
            del rows[cell.dataset], truths[cell.dataset], parts[cell.dataset]
    predictions = {
        key: {seed: row[rows[key.dataset]] for seed, row in by_seed.items()}
        for key, by_seed in results.predictions.items()
        if key.dataset in rows
    }
    cells = [
        on_rows(cell, predictions.get(cell.key, {}), truths[cell.dataset])
        for cell in results.cells
        if cell.dataset in rows
    ]
    kept = results._replace(
        cells=cells, predictions=predictions, comparisons=[], set_comparisons=[], set_predictions={}
    )
    return Unseen(kept, truths, parts, notes)


def on_rows(cell: Cell, predictions: Mapping[int, NDArray[np.integer]], truth: Truth) -> Cell:
    """The cell with its test values on some rows. `predictions`: by seed, of these rows; `truth`: their classes."""
    metric = METRICS[cell.objective]
    values = {seed: metric(predictions[seed], truth.labels, truth.num_classes) for seed in cell.values}
    mean, std, low, high = spread(values.values())
    return dataclasses.replace(
        cell,
        mean=mean,
        std=std,
        ci_low=low,
        ci_high=high,
        values=values,
        test_texts=len(truth.labels),
        evaluations={},
    )


def _rows_left(test: SplitFacts) -> NDArray[np.intp]:
    """The rows whose text train does not hold, rising."""
    return np.setdiff1d(np.arange(len(test["labels"])), np.asarray(test["in_train"]["folded"], dtype=np.intp))


def _said(name: str, part: UnseenPart, test: SplitFacts, left: NDArray[np.intp]) -> list[str]:
    if not part.rows:
        return [f"{name}: train holds every one of its {part.of} test texts, so that no unseen part is left"]
    if part.rows == part.of:
        return [f"{name}: train holds none of its {part.of} test texts, so that the unseen part is all of them"]
    lines = [
        f"{name}: unseen part of test: {part.rows} of {part.of} texts, those that train does not hold ({SAME_TEXT})"
    ]
    if absent := absent_classes([test["labels"][row] for row in left], test["classes"]):
        lines.append(f"{name}: no unseen text of {', '.join(absent[:10])}: such a class counts 0 in macro F1")
    return lines


def _reproduced(cell: Cell, predictions: Mapping[int, NDArray[np.integer]], truth: Truth) -> bool:
    """Whether labels and predictions of the whole split give each recorded test value."""
    metric = METRICS[cell.objective]
    return all(
        seed in predictions
        and len(predictions[seed]) == len(truth.labels)
        and abs(metric(predictions[seed], truth.labels, truth.num_classes) - value) <= METRIC_TOLERANCE
        for seed, value in cell.values.items()
    )
