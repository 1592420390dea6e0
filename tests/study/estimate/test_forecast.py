"""A run's own estimate, and its error."""

from __future__ import annotations

from pathlib import Path

import pytest
from plans import KNOWN, space

import study.estimate.forecast
from study.estimate.forecast import Forecast
from study.estimate.sizes import data_sizes
from study.estimate.timing_file import Calibration, Measured, write_calibration
from study.plan.grid import make_plan
from study.store.store import SCHEMA, Store


def test_an_estimate_and_its_error(tmp_path: Path, monkeypatch) -> None:
    now = [5000.0]
    monkeypatch.setattr(study.estimate.forecast.time, "monotonic", lambda: now[0])
    spec, store = space(seeds=3, methods=["stl"]), Store(tmp_path)
    first, *rest = make_plan(spec, KNOWN)
    assert Forecast(store, spec, KNOWN, [first], slots=1).before() == [], "nobody knows"
    assert Forecast(store, spec, KNOWN, [first], slots=1).after() == []
    for key in first.keys.values():
        who = {"encoder": first.encoder, "dataset": first.dataset, "method": "stl", "settings": first.settings}
        store.commit({**who, "schema": SCHEMA, "key": key, "trajectory": first.trajectory, "run": {"seconds": 60.0}})
    forecast = Forecast(store, spec, KNOWN, rest, slots=1)
    (line,) = forecast.before()
    assert line.startswith("estimated time 2 min (1 cell: mean of 1 finished training of the same cell; 1 at a time")
    now[0] += 150
    assert forecast.after() == ["estimated 2 min, took 2 min (25 % more)"]
    assert Forecast(store, spec, KNOWN, rest, slots=2).estimate.seconds == pytest.approx(60)
    nothing = Forecast(store, spec, KNOWN, [], slots=2)
    assert (nothing.before(), nothing.after()) == ([], [])


def test_a_calibration_is_used_where_nothing_is_finished(tmp_path: Path) -> None:
    spec = space(seeds=1, methods=["stl"])
    (trial,) = make_plan(spec, KNOWN)
    found = Measured(
        update_seconds=1.0,
        plain_update_seconds=1.0,
        evaluation_seconds=0.0,
        scoring_seconds=None,
        updates=3,
        host="here",
        device="cpu",
    )
    calibration = Calibration(resources=spec.resources_of)
    calibration = Calibration(resources=spec.resources_of, entries={calibration.key(trial): found})
    write_calibration(tmp_path, calibration)
    forecast = Forecast(Store(tmp_path), spec, KNOWN, [trial], slots=1)
    assert forecast.estimate.seconds == calibration.seconds(trial, data_sizes(spec)["acl-arc"])
    assert "at most, by a short measurement" in forecast.before()[0]
