"""Curves of several seeds as one, against a loop over evaluations and seeds."""

from __future__ import annotations

import statistics

import numpy as np
import pytest
from compared_cells import seeded
from made_courses import course, small_study, weights

from study.results.mean_paths import (
    CURVE_COLUMNS,
    WEIGHT_COLUMNS,
    curve_rows,
    learning_curves,
    mean_path,
    weight_paths,
    weight_rows,
)

CELL = seeded("rtm", [0.7, 0.8])


def test_a_mean_is_over_the_seeds_that_still_train() -> None:
    draws = np.random.default_rng(7)
    given = [course(CELL, seed, draws.uniform(0, 1, n).tolist()) for seed, n in enumerate((9, 4, 1, 6, 9))]
    path = mean_path(given, [one.validation for one in given])
    assert len(path) == 9
    for k, point in enumerate(path):
        values = [float(one.validation[k]) for one in given if k < len(one.validation)]
        assert (point.evaluation, point.update, point.epoch, point.n) == (k + 1, 10 * (k + 1), k + 1, len(values))
        assert point.mean == pytest.approx(statistics.mean(values), abs=1e-12)
        assert (point.low, point.high) == (min(values), max(values))
        assert point.std == pytest.approx(statistics.stdev(values), abs=1e-12)
    assert [point.n for point in path] == [5, 4, 4, 4, 3, 3, 2, 2, 2]


def test_one_seed_has_no_deviation() -> None:
    one = course(CELL, 0, [0.5, 0.75])
    assert [(point.n, point.mean, point.std) for point in mean_path([one], [one.validation])] == [
        (1, 0.5, None),
        (1, 0.75, None),
    ]


def test_a_curve_for_each_cell_that_has_one_in_the_order_of_the_cells() -> None:
    cells, courses = small_study()
    without = seeded("mtl_static", [0.5])
    paths = learning_curves([without, *cells], [*reversed(courses), course(without, 0, [])])
    assert [path.key for path in paths] == [cell.key for cell in cells]
    assert {path.what for path in paths} == {"accuracy"}
    assert [(len(path.points), path.whole) for path in paths] == [(4, 3)] * 3, "seed 1 stops before the others"
    rows = curve_rows(paths)
    assert {len(row) for row in rows} == {len(CURVE_COLUMNS)}
    assert len(rows) == 12


def test_task_weights_come_from_the_longest_curve_of_a_training() -> None:
    both = [seeded("rtm", [0.7], objective=goal) for goal in ("accuracy", "macro_f1")]
    path = [0.5, 0.55, 0.6, 0.65]
    short = course(both[0], 0, [0.5, 0.6], task_weights=weights(path[:2]))
    long = course(both[1], 0, [0.5, 0.6, 0.7, 0.8], task_weights=weights(path))
    for courses in ([short, long], [long, short]):
        primary, mlm = weight_paths(both, courses)
        assert (primary.what, mlm.what) == ("primary", "mlm")
        assert primary.key == both[0].key
        assert [point.mean for point in primary.points] == path
        assert [point.mean for point in mlm.points] == pytest.approx([1 - value for value in path])
    rows = weight_rows([primary, mlm])
    assert {len(row) for row in rows} == {len(WEIGHT_COLUMNS)}
    assert WEIGHT_COLUMNS.index("task") == rows[0].index("primary")


def test_weights_that_nobody_learns_are_no_figure() -> None:
    fixed = course(CELL, 0, [0.5, 0.6], task_weights=weights([0.5, 0.5]))
    alone = course(CELL, 1, [0.5, 0.6], task_weights={"primary": np.ones(2)})
    assert weight_paths([CELL], [fixed, alone]) == []
    moved = course(CELL, 1, [0.5, 0.6], task_weights=weights([0.5, 0.6]))
    assert [path.points[-1].n for path in weight_paths([CELL], [fixed, moved])] == [2, 2]
