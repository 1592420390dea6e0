"""What MLflow shows of cells, also while the study goes on."""

import dataclasses
import json
import math

import pytest
from tracked_study import make_failure, make_record, make_search_record, trial_records, write_study

from study.plan.grid import make_plan
from study.results.aggregate import Cell, cells
from study.tracking.cells import CELL_COLUMNS, Places, Tally, cell_views, table
from study.tracking.runs import MirrorEntry, failure_view, search_view, seed_view


def make_cell(**changes):
    values = {"encoder": "bert", "dataset": "acl", "method": "rtm", "variant": None, "mask_mean": 0.15}
    values |= {"objective": "accuracy", "n": 2, "failed": 0, "wanted": 2, "mean": 0.5, "std": 0.125, "ci_low": 0.25}
    values |= {"ci_high": 0.75, "validation_mean": 0.5, "epochs_to_best_mean": 1.0, "epochs_to_stop_mean": 3.0}
    return Cell(**(values | {"values": {0: 0.5, 1: 0.5}} | changes))


def test_cells_of_one_setting_share_a_run_and_a_missing_statistic_stays_missing():
    lone = make_cell(objective="macro_f1", n=1, wanted=1, std=None, ci_low=None, ci_high=None, epochs_to_stop_mean=9.0)
    first, other = cell_views([make_cell(), make_cell(variant="x"), lone])
    assert first.key == "bert/acl/rtm/mean=0.15"
    assert other.key == "bert/acl/rtm/x/mean=0.15"
    accuracy = {"mean": 0.5, "std": 0.125, "n": 2.0, "failed": 0.0, "wanted": 2.0, "ci_low": 0.25, "ci_high": 0.75}
    expected = {f"test_accuracy_{name}": value for name, value in accuracy.items()}
    expected |= {"test_macro_f1_mean": 0.5, "test_macro_f1_n": 1, "test_macro_f1_failed": 0, "test_macro_f1_wanted": 1}
    expected |= {"accuracy_epochs_to_best_mean": 1.0, "accuracy_epochs_to_stop_mean": 3.0, "epochs_to_best_mean": 1.0}
    expected |= {"macro_f1_epochs_to_best_mean": 1.0, "macro_f1_epochs_to_stop_mean": 9.0, "epochs_to_stop_mean": 3.0}
    assert first.metrics == expected | {"epochs_mean": 3.0}


def on_sets(record):
    """The record with a result on an evaluation set, an eighth below its test values."""
    metrics = {name: value - 0.125 for name, value in record["test"].items()}
    return record | {"evaluations": {"hans": {"metrics": metrics, "labels": ["a", "b"], "predictions": [0, 1, 1]}}}


def test_a_cell_shows_evaluation_sets_and_the_gaps():
    records = [on_sets(make_record(seed, key=f"{seed}" * 32)) for seed in range(2)]
    [view] = cell_views(cells(records, [], 2))
    found = {name: value for name, value in view.metrics.items() if name.startswith("ood.")}
    half = math.tan(0.475 * math.pi) * 0.0625 / 2  # t(.975; 1), a closed form; values .625 and .6875
    assert found == {
        "ood.hans.accuracy_n": 2,
        "ood.hans.accuracy_mean": 0.65625,
        "ood.hans.accuracy_std": pytest.approx(0.0625 / math.sqrt(2)),
        "ood.hans.accuracy_ci_low": pytest.approx(0.65625 - half),
        "ood.hans.accuracy_ci_high": pytest.approx(0.65625 + half),
        "ood.hans.accuracy_gap_mean": 0.125,
        "ood.hans.accuracy_gap_std": 0,
        "ood.hans.accuracy_gap_ci_low": 0.125,
        "ood.hans.accuracy_gap_ci_high": 0.125,
    }
    records.append(make_record(2, key="2" * 32))  # which lacks the set
    [view] = cell_views(cells(records, [], 3))
    assert {name for name in view.metrics if name.startswith("ood.")} == {"ood.hans.accuracy_n"}


@pytest.mark.parametrize(
    ("n", "failed", "status"),
    [(2, 0, "FINISHED"), (1, 1, "FAILED"), (0, 2, "FAILED"), (1, 0, "KILLED"), (0, 1, "KILLED")],
)
def test_the_status_of_a_cell_is_true(n, failed, status):
    assert cell_views([make_cell(n=n, failed=failed)])[0].status == status


def test_a_cell_has_its_identity_as_params_too():
    view, plain = cell_views([make_cell(variant="x"), make_cell(method="stl", mask_mean=None)])
    assert view.params == {"encoder": "bert", "dataset": "acl", "method": "rtm", "variant": "x", "mask_mean": "0.15"}
    assert float(plain.params["mask_mean"]) == 0.0
    assert plain.tags["mask_mean"] == "none"


def test_the_table_has_a_row_per_cell_and_null_where_there_is_no_number():
    read = json.loads(table([make_cell(), make_cell(objective="macro_f1", std=None)]))
    assert read["columns"] == list(CELL_COLUMNS)
    rows = [dict(zip(read["columns"], row, strict=True)) for row in read["data"]]
    assert [row["objective"] for row in rows] == ["accuracy", "macro_f1"]
    assert (rows[0]["mean"], rows[0]["std"], rows[1]["std"]) == (0.5, 0.125, None)


# ---------------------------------------------------------------- while the study goes on


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """A plan of 18 trainings with 36 records."""
    return make_plan(*write_study(tmp_path_factory.mktemp("tally")))


def entries(trials):
    return [MirrorEntry("seed", record, seed_view) for trial in trials for record in trial_records(trial)]


def test_the_tally_agrees_with_the_aggregation_at_the_end(plan):
    tally = Tally()
    tally.plan(Places(plan))
    for entry in reversed(entries(plan)):
        tally.add(entry)
    records = [record for trial in plan for record in trial_records(trial)]
    assert {view.key: view for view in tally.views()} == {view.key: view for view in cell_views(cells(records, [], 3))}
    assert not tally.changed


def test_the_tally_holds_no_predictions_and_shows_the_same_sets(plan):
    records = [on_sets(record) for trial in plan for record in trial_records(trial)]
    tally = Tally()
    tally.plan(Places(plan))
    for record in records:
        tally.add(MirrorEntry("seed", record, seed_view))
    held = [result for kept in tally._records.values() for result in kept["evaluations"].values()]
    assert len(held) == len(records)
    assert not any(result["predictions"] for result in held)
    assert records[0]["evaluations"]["hans"]["predictions"] == [0, 1, 1]  # those of the caller stay
    assert {view.key: view for view in tally.views()} == {view.key: view for view in cell_views(cells(records, [], 3))}
    assert any("ood.hans.accuracy_gap_mean" in view.metrics for view in tally.views())


def test_an_unfinished_cell_is_running_with_the_seeds_so_far(plan):
    tally = Tally()
    tally.plan(Places(plan))
    started = plan[0]
    for entry in entries([started]):
        tally.add(entry)
    failure = make_failure(trial_records(plan[6])[0])
    tally.add(MirrorEntry("seed", failure, failure_view))
    views = {view.key: view for view in tally.views()}
    assert len(views) == 6
    assert {view.status for view in views.values()} == {"RUNNING"}
    cell = views["bert-base/acl-arc/stl"]
    assert (cell.metrics["test_accuracy_n"], cell.metrics["test_accuracy_failed"]) == (1, 1)
    assert cell.metrics["test_accuracy_mean"] == trial_records(started)[0]["test"]["accuracy"]
    assert "test_accuracy_std" not in cell.metrics


def test_records_of_earlier_settings_and_of_searches_count_in_no_cell(plan):
    tally = Tally()
    tally.plan(Places(plan))
    tally.add(MirrorEntry("seed", make_record(key="9" * 32), seed_view))
    tally.add(MirrorEntry("search", make_search_record(key="8" * 32), search_view))
    assert {view.metrics["test_accuracy_n"] for view in tally.views()} == {0}


def test_without_a_plan_there_is_nothing_to_show(plan):
    tally = Tally("what it is")
    tally.add(entries(plan[:1])[0])
    assert tally.views() == []
    assert (tally.page().description, tally.page().objectives) == ("what it is", ())


def test_a_record_stands_under_the_variant_that_the_plan_has_it_under(plan):
    record = trial_records(plan[0])[0]
    places = Places([dataclasses.replace(plan[0], variant="renamed")])
    assert places.placed(record)["variant"] == "renamed"
    assert Places(plan).placed(record) is record
    twice = Places([plan[0], dataclasses.replace(plan[0], variant="best")])
    assert twice.placed(record) is record
    assert {home.variant for home in twice.homes[record["key"]]} == {None, "best"}
    tally = Tally()
    tally.plan(twice)
    tally.add(MirrorEntry("seed", record, seed_view))
    assert [view.metrics["test_accuracy_n"] for view in tally.views()] == [1, 1]


def test_the_page_shows_what_a_search_varies(plan):
    tally = Tally()
    tally.plan(Places(plan))
    for number, mean in enumerate((0.1, 0.3)):
        tally.add(MirrorEntry("search", make_search_record(mean=mean, key=f"{number}" * 32), search_view))
    page = tally.page()
    assert page.searched == ("masking.mean",)
    assert page.objectives == ("accuracy", "macro_f1")
    assert page.methods == ("stl", "rtm", "l3masking")
    assert not page.variants
