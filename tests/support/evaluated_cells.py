"""Records and cells of a dataset with evaluation sets, whose values are planted; no tests here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l3masking.metrics import METRICS
from study.results.aggregate import Cell, CellKey, cells
from study.results.paired import named_generator
from study.results.texts import Truth

CLASSES = ("contradiction", "entailment", "neutral")  # of the dataset
SETS = {"hans": ("entailment", "non-entailment"), "anli": CLASSES}  # evaluation set -> its classes
TEXTS = {"test": 60, "hans": 80, "anli": 50}
RIGHT = {  # share of right answers: planted, so that masking closes the gap to hans and no other
    "stl": {"test": 0.8, "hans": 0.5, "anli": 0.4},
    "rtm": {"test": 0.8, "hans": 0.55, "anli": 0.4},
    "l3masking": {"test": 0.8, "hans": 0.75, "anli": 0.45},
}
TRUTH = {
    name: Truth(named_generator("truth", name).integers(0, len(SETS.get(name, CLASSES)), size).astype(np.int32), width)
    for name, size in TEXTS.items()
    for width in (len(SETS.get(name, CLASSES)),)
}


def answers(name: str, *model: str | int, right: float) -> list[int]:
    """Predicted classes on the test split or a set, of which a share is right."""
    generator, truth = named_generator(name, *model), TRUTH[name]
    wrong = (truth.labels + 1 + generator.integers(0, max(1, truth.num_classes - 1), len(truth.labels))) % (
        truth.num_classes
    )
    return np.where(generator.random(len(truth.labels)) < right, truth.labels, wrong).tolist()


def metrics(name: str, predictions: Sequence[int]) -> dict[str, float]:
    truth = TRUTH[name]
    return {metric: METRICS[metric](predictions, truth.labels, truth.num_classes) for metric in METRICS}


def record(
    method: str, seed: int, objective: str = "accuracy", *, sets: Sequence[str] = tuple(SETS), **more: Any
) -> dict[str, Any]:
    """One record of `mnli`, with the results on the given sets."""
    model = (method, seed, objective)
    key = CellKey("bert", "mnli", method, None, None if method == "stl" else 0.15, objective)
    test = answers("test", *model, right=RIGHT[method]["test"])
    found = {name: answers(name, *model, right=RIGHT[method][name]) for name in sets}
    run = {"seconds": 9.5, "host": "here", "device": "cpu", "threads": 1, "attempts": 1}
    entry = {"key": "-".join(map(str, model)), "trajectory": f"{method}{seed}", "seed": seed, "run": run}
    entry |= {"epochs_to_best": 1.5, "epochs_to_stop": 2.5, "classes": len(CLASSES), "labels": list(CLASSES)}
    entry |= {"test": metrics("test", test), "validation": metrics("test", test), "test_predictions": test}
    if sets:
        entry["evaluations"] = {
            name: {"metrics": metrics(name, row), "labels": list(SETS[name]), "predictions": row}
            for name, row in found.items()
        }
    return entry | key._asdict() | more


def records(
    methods: Sequence[str] = tuple(RIGHT), seeds: int = 4, objectives: Sequence[str] = ("accuracy", "macro_f1"), **more
) -> list[dict[str, Any]]:
    """All of a study."""
    return [record(method, seed, goal, **more) for method in methods for goal in objectives for seed in range(seeds)]


def evaluated(found: Sequence[Mapping[str, Any]] | None = None, wanted: int = 4) -> list[Cell]:
    """Cells of such records."""
    return cells(records() if found is None else found, [], wanted)
