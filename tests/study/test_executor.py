"""What an executor does before anything is computed: it checks encoders and chooses shares of a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from l3masking.errors import EnvironmentFault, InputError
from study import executor
from study.executor import OnRay, Serial, make_executor
from study.gpu import GIB, Device
from study.space.spec import Resources
from study.store.store import Store


class Asked:
    """In the place of an encoder: notes what is asked of it."""

    def __init__(self, *, fetched: bool = True) -> None:
        self.fetched, self.loads = fetched, []

    def is_fetched(self) -> bool:
        return self.fetched

    def load(self, device: str) -> None:
        self.loads.append(device)

    def hold(self, device: str) -> None:
        self.loads.append(f"held on {device}")


def trainings(**resources: Any) -> list[Any]:
    """As much of assignments as is looked at."""
    trial = SimpleNamespace(encoder="bert-base", dataset="imdb")
    return [SimpleNamespace(trial=trial, resources=Resources(**resources))]


@pytest.fixture
def on_ray(tmp_path: Path, monkeypatch) -> OnRay:
    """One whose cluster is there without a Ray."""
    made = OnRay(Store(tmp_path), tmp_path, insecure=False)
    monkeypatch.setattr(made, "_join", lambda: None)
    monkeypatch.setattr(executor, "most_slots", lambda takes: 2)
    return made


# Encoders -------------------------------------------------------------------------------------------------------------


def test_in_turn_encoders_are_loaded_once_and_the_first_one_stays() -> None:
    order: list[str] = []
    encoders = [SimpleNamespace(hold=lambda device, name=name: order.append(name)) for name in "ab"]
    Serial().check(encoders)  # type: ignore[arg-type]
    assert order == ["b", "a"]


def test_on_ray_the_first_worker_checks_the_encoders(on_ray: OnRay, monkeypatch) -> None:
    given: list[Any] = []
    monkeypatch.setattr(executor, "execute_on_ray", lambda works, count, unchecked: given.append(unchecked))
    here, away = Asked(), Asked(fetched=False)
    on_ray.check([here, away])  # type: ignore[list-item]
    assert (here.loads, away.loads) == ([], ["cpu"]), "what is to be fetched is fetched by the driver alone"
    on_ray.make(iter(()), 1)
    (unchecked,) = given
    assert unchecked == [here]
    unchecked.clear()  # as the worker does
    assert on_ray.prepare(trainings()) == 2
    assert here.loads == []


def test_on_ray_encoders_that_no_worker_has_checked_are_checked_before_a_training(on_ray: OnRay) -> None:
    one, other = Asked(), Asked()
    on_ray.check([one, other])  # type: ignore[list-item]
    assert on_ray.prepare([]) == 1
    assert one.loads == [], "nothing is to be trained"
    for _ in range(2):
        on_ray.prepare(trainings())
        assert (one.loads, other.loads) == (["cpu"], ["cpu"])


# Shares of a GPU ------------------------------------------------------------------------------------------------------


class MeasuredGpu:
    """In the place of one of the cluster: bert-base takes 30 of its 80 GiB."""

    device, cpus, closed = Device(name="made-up GPU", total=80 * GIB), 8.0, 0

    def peak(self, assignment: Any) -> int:
        return 30 * GIB

    def rate(self, assignment: Any, count: int) -> float:
        return float(count)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture
def gpu(monkeypatch) -> MeasuredGpu:
    made = MeasuredGpu()
    monkeypatch.setattr(executor, "RayGpu", lambda: made)
    monkeypatch.setattr(executor, "gpu_node", dict)
    return made


@contextmanager
def measured(assignments: list[Any], monkeypatch) -> Iterator[None]:
    """fits.json and what it is named by have tests of their own."""
    for module in ("fit", "share"):
        monkeypatch.setattr(f"study.estimate.{module}.heaviest", lambda given: given)
    monkeypatch.setattr("study.estimate.fit._key", lambda assignment, device: "key")
    for one in assignments:
        one.trial.method = "rtm"
    yield


def test_auto_is_measured_on_a_free_gpu(on_ray: OnRay, gpu: MeasuredGpu, monkeypatch) -> None:
    given = trainings(gpu="auto")
    with measured(given, monkeypatch):
        shares, (line,) = on_ray.shares(given)
    assert shares == {("bert-base", "imdb"): 0.5}
    assert line.startswith("gpu: auto -> 0.5 for bert-base on imdb (2 trainings share a GPU: its memory holds no more;")
    assert gpu.closed == 1


def test_fractions_are_checked_before_anything_is_computed_and_before_trainings(on_ray, gpu, monkeypatch) -> None:
    given = trainings(gpu=0.25)
    with measured(given, monkeypatch):
        for ask in (on_ray.shares, on_ray.prepare):
            with pytest.raises(InputError, match=r"needs 30\.8 GiB: use 0\.39 or more"):
                ask(given)
        assert gpu.closed == 2
        assert on_ray.shares(trainings(gpu=1)) == ({}, [])
        assert on_ray.shares(trainings()) == ({}, [])
    assert gpu.closed == 2, "not even started"


def test_auto_without_a_gpu_is_the_processor(on_ray: OnRay, monkeypatch) -> None:
    monkeypatch.setattr(executor, "gpu_node", lambda: None)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert isinstance(make_executor(Resources(executor="serial", gpu="auto"), None, Path()), Serial)  # type: ignore[arg-type]
    for how in (on_ray, Serial()):
        shares, lines = how.shares(trainings(gpu="auto"))
        assert shares == {("bert-base", "imdb"): 0}
        assert lines == ["gpu: auto -> 0 (there is no GPU: trainings run on the processor)"]
    with pytest.raises(EnvironmentFault, match=r"resources\.gpu is 1: torch finds no GPU"):
        make_executor(Resources(executor="serial", gpu=1), None, Path())  # type: ignore[arg-type]


def test_auto_in_turn_takes_the_whole_gpu(monkeypatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    assert Serial().shares(trainings(gpu="auto"))[0] == {("bert-base", "imdb"): 1}
    assert Serial().shares(trainings(gpu=1)) == ({}, [])
