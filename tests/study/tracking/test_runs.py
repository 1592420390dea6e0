"""What MLflow shows of a record."""

import dataclasses
import json
import math
import re

from tracked_study import make_failure, make_record, make_search_record

from study.tracking.runs import (
    cell_name,
    failed_search_view,
    failure_view,
    finding_view,
    flatten,
    parent_view,
    search_view,
    seed_view,
)

FAILURE = make_failure(make_record(1, "accuracy", "stl", key="6" * 32))


def test_a_seed_run_shows_values_once_and_curves_by_update():
    view = seed_view(make_record(3))
    assert (view.role, view.key, view.status) == ("seed", "a" * 32, "FINISHED")
    expected = {"role": "seed", "trial_key": "a" * 32, "trajectory": "f" * 32, "objective": "accuracy", "seed": "3"}
    expected |= {"cell": "bert/acl/l3masking/mean=0.15", "encoder": "bert", "dataset": "acl", "method": "l3masking"}
    expected |= {
        "variant": "none",
        "mask_mean": "0.15",
        "commit": "none",
        "version": "0.1.0",
        "device": "cpu",
        "host": "h",
        "attempts": "1",
    }
    assert view.tags == expected
    params = {"optim.lr": "0.0001", "optim.betas": "[0.9, 0.98]", "revision": "abc", "data_hash": "def", "seed": "3"}
    params |= {"encoder": "bert", "dataset": "acl", "method": "l3masking", "variant": "none", "mask_mean": "0.15"}
    assert view.params == params | {"objective": "accuracy"}
    assert view.dataset == ("acl", "def")
    once = {"test_accuracy": 0.9375, "test_macro_f1": 0.5, "validation_best": 0.6875, "epochs_to_best": 1.5}
    once["epochs_to_first_best"] = 1.5  # a record without it: the latest of the ties
    once |= {"epochs_to_stop": 2.0, "updates": 90.0, "primary_examples": 640.0, "mlm_passes": 2.0, "seconds": 12.5}
    assert view.metrics == once
    accuracy = [(point.step, point.value) for point in view.curve if point.key == "validation_accuracy"]
    assert accuracy == [(30, 0.5625), (60, 0.625), (90, 0.6875)]
    names = {"epoch", "validation_accuracy", "validation_macro_f1", "validation_loss"}
    names |= {"train_loss_primary", "train_loss_mlm", "task_weight_primary", "task_weight_mlm"}
    assert {point.key for point in view.curve} == names
    assert view.start == 1767323045000
    assert view.end == view.start + 12500


def test_a_training_that_was_made_again_in_float32_has_a_tag():
    record = make_record(3)
    plain, again = seed_view(record), seed_view({**record, "retried_in_float32": "not finite at update 3"})
    assert "retried_in_float32" not in plain.tags
    assert again.tags == plain.tags | {"retried_in_float32": "not finite at update 3"}


def test_a_seed_run_shows_evaluation_sets_and_the_gap_to_them():
    results = {"hans": {"metrics": {"accuracy": 0.5, "macro_f1": 0.375}, "labels": ["a", "b"], "predictions": [0, 1]}}
    results["round-1_dev.new"] = {"metrics": {"accuracy": 0.875}, "labels": ["a", "b"], "predictions": [1]}
    view = seed_view(make_record(evaluations=results))
    found = {name: value for name, value in view.metrics.items() if name.startswith("ood.")}
    assert found == {
        "ood.hans.accuracy": 0.5,
        "ood.hans.accuracy_gap": 0.25,
        "ood.hans.macro_f1": 0.375,
        "ood.hans.macro_f1_gap": 0.125,
        "ood.round-1_dev.new.accuracy": 0.875,
        "ood.round-1_dev.new.accuracy_gap": -0.125,
    }
    rest = {name: value for name, value in view.metrics.items() if name not in found}
    assert dataclasses.replace(view, metrics=rest) == seed_view(make_record())
    assert all(re.fullmatch(r"[\w\-.: ]+", name) for name in found), "what MLflow takes, without a slash"


def test_validation_best_is_of_the_objective():
    assert seed_view(make_record(objective="macro_f1")).metrics["validation_best"] == 0.25


def test_an_arm_without_masking_has_no_mlm_curve_and_no_mean():
    view = seed_view(make_record(method="stl"))
    assert not [point for point in view.curve if "mlm" in point.key]
    assert (view.tags["mask_mean"], view.params["mask_mean"]) == ("none", "0.0")  # a number, for charts
    assert view.tags["cell"] == "bert/acl/stl"


def test_values_that_are_not_finite_are_left_out():
    point = {"update": 5, "epoch": 1.0, "validation": {"accuracy": math.nan, "loss": math.inf}, "train_loss": {}}
    point |= {"task_weights": {"primary": math.nan}, "empty_mlm_batches": 0}
    view = seed_view(make_record(curve=[point], epochs_to_best=math.inf, test={"accuracy": -math.inf}))
    assert [point.key for point in view.curve] == ["epoch"]
    assert not view.metrics.keys() & {"test_accuracy", "epochs_to_best"}


def test_settings_are_flattened_to_stable_text():
    settings = {"a": {"b": {"c": 1, "d": None}, "e": "x"}, "f": True, "g": {}, "h (i)": [1, "z"], "long": "y" * 7000}
    expected = {"a.b.c": "1", "a.b.d": "null", "a.e": "x", "f": "true", "g": "{}", "h _i_": '[1, "z"]'}
    flat = flatten(settings)
    assert flat == expected | {"long": "y" * 6000}
    assert flatten(json.loads(json.dumps(settings))) == flat


def test_a_failed_trial_has_a_reason_and_no_number():
    view = failure_view(FAILURE)
    assert (view.status, view.metrics, view.curve, view.params) == ("FAILED", {}, (), {})
    assert view.tags["reason"] == "loss is nan at update 7"
    assert view.tags["trial_key"] == "6" * 32
    assert "Traceback" not in str(view)


def test_different_cells_have_different_names():
    settings = [{"variant": v, "mask_mean": m} for v in (None, "x") for m in (None, 0.15, 0.15000000000000002, 0.5)]
    names = {cell_name({"encoder": "e", "dataset": "d", "method": "m"} | setting) for setting in settings}
    assert len(names) == len(settings)


def test_the_parent_of_a_seed_run_is_its_cell():
    above = parent_view(seed_view(make_record(variant="x")))
    assert (above.role, above.key, above.status) == ("cell", "bert/acl/l3masking/x/mean=0.15", "RUNNING")
    assert above.tags["cell"] == above.key
    assert above.params == {
        "encoder": "bert",
        "dataset": "acl",
        "method": "l3masking",
        "variant": "x",
        "mask_mean": "0.15",
    }


def test_names_begin_with_what_tells_neighbours_apart():
    assert seed_view(make_record(3)).name == "seed 3 accuracy bert/acl/l3masking/mean=0.15"
    assert search_view(make_search_record(1_000_002)).name == "mean=0.3 seed 1000002 bert/acl/l3masking"


def test_a_training_of_a_search_shows_validation_values_and_no_test():
    view = search_view(make_search_record())
    assert (view.role, view.status, view.tags["cell"]) == ("search", "FINISHED", "search/bert/acl/l3masking")
    assert view.metrics["validation_accuracy"] == 0.6875
    assert view.metrics["validation_macro_f1"] == 0.25
    assert not [name for name in view.metrics if name.startswith("test")]
    assert view.params["masking.mean"] == "0.3"
    curve = [(point.step, point.value) for point in view.curve if point.key == "curve_validation_accuracy"]
    assert curve == [(30, 0.5625), (60, 0.625), (90, 0.6875)]
    assert not {point.key for point in view.curve} & view.metrics.keys()  # the table shows the value that counts
    above = parent_view(view)
    assert (above.role, above.key) == ("search-study", "search/bert/acl/l3masking")
    assert parent_view(failed_search_view(make_failure(make_search_record()))).key == above.key


def test_a_finding_is_shown_on_the_run_of_its_search():
    finding = {"encoder": "bert", "dataset": "acl", "method": "l3masking", "values": {"masking.mean": 0.3, "x.y": "z"}}
    view = finding_view(finding | {"validation": 0.75, "trials": 20, "sampler": "TPESampler", "optuna": "5"})
    assert view.key == parent_view(search_view(make_search_record())).key
    assert view.metrics == {"validation_best": 0.75, "settings_tried": 20.0, "best_masking.mean": 0.3}
    assert view.tags["found"] == "masking.mean=0.3, x.y=z"
    assert view.status == "FINISHED"
