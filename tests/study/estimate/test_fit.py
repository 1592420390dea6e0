"""Fractions of a GPU: what is refused, and with which fix. The GPU here is a made-up one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plans import KNOWN, space

from l3masking.errors import EnvironmentFault, InputError
from study.estimate import probe
from study.estimate.fit import FITS_FILE, check_fits, heaviest, misfit
from study.estimate.probe import RayGpu
from study.gpu import CUDA_CONTEXT, GIB, Device
from study.plan.grid import make_plan

DEVICE = Device(name="made-up GPU", total=80 * GIB)


def assignments(encoder: str = "bert-base", **given: Any) -> list[Any]:
    """As much of assignments as is looked at where nothing is measured."""
    pairs = [{"encoder": encoder, "dataset": "imdb"}]
    spec = space(**{"pairs": pairs, "seeds": 2, "resources": {"gpu": 0.25}, **given})
    trials = make_plan(spec, KNOWN)
    return [SimpleNamespace(trial=t, resources=spec.resources_of(t.encoder, t.dataset)) for t in trials]


def test_of_many_trainings_the_heaviest_stands_for_its_pair() -> None:
    given = assignments(variants={"more": {"masking.mean": 0.4}, "long": {"scoring.max_length": 256}})
    found = [(a.trial.method, a.trial.variant) for a in heaviest(given)]
    assert found == [("rtm", "more"), ("rtm", "long")], "three gradients and the most masks; another length apart"
    assert [a.trial.method for a in heaviest(assignments(methods=["stl", "mtl_static"]))] == ["mtl_static"]


# What is refused ------------------------------------------------------------------------------------------------------


def test_a_share_that_is_too_small_is_refused_with_its_mend() -> None:
    (one,) = heaviest(assignments())
    assert misfit(one, int(20 * GIB - CUDA_CONTEXT), DEVICE) is None, "to the last byte"
    line = misfit(one, int(20 * GIB - CUDA_CONTEXT) + 1, DEVICE)
    assert line.startswith("resources.gpu 0.25 holds 20.0 GiB of a made-up GPU, bert-base on imdb (rtm) needs 20.0 GiB")
    assert misfit(one, int(26.25 * GIB), DEVICE).endswith("needs 27.0 GiB: use 0.34 or more, i.e. 1/2")
    assert misfit(one, int(25 * GIB), DEVICE).endswith("needs 25.8 GiB: use 0.33 or more, i.e. 1/3")
    assert misfit(one, int(60 * GIB), DEVICE).endswith("use 0.76 or more, the whole GPU")
    assert "more than the whole GPU: lower train.batch" in misfit(one, 80 * GIB, DEVICE)


@pytest.mark.parametrize("needed", [21.0, 25.9, 27.0, 39.0, 41.0, 79.9])
def test_the_mend_mends(needed: float) -> None:
    (one,) = heaviest(assignments())
    most = int(needed * GIB - CUDA_CONTEXT)
    words = misfit(one, most, DEVICE).split(": use ")[1]
    least, even = float(words.split()[0]), words.split("i.e. ")[-1]
    parts = 1 if "whole" in words else int(even.removeprefix("1/"))
    assert 1 / parts >= least - 0.005
    for share in (least, 1 / parts):
        given = SimpleNamespace(trial=one.trial, resources=dataclasses.replace(one.resources, gpu=share))
        assert misfit(given, most, DEVICE) is None
    tighter = SimpleNamespace(trial=one.trial, resources=dataclasses.replace(one.resources, gpu=1 / (parts + 1)))
    assert misfit(tighter, most, DEVICE) is not None, "one more at a time does not fit"


def test_all_pairs_are_measured_once_and_named_together(tmp_path: Path) -> None:
    asked: list[str] = []

    def measure(assignment) -> int:
        asked.append(assignment.trial.encoder)
        return (30 if assignment.trial.encoder == "bert-base" else 40) * GIB

    gpu = SimpleNamespace(device=DEVICE, peak=measure)
    given = [*assignments(), *assignments("scibert")]
    with pytest.raises(InputError) as error:
        check_fits(tmp_path, given, gpu)
    lines = str(error.value).splitlines()
    assert len(lines) == 2
    assert "bert-base on imdb" in lines[0]
    assert "scibert on imdb" in lines[1]
    assert asked == ["bert-base", "scibert"]
    half = [*assignments(resources={"gpu": 0.5}), *assignments(methods=["stl"], resources={"gpu": 0.5})]
    check_fits(tmp_path, half, gpu)
    assert asked == ["bert-base", "scibert"], "fits.json remembers, whatever the share"
    check_fits(tmp_path, half, SimpleNamespace(device=Device(name="another GPU", total=80 * GIB), peak=measure))
    check_fits(tmp_path, assignments(train={"batch": 32}, resources={"gpu": 0.5}), gpu)
    check_fits(tmp_path, assignments(methods=["stl"], resources={"gpu": 0.5}), gpu)
    assert asked == ["bert-base", "scibert", *["bert-base"] * 3]
    (tmp_path / FITS_FILE).write_text('{"schema": 1, "peaks": [3]}')
    check_fits(tmp_path, half, gpu)
    assert len(asked) == 6, "a file that cannot be read is as good as none"
    assert list(json.loads((tmp_path / FITS_FILE).read_text())["peaks"].values()) == [30 * GIB]


def test_whole_gpus_and_none_are_left_alone(tmp_path: Path) -> None:
    for gpu in (0, 1, 2, "auto"):
        check_fits(tmp_path, assignments(resources={"gpu": gpu}), SimpleNamespace())
    assert not (tmp_path / FITS_FILE).exists()


# On Ray ---------------------------------------------------------------------------------------------------------------


class MadeUpRay:
    """Actors of a cluster with one GPU and eight CPUs: what they were asked for, and what was free at that time."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, []
        self.there: dict[int, float] = {}  # number of an actor -> its GPUs

    def remote(self, made: type) -> Any:
        assert made is probe.Probe
        return SimpleNamespace(options=lambda **options: SimpleNamespace(remote=lambda: self.start(options)))

    def start(self, options: dict[str, Any]) -> Any:
        number = len(self.there)
        self.there[number] = options["num_gpus"]
        assert sum(self.there.values()) <= 1, "Ray would wait for ever"

        def asks(name: str) -> Any:
            def ask(*words: Any) -> Any:
                self.asked.append((name, options["num_gpus"], options["num_cpus"]))
                return self.answers[name]

            return SimpleNamespace(remote=ask)

        return SimpleNamespace(number=number, **{name: asks(name) for name in self.answers})

    def kill(self, actor: Any) -> None:
        self.there[actor.number] = 0


@pytest.fixture
def cluster(monkeypatch) -> MadeUpRay:
    import ray

    made = MadeUpRay({"describe": DEVICE, "peak": 30 * GIB, "load": None, "rate": 3.0})
    node = {"Alive": True, "NodeID": "00" * 28, "Resources": {"CPU": 8.0, "GPU": 1.0}}
    monkeypatch.setattr(ray, "remote", made.remote)
    monkeypatch.setattr(ray, "kill", made.kill)
    monkeypatch.setattr(ray, "get", lambda found: found)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False}, {**node, "Resources": {"CPU": 2.0}}, node])
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    return made


def test_on_ray_one_process_with_a_whole_gpu_measures_one_training_after_the_other(tmp_path: Path, cluster) -> None:
    gpu = RayGpu()
    assert gpu.cpus == 8
    assert not cluster.there, "nothing starts before the first question"
    with pytest.raises(InputError, match=r"needs 30\.8 GiB: use 0\.39 or more, i\.e\. 1/2"):
        check_fits(tmp_path, [*assignments(), *assignments("scibert")], gpu)
    assert cluster.asked == [("describe", 1, 1), ("peak", 1, 1), ("peak", 1, 1)]
    assert cluster.there == {0: 1}
    gpu.close()
    gpu.close()
    assert gpu.device is DEVICE
    assert cluster.there == {0: 0}, "the GPU is free, and known"


def test_on_ray_trainings_side_by_side_have_a_process_and_a_share_each(cluster) -> None:
    (one,) = heaviest(assignments(resources={"gpu": "auto", "cpu": 2}))
    gpu = RayGpu()
    assert gpu.rate(one, 1) == 3
    assert gpu.rate(one, 3) == 9
    together = (0.3333, 2)
    assert cluster.asked == [("rate", 1, 1), *[("load", *together)] * 3, *[("rate", *together)] * 3], "all load first"
    assert set(cluster.there.values()) == {0}


def test_on_ray_a_gpu_is_needed(monkeypatch, cluster) -> None:
    monkeypatch.setattr("ray.nodes", lambda: [{"Alive": True, "Resources": {"CPU": 2.0}}])
    with pytest.raises(EnvironmentFault, match="no node has a GPU; set it to 0, or to auto"):
        RayGpu()
