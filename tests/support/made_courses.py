"""Courses of trainings with planted values, and the cells that belong to them; no tests here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from compared_cells import seeded

from study.results.aggregate import Cell
from study.results.courses import Course
from study.results.responses import Response


def course(cell: Cell, seed: int, values: Sequence[float] = (0.5, 0.7, 0.6), **more) -> Course:
    """A training of `cell` that was evaluated after each epoch of ten updates, with these validation values."""
    k = np.arange(1, len(values) + 1)
    given = {
        "key": cell.key,
        "seed": seed,
        "trajectory": f"{'/'.join(map(str, cell.key[:-1]))}/{seed}",
        "epochs_to_best": float(np.argmax(values) + 1) if len(values) else 1.0,
        "epochs_to_stop": float(len(values)),
        "updates": 10 * len(values),
        "seconds": 60.0 * len(values),
        "at_update": 10 * k,
        "at_epoch": k.astype(float),
        "validation": np.array(values, dtype=float),
        "task_weights": {},
        "mask_histogram": None,
    }
    return Course(**given | more)


def weights(primary: Sequence[float]) -> Mapping[str, np.ndarray]:
    """Weights of two tasks."""
    first = np.array(primary, dtype=float)
    return {"mlm": 1 - first, "primary": first}


def histogram(**counts: int) -> np.ndarray:
    """Counts of 100 bins, given as p15=3 for three tokens in [.15, .16)."""
    out = np.zeros(100, dtype=np.int64)
    for name, count in counts.items():
        out[int(name[1:])] = count
    return out


def small_study(
    methods: Sequence[str] = ("stl", "rtm", "l3masking"), seeds: int = 3, **more
) -> tuple[list[Cell], list[Course]]:
    """Cells and courses of one encoder and dataset; arms that mask learn weights and have masks."""
    cells, courses = [], []
    for place, method in enumerate(methods):
        one = seeded(method, [0.7 + 0.01 * place + 0.001 * seed for seed in range(seeds)], wanted=seeds, **more)
        cells.append(one)
        for seed in range(seeds):
            values = [0.5, 0.6 + 0.01 * place, 0.65, 0.6][: 4 - seed % 2]
            extra = {} if method == "stl" else {"mask_histogram": histogram(p10=place, p15=5, p40=place)}
            extra["task_weights"] = weights([0.5 + 0.01 * (k + place) for k in range(len(values))]) if extra else {}
            courses.append(course(one, seed, values, **extra))
    return cells, courses


def response(value: float, method: str = "rtm", **more) -> Response:
    """A setting that a search has tried twice, with this mean."""
    where = {"encoder": "bert", "dataset": "arc", "method": method, "objective": "accuracy"}
    given = {"values": {}, "wanted": 2, "by_seed": {0: value - 0.1, 1: value + 0.1}, "best": False}
    return Response(**where | given | more)
