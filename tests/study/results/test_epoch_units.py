"""Epochs in the unit of `report.epoch_unit`, from planted lengths to every place that shows them."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import shutil
from pathlib import Path

import pytest
from plans import KNOWN, space
from small_study import records

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.resolved import planned, read_resolved, write_resolved
from study.report.effort_tables import effort_csv, effort_text, effort_values
from study.report.epoch_wording import epochs
from study.report.publish import publish
from study.results.aggregate import cell_key, cells
from study.results.courses import course_of
from study.results.effort_pairs import compare_effort, efforts_of
from study.results.epoch_units import in_unit
from study.results.gather import gather
from study.space.report_section import EpochUnit, ReportConfig
from study.store.store import Store

UNITS: tuple[EpochUnit, ...] = ("primary", "mlm", "updates")
# 4 batches of 16 a pass over 64 texts of train; 8 a pass over 128 masked-LM texts; an update takes one batch of each
LENGTHS = {
    "epochs_to_best": 5.0,
    "epochs_to_first_best": 3.75,
    "epochs_to_stop": 10.0,
    "updates": 40,
    "mlm_passes": 5.0,
}


def record(seed: int = 0, method: str = "rtm", **more: object) -> dict:
    both = {"accuracy": 0.8, "macro_f1": 0.7}
    place = {"encoder": "bert", "dataset": "arc", "method": method, "variant": None, "objective": "accuracy"}
    run = {"seconds": 60.0, "device": "cpu", "threads": 1}
    made = {"key": f"{method}{seed}", "trajectory": f"{method}{seed}", "seed": seed, "test": both, "validation": both}
    mean = None if method == "stl" else 0.15
    return made | place | LENGTHS | {"mask_mean": mean, "run": run, "curve": []} | more


def test_the_units_count_the_same_updates() -> None:
    found = {unit: [in_unit(record(), value, unit) for value in (3.75, 5.0, 10.0)] for unit in UNITS}
    assert found == {"primary": [3.75, 5.0, 10.0], "mlm": [1.875, 2.5, 5.0], "updates": [15.0, 20.0, 40.0]}
    assert in_unit(record(mlm_passes=0.0), 5.0, "mlm") is None
    third = record(epochs_to_stop=10 / 3, updates=40)
    assert in_unit(third, 1 / 12, "updates") == 1.0, "updates are whole numbers"


def test_cells_show_the_mean_of_the_seeds_and_keep_passes_over_train() -> None:
    given = [record(0), record(1, epochs_to_first_best=5.0, epochs_to_stop=20.0, updates=80, mlm_passes=10.0)]
    shown = {unit: cells(given, [], 2, unit=unit)[0] for unit in UNITS}
    assert {unit: epochs(cell) for unit, cell in shown.items()} == {
        "primary": "4.4 / 15.0",
        "mlm": "2.2 / 7.5",
        "updates": "18 / 60",
    }
    assert shown["primary"].epochs_shown is None
    for cell in shown.values():
        assert dataclasses.replace(cell, epochs_shown=None) == shown["primary"]
    (alone,) = cells([record(method="stl", mlm_passes=0.0)], [], 1, unit="mlm")
    assert epochs(alone) == "–"
    (waiting,) = cells([], [record()], 1, unit="updates")
    assert epochs(waiting) == "–"


def test_courses_and_effort_follow() -> None:
    point = {"update": 8, "epoch": 2.0, "validation": {"accuracy": 0.5}, "task_weights": {}}
    for unit, at in zip(UNITS, (2.0, 1.0, 8.0), strict=True):
        one = course_of(record(curve=[point]), unit)
        assert (one.at_epoch.tolist(), one.at_update.tolist(), one.in_epochs, one.unit) == ([at], [8], True, unit)
    none = course_of(record(method="stl", mlm_passes=0.0, curve=[point]), "mlm")
    assert not none.in_epochs
    assert math.isnan(none.epochs_to_best)
    assert none.updates == 40
    made = [record(seed, method) for seed in range(3) for method in ("rtm", "l3masking", "stl")]
    made = [one | {"mlm_passes": 0.0} if one["method"] == "stl" else one for one in made]
    for unit, stop in zip(UNITS, (10.0, 5.0, 40.0), strict=True):
        found = compare_effort(cells(made, [], 3), efforts_of(made, unit))
        by = {(one.question, one.quantity): one for one in found}
        assert by["l3masking vs rtm", "epochs_to_stop"].first_mean == stop
        assert by["l3masking vs rtm", "updates"].first_mean == 40.0
        against_stl = by["rtm vs stl", "epochs_to_stop"]
        assert (against_stl.n, against_stl.first_mean) == ((0, None) if unit == "mlm" else (3, stop))
        header = next(csv.reader([effort_csv(found).splitlines()[0]]))
        assert ("epoch_unit" in header) == ("epoch_unit" in effort_values(found)[0]) == (unit != "primary")
        said = {
            "primary": "Epochs are passes over the training texts until",
            "mlm": "Epochs are passes over the texts of the masked-LM task (–: no masked-LM task beside the",
            "updates": "Epochs are given as optimizer updates until",
        }
        assert said[unit] in effort_text(found)


def test_a_space_says_the_unit_and_keys_do_not_hear_of_it() -> None:
    assert space().report == ReportConfig(epoch_unit="primary")
    other = space(report={"epoch_unit": "mlm"})
    assert [trial.keys for trial in make_plan(other, KNOWN)] == [trial.keys for trial in make_plan(space(), KNOWN)]
    with pytest.raises(InputError, match=r"report\.epoch_unit") as error:
        space(report={"epoch_unit": "passes"})
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=r"report\.unit.*epoch_unit"):
        space(report={"unit": "mlm"})


def test_a_finished_study_is_shown_in_each_unit(finished_study: Path, tmp_path: Path) -> None:
    root = tmp_path / "out"
    shutil.copytree(finished_study / "out", root)
    resolved = planned(root)
    stored = records(root).values()
    for unit in UNITS[1:]:
        spec = dataclasses.replace(resolved.spec, report=ReportConfig(epoch_unit=unit))
        write_resolved(root, resolved._replace(spec=spec))
        again = read_resolved(root)
        assert again is not None
        assert again.spec == spec
        results, _ = publish(Store(root), again, make_plan(*again))
        entries = json.loads((root / "tables/results.json").read_text())
        assert all(entry["epochs_shown"]["unit"] == unit for entry in entries)
        for cell in results.cells:
            own = [one for one in stored if cell_key(one) == cell.key]
            first = sum(map(mlm_to_best if unit == "mlm" else updates_to_best, own)) / len(own)
            text = "–" if not first else f"{first:.0f} / " if unit == "updates" else f"{first:.1f} / "
            assert epochs(cell).startswith(text)
        words = {
            "primary": "primary examples seen",
            "mlm": "texts of the masked-LM task",
            "updates": "optimizer updates",
        }
        for name in ("tables/results.md", "tables/results.tex", "report.html"):
            assert words[unit] in (root / name).read_text()
        with (root / "figures/curves.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        assert {row["method"] for row in rows} == {"rtm", "l3masking"} | ({"stl"} if unit != "mlm" else set())
        assert {row.get("epoch_unit") for row in rows} == {unit}
        if unit == "updates":
            assert all(row["epoch"] == row["update"] for row in rows)
        captions = (root / "figures/captions.md").read_text()
        assert ("without a masked-LM task" in captions) == (unit == "mlm")
    gathered = gather(Store(root), resolved.spec, make_plan(*resolved))
    assert all(cell.epochs_shown is None for cell in gathered.cells)


def updates_to_best(one: dict) -> float:
    """From the curve: the first evaluation with the best value."""
    values = [point["validation"][one["objective"]] for point in one["curve"]]
    return float(one["curve"][values.index(max(values))]["update"])


def mlm_to_best(one: dict) -> float:
    return one["mlm_passes"] * updates_to_best(one) / one["updates"]
