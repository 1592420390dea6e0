"""How much of a GPU a training takes. The GPU here is a made-up one: what is looked at is what would be measured."""

from __future__ import annotations

import dataclasses
import gc
from pathlib import Path
from typing import Any

import pytest
import torch
from small_study import SPACE, write_study
from small_task import one_thread

from l3masking import regimes
from l3masking.rng import stream
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig
from study.assign import Assigner
from study.estimate import peak
from study.estimate.peak import measure_peak
from study.estimate.probe import Probe
from study.gpu import CUDA_CONTEXT, GIB, Device, limit_share
from study.plan.grid import make_plan
from study.plan.inputs import held_encoder, identify
from study.space.reader import read_space
from study.space.spec import configs

DEVICE = Device(name="made-up GPU", total=80 * GIB)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


class Counted:
    """In the place of a GPU: this process's own tensors, counted whenever the model is measured."""

    place = "cpu"

    def __init__(self) -> None:
        self.starts, self.most = 0, 0

    def describe(self) -> Device:
        return DEVICE

    def start(self) -> None:
        self.starts += 1

    def peak(self) -> int:
        return 5 * GIB


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Method -> an assignment of a small study, longest texts of 16 ids."""
    spec = read_space(write_study(tmp_path_factory.mktemp("fit"), meta={**SPACE["meta"], "head_sample": 5}))
    identities = identify(spec, lambda line: None)
    assigner = Assigner(spec=spec, identities=identities, root=Path("nowhere"), commit=None)
    return {trial.method: assigner.of_grid(trial) for trial in make_plan(spec, identities)[:3]}


@pytest.mark.parametrize("method", ["stl", "rtm", "l3masking"])
def test_the_measured_training_is_as_large_as_any_can_become(real, method: str, monkeypatch) -> None:
    seen: dict[str, Any] = {}

    def watched(encoder, task, config, **more):
        seen.update(task=task, config=config, **more)
        return original(encoder, task, config, **more)

    original = regimes.fine_tune
    monkeypatch.setattr(regimes, "fine_tune", watched)
    monkeypatch.setattr(peak, "EVALUATION_TOKENS", 320)
    gpu = Counted()
    most = measure_peak(real[method], gpu)
    assert gpu.starts == 1
    task, config = seen["task"], seen["config"]
    assert {len(ids) for ids in task.train.input_ids} == {16}
    assert len(task.train.input_ids) == SPACE["train"]["batch"]
    looked = max(320 // 16, config.meta.head_sample)
    assert len(task.validation.input_ids) == looked, "a whole evaluation batch, and what the dev head is fitted to"
    assert task.test is None
    assert task.num_classes == 3
    assert config.optim == read_settings(real[method]).optim
    assert config.train.batch == SPACE["train"]["batch"]
    assert seen["objectives"] == ("accuracy", "macro_f1")
    assert (seen["auxiliary"] is None) == (method == "stl")
    assert seen["weighting"] == ("static" if method == "stl" else "meta")
    if seen["auxiliary"] is not None:
        (rows,) = {len(row) for row in seen["auxiliary"].probabilities}
        assert rows == 16
        assert {float(row.mean()) for row in seen["auxiliary"].probabilities} == {0.15}
    # the second objective may keep weights of its own: a whole model more than was measured
    parameters = parameter_bytes(real[method])
    assert most == 5 * GIB + parameters


def read_settings(assignment: Any) -> Any:
    return configs(assignment.trial.settings).finetune


def parameter_bytes(assignment: Any) -> int:
    model = MultiTaskModel(held_encoder(assignment.encoder, "cpu"), 3, ModelConfig(), stream(0, "head"))
    return sum(parameter.numel() * parameter.element_size() for parameter in model.parameters())


def test_a_probe_measures_peak_and_rate_in_one_process(real) -> None:
    probe = Probe(Counted())
    assert probe.describe() == DEVICE
    most = probe.peak(real["rtm"])
    probe.load(real["rtm"])
    held = held_encoder(real["rtm"].encoder, "cpu")
    assert most == probe.peak(real["rtm"]) > 5 * GIB
    assert held_encoder(real["rtm"].encoder, "cpu") is not held, "nothing of an earlier measurement counts"
    assert 0 < probe.rate(real["rtm"]) < 1e6


def test_one_objective_keeps_one_model(real) -> None:
    one = dataclasses.replace(real["stl"].trial, keys={"accuracy": real["stl"].trial.keys["accuracy"]})
    assert measure_peak(dataclasses.replace(real["stl"], trial=one), Counted()) == 5 * GIB


def test_measuring_leaves_nothing_behind(real) -> None:
    before = torch.random.get_rng_state()
    measure_peak(real["rtm"], Counted())
    gc.collect()
    assert torch.equal(torch.random.get_rng_state(), before)
    assert not Path("nowhere").exists()


def test_what_needs_more_than_a_whole_gpu_takes_all_of_it(real, monkeypatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(regimes, "fine_tune", full)
    most = measure_peak(real["stl"], Counted())
    assert most == DEVICE.total


def test_a_process_is_held_to_its_share(monkeypatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr("torch.cuda.set_per_process_memory_fraction", asked.append)
    for gpu in (0.0, 1.0, 2.0):
        limit_share(gpu, Counted())
    assert asked == []
    limit_share(0.25, Counted())
    assert asked == [pytest.approx(0.25 - CUDA_CONTEXT / DEVICE.total)]
