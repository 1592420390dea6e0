"""Effort against result: every number of a point from planted courses."""

from __future__ import annotations

import statistics

import pytest
from compared_cells import seeded
from made_courses import course, small_study
from result_cells import cell

from study.results.effort import EFFORTS, REPEATABLE, Amount, effort_columns, effort_points, effort_rows


def test_a_point_has_mean_and_deviation_in_both_directions() -> None:
    one = seeded("rtm", [0.6, 0.8, 0.7], wanted=4)
    lengths = {0: 3, 1: 8, 2: 4}
    given = [course(one, seed, [0.5] * (n - 1) + [0.9]) for seed, n in lengths.items()]
    [point] = effort_points([one], reversed(given))
    assert (point.key, point.n, point.wanted) == (one.key, 3, 4)
    assert point.value == Amount(mean=one.mean, std=one.std)
    mean, std = statistics.mean(lengths.values()), statistics.stdev(lengths.values())
    scales = {"epochs_to_best": 1, "epochs_to_stop": 1, "updates": 10, "wall_time": 60}
    assert scales.keys() == set(EFFORTS)
    for name, scale in scales.items():
        assert point.efforts[name].mean == pytest.approx(scale * mean)
        assert point.efforts[name].std == pytest.approx(scale * std)


def test_one_seed_has_no_deviation_and_no_seed_no_point() -> None:
    alone, failed = seeded("rtm", [0.6]), cell("l3masking", None)
    [point] = effort_points([failed, alone], [course(alone, 0)])
    assert point.key.method == "rtm"
    assert point.value.std is None
    assert all(amount.std is None for amount in point.efforts.values())


def test_only_what_is_asked_for_becomes_columns() -> None:
    cells, courses = small_study()
    points = effort_points(cells, courses)
    assert "wall_time" not in REPEATABLE
    assert not [name for name in effort_columns(REPEATABLE) if "time" in name]
    for names in (REPEATABLE, ("wall_time",)):
        rows = effort_rows(points, names)
        assert {len(row) for row in rows} == {len(effort_columns(names))}
        first = dict(zip(effort_columns(names), rows[0], strict=True))
        assert first["test_mean"] == cells[0].mean
        assert first[f"{names[0]}_mean"] == points[0].efforts[names[0]].mean
