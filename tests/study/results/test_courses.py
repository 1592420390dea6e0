"""What is kept of a record for figures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_study import records

from study.plan.grid import make_plan
from study.plan.resolved import planned
from study.results.aggregate import cell_key
from study.results.courses import course_of
from study.results.gather import gather
from study.store.store import Store


def test_courses_are_those_of_the_records(finished_study: Path) -> None:
    root = finished_study / "out"
    resolved = planned(root)
    courses = gather(Store(root), resolved.spec, make_plan(*resolved)).courses
    by_place = {(one.key, one.seed): one for one in courses}
    stored = records(root).values()
    assert len(by_place) == len(courses) == len(stored)
    for record in stored:
        one, curve = by_place[cell_key(record), record["seed"]], record["curve"]
        assert one.at_update.tolist() == [point["update"] for point in curve]
        assert one.at_epoch.tolist() == [point["epoch"] for point in curve]
        assert one.validation.tolist() == [point["validation"][record["objective"]] for point in curve]
        assert {name: values.tolist() for name, values in one.task_weights.items()} == {
            name: [point["task_weights"][name] for point in curve] for name in curve[0]["task_weights"]
        }
        assert (one.updates, one.seconds) == (record["updates"], record["run"]["seconds"])
        if record["method"] == "stl":
            assert one.mask_histogram is None
        else:
            assert one.mask_histogram.tolist() == record["mask_histogram"]


@pytest.mark.parametrize("lost", ["curve", "mask_histogram", "epochs_to_first_best"])
def test_an_older_record_gives_what_it_has(finished_study: Path, lost: str) -> None:
    record = next(one for one in records(finished_study / "out").values() if one["method"] == "rtm")
    older = json.loads(json.dumps(record))
    del older[lost]
    one = course_of(older)
    assert (len(one.at_update) == 0) is (lost == "curve")
    assert (one.mask_histogram is None) is (lost == "mask_histogram")
    assert one.epochs_to_best == record["epochs_to_best" if lost == "epochs_to_first_best" else "epochs_to_first_best"]


def test_points_without_the_objective_are_no_evaluations(finished_study: Path) -> None:
    record = next(iter(records(finished_study / "out").values()))
    record["curve"][0] = {"update": 1, "epoch": 0.5, "task_weights": {}}
    assert np.array_equal(course_of(record).at_update, [point["update"] for point in record["curve"][1:]])
