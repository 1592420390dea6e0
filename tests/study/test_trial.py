"""One trial: whole records with all their fields, the same anywhere; a failure costs itself alone."""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import ANY, Mock

import pytest
from short_memory import ShortMemory
from small_study import assignments, results
from small_task import one_thread

from l3masking.encoders.export import load_tuned
from l3masking.regimes import Training
from l3masking.training.evaluation import NonFiniteLoss
from l3masking.training.portions import Portions
from l3masking.training.settings import AdaptConfig
from study import adapted
from study import trial as trials
from study.assignment import Assignment
from study.gpu import GpuLost
from study.store.places import CHECKPOINTS
from study.store.store import Store, content_key
from study.trial import died, execute, run_trial

CONTRACT = {  # field of a record -> type
    "schema": int,
    "key": str,
    "trajectory": str,
    "study": str,
    "encoder": str,
    "dataset": str,
    "method": str,
    "variant": (str, type(None)),
    "mask_mean": (float, type(None)),
    "objective": str,
    "seed": int,
    "revision": str,
    "data_hash": str,
    "settings": dict,
    "labels": list,
    "overlap": dict,
    "test": dict,
    "validation": dict,
    "epochs_to_best": float,
    "epochs_to_first_best": float,
    "epochs_to_stop": float,
    "updates": int,
    "planned_updates": int,
    "primary_examples": int,
    "mlm_passes": float,
    "empty_mlm_batches": int,
    "final_stage": dict,
    "curve": list,
    "mask_probability": (dict, type(None)),
    "mask_histogram": (list, type(None)),
    "test_predictions": list,
    "test_probabilities": dict,
    "run": dict,
}
RUN = {"seconds", "host", "device", "threads", "versions", "commit", "attempts", "started"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def given(finished_study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Assignment]:
    """Method -> assignment of seed 0."""
    root = tmp_path_factory.mktemp("trials") / "out"
    made = assignments(finished_study / "small.yaml", root)
    return {a.trial.method: a for a in made if a.trial.seed == 0}


@pytest.fixture(scope="module")
def recorded(given: dict[str, Assignment]) -> dict[str, list[dict]]:
    return {method: run_trial(assignment) for method, assignment in given.items()}


def at(assignment: Assignment, root: Path) -> Assignment:
    return dataclasses.replace(assignment, root=root)


@pytest.mark.parametrize("method", ["stl", "rtm", "l3masking"])
def test_a_record_holds_all_its_fields_and_no_others(given, recorded, method: str) -> None:
    trial = given[method].trial
    assert [record["objective"] for record in recorded[method]] == ["accuracy", "macro_f1"]
    for record in recorded[method]:
        assert record.keys() == CONTRACT.keys()
        wrong = {name: record[name] for name, kind in CONTRACT.items() if not isinstance(record[name], kind)}
        assert not wrong
        assert record["run"].keys() == RUN
        assert record["key"] == trial.keys[record["objective"]]
        assert record["key"] == content_key({"trajectory": trial.trajectory, "objective": record["objective"]})
        assert record["test"].keys() == record["validation"].keys() == {"accuracy", "macro_f1"}
        assert record["final_stage"].keys() == {"enabled", "epochs", "kept"}
        assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_what_a_record_counts_agrees_with_the_data(recorded) -> None:
    for method, pair in recorded.items():
        for record in pair:
            labels, predictions = record["labels"], record["test_predictions"]
            assert labels == ["first", "second", "third"]
            assert len(predictions) == 12
            truth = [index % 3 for index in range(12)]
            hits = sum(p == t for p, t in zip(predictions, truth, strict=True))
            assert record["test"]["accuracy"] == pytest.approx(hits / 12)
            assert record["primary_examples"] == 24 * record["epochs_to_stop"]
            assert record["updates"] == 3 * record["epochs_to_stop"]
            assert 0 < record["epochs_to_best"] <= record["epochs_to_stop"] == 2
            assert record["overlap"]["train_rows"] == 24
            assert record["run"]["threads"] == 1
            assert record["run"]["attempts"] == 1
            assert (record["mlm_passes"] > 0) == (method != "stl")


def test_methods_differ_in_what_they_mask(recorded) -> None:
    stl, rtm, l3 = (recorded[method][0] for method in ("stl", "rtm", "l3masking"))
    assert stl["mask_mean"] is stl["mask_probability"] is stl["mask_histogram"] is None
    assert all(set(point["train_loss"]) == set(point["task_weights"]) == {"primary"} for point in stl["curve"])
    for record in (rtm, l3):
        assert record["mask_mean"] == 0.15
        assert record["mask_probability"]["largest_deviation"] < 1e-6
        assert all(set(point["train_loss"]) == {"primary", "mlm"} for point in record["curve"])
        for point in record["curve"]:
            assert point.keys() >= {"update", "epoch", "validation", "train_loss", "task_weights"}
            assert point["validation"].keys() == {"accuracy", "macro_f1", "loss"}
    assert rtm["mask_probability"]["max"] == pytest.approx(0.15)
    assert l3["mask_probability"]["max"] > 0.15
    assert sum(rtm["mask_histogram"]) == sum(l3["mask_histogram"]) == rtm["mask_histogram"][15] > 0
    assert max(b for b, count in enumerate(l3["mask_histogram"]) if count) == int(100 * l3["mask_probability"]["max"])
    assert rtm["curve"] != l3["curve"]


def test_settings_of_a_record_are_those_that_its_method_reads(recorded) -> None:
    assert not {"masking", "meta"} & recorded["stl"][0]["settings"].keys()
    assert "weighting" not in recorded["rtm"][0]["settings"]["masking"]
    assert recorded["l3masking"][0]["settings"]["masking"]["weighting"] == "complement"
    assert all(record[0]["settings"]["train"]["max_epochs"] == 2 for record in recorded.values())


def test_the_same_seed_in_another_process_is_equal(given, recorded, tmp_path: Path) -> None:
    """Which also shows that an assignment is all that a process needs."""
    (tmp_path / "given").write_bytes(pickle.dumps(list(given.values())))
    code = (
        "import json, pickle, sys; from pathlib import Path; from study.trial import run_trial\n"
        "given = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
        "print(json.dumps([run_trial(a) for a in reversed(given)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "given"],
        env={**os.environ, "PYTHONHASHSEED": "77", "OMP_NUM_THREADS": "2"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    theirs = json.loads(done.stdout)[::-1]
    assert [[results(record) for record in pair] for pair in theirs] == [
        [results(record) for record in pair] for pair in recorded.values()
    ]


def test_models_are_kept_where_asked_for_and_change_no_result(given, recorded, tmp_path) -> None:
    resources = dataclasses.replace(given["stl"].resources, save_models=True)
    left = tmp_path / "models" / recorded["stl"][0]["key"] / "labels.json"  # by a run that was killed
    left.parent.mkdir(parents=True)
    left.write_text("[]")
    again = run_trial(dataclasses.replace(given["stl"], root=tmp_path, resources=resources))
    assert [results(record) for record in again] == [results(record) for record in recorded["stl"]]
    for record in again:
        assert load_tuned(tmp_path / "models" / record["key"]).labels == tuple(record["labels"])
        assert record["run"]["weights"] == Store(tmp_path).weights(record["key"])
    assert not list((tmp_path / "models").glob(".*"))


def test_a_solo_objective_equals_the_shared_trajectory_and_the_other_record_stays(given, recorded, tmp_path) -> None:
    whole = at(given["l3masking"], tmp_path)
    store = Store(tmp_path)
    store.commit(recorded["l3masking"][0])
    key = whole.trial.keys["macro_f1"]
    half = dataclasses.replace(whole, trial=dataclasses.replace(whole.trial, keys={"macro_f1": key}))
    assert execute(half) is None
    found = store.read(key)
    assert found is not None
    found.pop("checksum")
    assert results(found) == results(recorded["l3masking"][1])
    assert len(store.records()) == 2


def test_a_trial_that_raises_leaves_a_failure_and_no_record(finished_study: Path, tmp_path: Path) -> None:
    made = assignments(finished_study / "small.yaml", tmp_path, "optim.lr=1e30", "optim.head_lr=1e30")[0]
    for attempt in (1, 2, 3):
        reason = execute(made)
        assert reason is not None
        assert reason.startswith("NonFiniteLoss: not finite at")
        store = Store(tmp_path)
        assert store.records() == []
        failures = store.failures()
        assert {failure["objective"] for failure in failures} == {"accuracy", "macro_f1"}
        for failure in failures:
            assert failure["reason"] == reason
            assert "\n" not in reason
            assert "Traceback" in failure["traceback"]
            assert "NonFiniteLoss" in failure["traceback"]
            assert failure["attempts"] == attempt
            wanted = ("encoder", "dataset", "method", "variant", "mask_mean", "objective", "seed")
            assert failure.keys() == {"key", *wanted, "reason", "traceback", "attempts"}


def test_a_success_clears_the_failure_and_says_how_many_attempts_it_took(given, tmp_path, monkeypatch) -> None:
    made = at(given["stl"], tmp_path)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("\n the disk\nwas full")

    monkeypatch.setattr(trials, "prepared", broken)
    assert execute(made) == "RuntimeError: the disk"
    died(made, "its process died", 2)
    store = Store(tmp_path)
    assert [(f["reason"], f["attempts"]) for f in store.failures()] == [("its process died", 3)] * 2
    monkeypatch.undo()
    assert execute(made) is None
    assert store.failures() == []
    assert [record["run"]["attempts"] for record in store.records()] == [4, 4]


def test_an_objective_that_diverges_leaves_the_other_its_result(given, recorded, tmp_path, monkeypatch) -> None:
    real = Training.run

    def diverges(self: Training, objectives: Sequence[str], *more: Any) -> Any:
        if "accuracy" in objectives:
            raise NonFiniteLoss("not finite at update 3")
        return real(self, objectives, *more)

    monkeypatch.setattr(Training, "run", diverges)
    assert execute(at(given["rtm"], tmp_path)) == "NonFiniteLoss: not finite at update 3"
    store = Store(tmp_path)
    assert [(failure["objective"], failure["attempts"]) for failure in store.failures()] == [("accuracy", 1)]
    (found,) = store.records()
    found.pop("checksum")
    assert results(found) == results(recorded["rtm"][1])


def under_bf16(given: Assignment, root: Path, on_nonfinite: str) -> Assignment:
    """The same keys: what the files of this test hold is never read by others."""
    settings = {**given.trial.settings, "precision": "bf16"}
    settings["train"] = {**settings["train"], "on_nonfinite": on_nonfinite}
    return dataclasses.replace(at(given, root), trial=dataclasses.replace(given.trial, settings=settings))


def diverging(monkeypatch: pytest.MonkeyPatch, *precisions: str) -> list[str]:
    """Trainings in these precisions diverge; the precision of each training that began."""
    real, begun = Training.run, list[str]()

    def run(self: Training, *given: Any) -> Any:
        begun.append(self.config.precision)
        if self.config.precision in precisions:
            raise NonFiniteLoss("not finite at update 3")
        return real(self, *given)

    monkeypatch.setattr(Training, "run", run)
    return begun


def test_a_training_that_diverges_under_bf16_is_made_again_in_float32_where_that_is_set(
    given, recorded, tmp_path, monkeypatch
) -> None:
    begun, made = diverging(monkeypatch, "bf16"), under_bf16(given["rtm"], tmp_path, "retry_float32")
    assert execute(made) is None
    assert begun == ["bf16", *["bf16", "float32"] * 2], "shared, then each objective by itself"
    store = Store(tmp_path)
    for record, expected in zip(sorted(store.records(), key=lambda r: r["objective"]), recorded["rtm"], strict=True):
        assert record["retried_in_float32"] == "not finite at update 3"
        assert record["settings"] == made.trial.settings, "those of its key"
        for name in ("validation", "test", "curve", "test_predictions"):
            assert record[name] == expected[name]
    assert store.failures() == []
    assert not any((tmp_path / "checkpoints").glob("*"))


@pytest.mark.parametrize(
    ("on_nonfinite", "diverge", "begun", "reason"),
    [
        ("fail", ["bf16"], ["bf16"] * 3, "NonFiniteLoss: not finite at update 3"),
        (
            "retry_float32",
            ["bf16", "float32"],
            ["bf16", *["bf16", "float32"] * 2],
            "NonFiniteLoss: not finite at update 3; in float32, after bf16: not finite at update 3",
        ),
    ],
)
def test_it_fails_where_that_is_not_set_and_where_float32_diverges_too(
    on_nonfinite: str, diverge: list[str], begun: list[str], reason: str, given, tmp_path, monkeypatch
) -> None:
    found = diverging(monkeypatch, *diverge)
    assert execute(under_bf16(given["stl"], tmp_path, on_nonfinite)) == reason
    assert found == begun
    assert [failure["reason"] for failure in Store(tmp_path).failures()] == [reason] * 2
    assert Store(tmp_path).records() == []


def test_under_float32_it_fails_at_once(given, tmp_path, monkeypatch) -> None:
    begun, made = diverging(monkeypatch, "float32"), at(given["stl"], tmp_path)
    settings = {**made.trial.settings, "train": {**made.trial.settings["train"], "on_nonfinite": "retry_float32"}}
    trial = dataclasses.replace(made.trial, settings=settings, keys={"accuracy": made.trial.keys["accuracy"]})
    assert execute(dataclasses.replace(made, trial=trial)) == "NonFiniteLoss: not finite at update 3"
    assert begun == ["float32"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda values: values | {"accuracy": float("nan")}, "NonFiniteLoss: not finite at test: accuracy nan"),
        (lambda values: values | {"macro_f1": float("inf")}, "NonFiniteLoss: not finite at test: .*macro_f1 inf"),
        (lambda values: {"macro_f1": values["macro_f1"]}, r"ValueError: metrics on test are \['macro_f1'\]: expected"),
        (lambda values: {**values, "acc": 1.0}, r"ValueError: metrics on test are \['acc', .*\]: expected"),
    ],
)
def test_a_metric_that_is_no_number_or_has_another_name_is_a_failure(
    change: Any, reason: str, given, tmp_path, monkeypatch
) -> None:
    real = Training.run

    def run(self: Training, *more: Any) -> Any:
        return {
            name: dataclasses.replace(outcome, test=change(outcome.test)) for name, outcome in real(self, *more).items()
        }

    monkeypatch.setattr(Training, "run", run)
    found = execute(at(given["stl"], tmp_path))
    assert found is not None
    assert re.match(reason, found), found
    assert Store(tmp_path).records() == []
    assert len(Store(tmp_path).failures()) == 2


def test_a_training_with_short_memory_says_how_many_texts_it_took(given, recorded, tmp_path, monkeypatch) -> None:
    ShortMemory(monkeypatch, 40)
    assert execute(at(given["stl"], tmp_path)) is None
    for record in Store(tmp_path).records():
        assert record["run"]["micro_batch"] in (1, 2, 4)
    assert all("micro_batch" not in record["run"] for record in recorded["stl"])


def test_what_one_adapt_stage_finds_of_memory_holds_for_the_next(monkeypatch) -> None:
    """The record names it, also where the last stage alone would have had room."""
    sizes: list[int | None] = []

    def stage(*_: Any, portions: Portions, **__: Any) -> Mock:
        sizes.append(portions.micro_batch)
        if len(sizes) == 1:
            portions.restore({"texts": [2, 1], "tokens": [9, 0]})
        return Mock(micro_batch=portions.micro_batch)

    kept = Mock(**{"stage.return_value.newest.return_value": None})
    monkeypatch.setattr(adapted, "adapt", stage)
    monkeypatch.setattr(adapted, "masked_source", Mock())
    monkeypatch.setattr(adapted, "configs", Mock(return_value=Mock(adapt=AdaptConfig(batch=8))))
    *_, micro_batch = adapted._train(Mock(**{"trial.arm.adapts": (1, 2)}), Mock(), kept)
    assert (sizes, micro_batch) == ([None, 2], 2)


def test_one_text_that_does_not_fit_fails_the_trial_with_its_length_and_the_fix(given, tmp_path, monkeypatch) -> None:
    ShortMemory(monkeypatch, 2)
    reason = execute(at(given["stl"], tmp_path))
    assert reason is not None
    assert re.fullmatch(r"OutOfMemory: out of memory with one text of \d+ ids: lower scoring.max_length, or .*", reason)


def test_a_message_without_text_is_still_a_reason(given, tmp_path, monkeypatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(trials, "prepared", broken)
    assert execute(at(given["stl"], tmp_path)) == "MemoryError: no message"


def test_an_interrupt_is_no_failure(given, tmp_path, monkeypatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(trials, "prepared", interrupted)
    with pytest.raises(KeyboardInterrupt):
        execute(at(given["stl"], tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_lost_gpu_ends_the_process_and_is_no_end_of_the_trial(given, recorded, tmp_path, monkeypatch) -> None:
    """Nothing is written down: another process goes on. Its checkpoints stay."""
    made = at(given["stl"], tmp_path)
    kept = Store(tmp_path).artefact_dir(CHECKPOINTS, made.trial.trajectory)
    kept.mkdir(parents=True)

    def asserts(*_: object, **__: object) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered\nmore")

    with monkeypatch.context() as patch:
        patch.setattr(trials, "prepared", asserts)
        with pytest.raises(GpuLost, match="device-side assert triggered"):
            execute(made)
    assert Store(tmp_path).failures() == []
    assert kept.is_dir()
    assert execute(made) is None
    assert [results(record) for record in map(Store(tmp_path).read, made.trial.keys.values())] == [
        {**results(record), "checksum": ANY} for record in recorded["stl"]
    ]


def test_scores_that_are_not_there_fail_the_trial_with_advice(given, tmp_path: Path) -> None:
    gone = tmp_path / "scores" / "none"
    made = dataclasses.replace(given["l3masking"], root=tmp_path, needed=dict.fromkeys(given["l3masking"].needed, gone))
    reason = execute(made)
    assert reason is not None
    assert reason.startswith("FileNotFoundError:")
    assert "run the study again" in reason
