"""A short measurement: what it computes, what it leaves alone, and what later plans make of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from plans import KNOWN, space
from small_study import write_space, write_study
from small_task import one_thread

from l3masking.methods import METHODS
from l3masking.training.trajectory import Trajectory
from study.estimate import timing as module
from study.estimate.sizes import CorpusSize, DataSize, data_sizes
from study.estimate.summary import describe, summarize
from study.estimate.times import Times
from study.estimate.timing import UPDATES, calibrate
from study.estimate.timing_file import TIMING_FILE, Calibration, Measured, read_calibration, write_calibration
from study.plan.grid import make_plan
from study.plan.inputs import identify_at_hand
from study.space.reader import read_space
from study.space.spec import Resources

FOUND = Measured(
    update_seconds=2.0,
    plain_update_seconds=0.5,
    evaluation_seconds=0.01,
    scoring_seconds=0.1,
    updates=3,
    host="here",
    device="x86_64",
)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(tmp_path_factory.mktemp("calibrate"), seeds=2)


def planned(path: Path, *sets: str) -> tuple[Any, Any, Any]:
    spec = read_space(path, sets)
    identities = identify_at_hand(spec)
    return spec, identities, make_plan(spec, identities)


def test_each_kind_of_training_is_measured_once_by_the_real_trainer(small: Path, monkeypatch) -> None:
    spec, identities, trials = planned(small)
    steps: list[str] = []
    window = Trajectory.__init__

    def noted(self, encoder, task, config, seed, auxiliary, weighting, tuning, pace):
        window(self, encoder, task, config, seed, auxiliary, weighting, tuning, pace)
        inner = self.stepper.window
        kind = "stl" if auxiliary is None else weighting

        def counted(update):
            steps.append(kind)
            return inner(update)

        self.stepper.window = counted
        assert task.test is None, "test data are not even encoded"
        assert config.train.batch == spec.train.batch
        assert config.optim == spec.optim

    monkeypatch.setattr(Trajectory, "__init__", noted)
    said: list[str] = []
    before = torch.random.get_rng_state()
    found = calibrate(spec, identities, trials, said.append)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert len(found.entries) == 3, "three methods, whatever the seed"
    assert steps == ["stl"] * 6 + (["meta"] * 6 + ["stl"] * 6) * 2, "6 updates each; classification alone beside it"
    assert [line.split(":")[0] for line in said] == [f"measured tiny / words / {name}" for name in spec.methods]
    for trial in trials:
        measured = found.measured(trial)
        assert 0 < measured.update_seconds < 10
        assert 0 < measured.evaluation_seconds < 10
        assert measured.updates == UPDATES
        assert (measured.scoring_seconds is None) == (not METHODS[trial.method].needs_scores)
        if trial.method == "stl":
            assert measured.plain_update_seconds == measured.update_seconds


def test_what_is_not_at_hand_is_not_measured_and_said_once(small: Path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_measure", lambda *_: pytest.fail("measured"))
    far = write_space(small.with_name("far.yaml"), encoders={"far": {"hub": "owner/name", "revision": "a" * 40}})
    spec, identities, trials = planned(far)
    said: list[str] = []
    assert calibrate(spec, identities, trials, said.append).entries == {}
    assert said == [
        f"not measured: far / words / {name}: encoder far is not available" for name in ("stl", "rtm", "l3masking")
    ]
    gone = write_space(small.with_name("gone.yaml"), datasets={"gone": {"hub": "owner/name", "train": "train"}})
    said.clear()
    calibrate(*planned(gone), said.append)
    assert said[0] == "not measured: tiny / gone / stl: dataset gone is not available"
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    said.clear()
    calibrate(*planned(small, "resources.gpu=0.5", "methods=[stl]"), said.append)
    assert said == ["not measured: tiny / words / stl: it is to run on a GPU, and torch finds none here"]


def test_the_sample_is_drawn_from_the_data_and_holds_no_test_text(small: Path) -> None:
    spec, identities, _ = planned(small)
    from study.plan.inputs import held_data, sources

    data = held_data(sources(spec, identities, "tiny", "words")[1])
    drawn = module.sample(data, spec.finetune, module.UPDATES)
    assert len(drawn.train) == min(24, 8 * 1 * 2 * UPDATES)
    assert len(drawn.test) == 0
    pairs = set(zip(data.train.texts, data.train.labels, strict=True))
    assert set(zip(drawn.train.texts, drawn.train.labels, strict=True)) <= pairs
    assert set(drawn.mlm_texts) <= set(data.mlm_texts)
    assert module.sample(data, spec.finetune, module.UPDATES) == drawn, "the same one each time"


def test_time_at_most_follows_from_the_parts_by_hand() -> None:
    """ACL-ARC: 13 updates of 128 texts an epoch, 150 epochs, a look every 30 updates, ten final epochs at most."""
    spec = space(seeds=1, methods=["stl", "l3masking"], objectives=["accuracy", "macro_f1"])
    stl, l3 = make_plan(spec, KNOWN)
    size = DataSize(train=1688, validation=114, test=139, mlm=1688)
    calibration = Calibration(resources=spec.resources_of)
    calibration = Calibration(resources=spec.resources_of, entries={calibration.key(l3): FOUND})
    look = 114 * 0.01
    main = 1950 * 2.0 + 65 * look
    one = 10 * (13 * 0.5 + look) + look + 139 * 0.01
    assert calibration.seconds(l3, size) == pytest.approx(main + 2 * one)
    assert calibration.scoring_seconds(l3, 1688) == pytest.approx(168.8)
    assert calibration.seconds(stl, size) is None
    assert calibration.seconds(l3, DataSize(train=1688, mlm=1688)) is None, "nobody knows how many are looked at"
    plain = space(seeds=1, methods=["l3masking"], objectives=["accuracy"], final={"enabled": False})
    (bare,) = make_plan(plain, KNOWN)
    entries = {calibration.key(bare): FOUND}
    bare_seconds = Calibration(resources=spec.resources_of, entries=entries).seconds(bare, size)
    assert bare_seconds == pytest.approx(main + look + 139 * 0.01)


def test_corpora_and_evaluation_sets_take_their_time_too() -> None:
    """600 units, 540 of them trained on, 33 updates of 16 an epoch; two sets, one of unknown length."""
    spec = space(
        seeds=1,
        methods=["both"],
        arms={"both": {"like": "l3masking", "adapt": "l3"}},
        corpora={"c": {"files": "c.txt", "most": 600}},
        adapt={"corpus": "c", "batch": 16, "accumulate": 1, "epochs": 5},
        objectives=["accuracy", "macro_f1"],
    )
    trials = make_plan(spec, KNOWN)
    corpora = data_sizes(spec)["acl-arc"].corpora
    bare = DataSize(train=1688, validation=114, test=139, mlm=1688, corpora=corpora)
    size = replace(bare, evaluations={"near": 1000, "far": None})
    empty = Calibration(resources=spec.resources_of)
    calibration = replace(empty, entries={empty.key(trials[0]): FOUND})
    assert calibration.seconds(trials[0], size) - calibration.seconds(trials[0], bare) == pytest.approx(2 * 1000 * 0.01)
    short = {"c": CorpusSize(300, "counted")}
    more = calibration.seconds(trials[0], bare) - calibration.seconds(trials[0], replace(bare, corpora=short))
    assert more == pytest.approx(5 * (33 - 16) * 0.5 * 16 / 128)
    assert calibration.seconds(trials[0], replace(bare, corpora={})) is None, "nobody knows how long that takes"
    summary = summarize(spec, trials, [], calibration=calibration, sizes={"acl-arc": size})
    assert summary.scoring_seconds == pytest.approx((600 + 1688) * 0.1)
    assert summary.per_cell[0].updates_before_at_most == 5 * 33
    said = "masked-LM training before it: 5 epochs of corpus c (600 units, at most, as `most` says)"
    assert f"({said}; without evaluation sets of unknown length: far); 1 at a time" in describe(summary)
    assert "\ncorpora: c 600 units, at most, as `most` says\n" in describe(summary)


def test_a_plan_goes_by_a_calibration_where_nothing_is_finished(tmp_path: Path) -> None:
    spec = space(seeds=2, methods=["stl", "l3masking"], resources={"gpu": 0.5})
    trials = make_plan(spec, KNOWN)
    empty = Calibration(resources=spec.resources_of)
    write_calibration(tmp_path, Calibration(resources=spec.resources_of, entries={empty.key(trials[1]): FOUND}))
    calibration = read_calibration(tmp_path, spec.resources_of)
    times = Times(trials, [], calibration=calibration, sizes=data_sizes(spec))
    assert times.of(trials[1]).basis == "calibrated"
    assert times.of(trials[1]).seconds == calibration.seconds(trials[1], data_sizes(spec)["acl-arc"])
    assert "early stopping usually ends sooner" in times.of(trials[1]).why
    assert times.of(trials[0]).basis == "unknown"
    summary = summarize(spec, trials[1::2], [], calibration=calibration)
    assert summary.estimate_seconds == pytest.approx(2 * times.of(trials[1]).seconds)
    assert summary.gpu_hours == pytest.approx(summary.estimate_seconds * 0.5 / 3600)
    assert summary.scoring_seconds == pytest.approx(168.8)
    assert "2 cells" not in summary.basis
    assert "at most, by a short measurement" in summary.basis


def test_other_threads_or_another_device_are_other_kinds() -> None:
    (trial,) = make_plan(space(seeds=1, methods=["stl"]), KNOWN)
    keys = {
        Calibration(resources=lambda *_, r=resources: r).key(trial)
        for resources in (Resources(), Resources(threads=2), Resources(gpu=1), Resources(gpu=0.5), Resources(cpu=3))
    }
    assert len(keys) == 3


def test_the_file_keeps_what_was_measured_before(tmp_path: Path) -> None:
    assert read_calibration(tmp_path, space().resources_of) is None
    for name in ("a", "b"):
        write_calibration(tmp_path, Calibration(resources=space().resources_of, entries={name: FOUND}))
    assert dict(read_calibration(tmp_path, space().resources_of).entries) == {"a": FOUND, "b": FOUND}
    assert [path.name for path in tmp_path.iterdir()] == [TIMING_FILE]


@pytest.mark.parametrize(
    "change", [{"update_seconds": -1}, {"update_seconds": "2"}, {"evaluation_seconds": None}, {"more": 1}]
)
def test_a_file_that_cannot_be_read_is_as_good_as_none(tmp_path: Path, change: dict) -> None:
    value = {"schema": 1, "entries": {"a": {**vars(FOUND), **change}}}
    (tmp_path / TIMING_FILE).write_text(json.dumps(value))
    assert read_calibration(tmp_path, space().resources_of) is None
    (tmp_path / TIMING_FILE).write_text("[]")
    assert read_calibration(tmp_path, space().resources_of) is None
