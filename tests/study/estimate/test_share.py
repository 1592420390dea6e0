"""`resources.gpu: auto`: how many trainings share a GPU, from made-up measurements."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from plans import KNOWN, space

from study.estimate import share
from study.estimate.fit import FITS_FILE, Rates, misfit
from study.estimate.share import MOST_AT_ONCE, best, choose_shares, held, share_of, whole_gpu, without_gpu
from study.gpu import CUDA_CONTEXT, GIB, Device
from study.plan.grid import make_plan

DEVICE = Device(name="made-up GPU", total=80 * GIB)


def assignments(**given: Any) -> list[Any]:
    """As much of assignments as is looked at where nothing is measured."""
    pairs = [{"encoder": "bert-base", "dataset": "imdb"}, {"encoder": "scibert", "dataset": "acl-arc"}]
    spec = space(**{"pairs": pairs, "seeds": 2, "resources": {"gpu": "auto"}, **given})
    trials = make_plan(spec, KNOWN)
    return [SimpleNamespace(trial=t, resources=spec.resources_of(t.encoder, t.dataset)) for t in trials]


class MadeUpGpu:
    """Holds what it is told to; its throughput is `n / (1 + w (n - 1))`, where n trainings run."""

    def __init__(self, peak: float, waits: float, cpus: float = 16) -> None:
        self.device, self.cpus, self._peak, self._waits = DEVICE, cpus, peak, waits
        self.asked: list[tuple[str, int]] = []

    def peak(self, assignment: Any) -> int:
        self.asked.append((assignment.trial.encoder, 0))
        return int(self._peak * GIB)

    def rate(self, assignment: Any, count: int) -> float:
        self.asked.append((assignment.trial.encoder, count))
        return 4 * count / (1 + self._waits * (count - 1))


# What is chosen -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("needed", "count"), [(2.0, 10), (7.99, 10), (8.01, 9), (26.6, 3), (39.9, 2), (41.0, 1), (99.0, 1)]
)
def test_as_many_as_the_memory_holds(needed: float, count: int) -> None:
    assert held(int(needed * GIB - CUDA_CONTEXT), DEVICE) == count
    assert held(int(needed * GIB - CUDA_CONTEXT), DEVICE, most=4) == min(count, 4)


@pytest.mark.parametrize("count", range(1, MOST_AT_ONCE + 1))
def test_shares_add_up_to_no_more_than_a_gpu_and_hold_what_was_counted(count: int) -> None:
    assert count * share_of(count) <= 1 < (count + 1) * share_of(count)
    peak = int(DEVICE.total / count - CUDA_CONTEXT - 0.01 * GIB)
    assert held(peak, DEVICE) == count
    trial, resources = assignments()[0].trial, SimpleNamespace(num_gpus=share_of(count))
    assert misfit(SimpleNamespace(trial=trial, resources=resources), peak, DEVICE) is None


@pytest.mark.parametrize(
    ("rates", "count"),
    [
        (Rates(4, 40, 10), 10),  # each adds as much as the first
        (Rates(4, 16.8, 10), 8),  # a time-sliced GPU: the ninth adds less than 5 %
        (Rates(4, 4.8, 4), 2),
        (Rates(4, 4.1, 4), 1),  # one fills the GPU
        (Rates(4, 2.0, 4), 1),  # they hinder each other
        (Rates(4, 50.0, 10), 10),  # more than ten times as much: noise
        (Rates(4, 4, 1), 1),
    ],
)
def test_throughput_stops_growing(rates: Rates, count: int) -> None:
    assert best(rates) == count


# What is measured, kept and said --------------------------------------------------------------------------------------


def test_memory_and_throughput_are_measured_once_for_each_pair(tmp_path: Path) -> None:
    gpu = MadeUpGpu(peak=2.3, waits=0)
    shares, lines = choose_shares(tmp_path, assignments(), gpu)
    assert shares == {("bert-base", "imdb"): 0.1, ("scibert", "acl-arc"): 0.1}
    assert lines[0] == (
        "gpu: auto -> 0.1 for bert-base on imdb (10 trainings share a GPU: the most that are tried; peak 2.3 of 80.0 "
        "GiB; 4 updates/s alone, 40 by 10 together)"
    )
    assert len(lines) == 2
    assert gpu.asked == [(name, count) for name in ("bert-base", "scibert") for count in (0, 1, 10)]
    assert len(json.loads((tmp_path / FITS_FILE).read_text())["rates"]) == 2
    again = MadeUpGpu(peak=99, waits=1)
    assert choose_shares(tmp_path, assignments(), again) == (shares, lines)
    assert again.asked == [], "fits.json remembers"
    choose_shares(tmp_path, assignments(resources={"gpu": "auto", "cpu": 4}), again)
    assert again.asked == [(name, count) for name in ("bert-base", "scibert") for count in (1, 4)], "fewer CPUs"


@pytest.mark.parametrize(
    ("gpu", "gpus", "said"),
    [
        (MadeUpGpu(20, 0), 0.3333, "3 trainings share a GPU: its memory holds no more; peak 20.0 of 80.0 GiB; "),
        (MadeUpGpu(60, 0), 1, "one training at a time: its memory holds no more; peak 60.0 of 80.0 GiB)"),
        (MadeUpGpu(80, 0), 1, "one training at a time: its memory holds no more; peak 80.0 of 80.0 GiB)"),
        (MadeUpGpu(2, 0.5), 0.25, "4 trainings share a GPU: a further one adds less than 5% throughput; peak "),
        (MadeUpGpu(2, 1), 1, "one training at a time: a further one adds less than 5% throughput; peak 2.0 "),
        (MadeUpGpu(2, 0, cpus=6.5), 0.1666, "6 trainings share a GPU: its CPUs allow no more; peak 2.0 "),
        (MadeUpGpu(2, 0, cpus=1), 1, "one training at a time: its CPUs allow no more; peak 2.0 "),
    ],
)
def test_the_line_says_what_limits_the_number(tmp_path: Path, gpu: MadeUpGpu, gpus: float, said: str) -> None:
    shares, (line, _) = choose_shares(tmp_path, assignments(), gpu)
    assert set(shares.values()) == {gpus}
    assert line.startswith(f"gpu: auto -> {gpus:g} for bert-base on imdb ({said}")
    alone = [count for _, count in gpu.asked if count > 0]
    assert bool(alone) == ("updates/s" in line), "nothing to compare where one alone fits"


def test_the_largest_batch_of_a_pair_decides_for_it(tmp_path: Path, monkeypatch) -> None:
    gpu = MadeUpGpu(0, 0)
    monkeypatch.setattr(gpu, "peak", lambda given: given.trial.settings["scoring"]["max_length"] * GIB // 16)
    given = assignments(variants={"long": {"scoring.max_length": 256}})
    assert set(choose_shares(tmp_path, given, gpu)[0].values()) == {0.25}
    assert set(choose_shares(tmp_path, given[::-1], gpu)[0].values()) == {0.25}, "whichever comes first"


def test_a_pair_with_a_share_of_its_own_is_left_alone(tmp_path: Path) -> None:
    pairs = [{"encoder": "bert-base", "dataset": "imdb", "gpu": 0.5}, {"encoder": "scibert", "dataset": "acl-arc"}]
    given, one = assignments(pairs=pairs), ("scibert", "acl-arc")
    assert choose_shares(tmp_path, given, MadeUpGpu(2, 0))[0] == {one: 0.1}
    assert without_gpu(given) == ({one: 0}, ["gpu: auto -> 0 (there is no GPU: trainings run on the processor)"])
    assert whole_gpu(given) == ({one: 1}, ["gpu: auto -> 1 (executor serial: one training at a time)"])
    assert share.asking(assignments(resources={"gpu": 1})) == []


def test_a_study_with_chosen_shares_asks_for_numbers() -> None:
    spec = space(
        pairs=[{"encoder": "bert-base", "dataset": name} for name in ("imdb", "acl-arc")], resources={"gpu": "auto"}
    )
    chosen = spec.with_gpus({("bert-base", "imdb"): 0.25})
    assert chosen.resources_of("bert-base", "imdb").num_gpus == 0.25
    assert spec.resources_of("bert-base", "imdb").device == "cuda"
    assert spec.with_gpus({("bert-base", "imdb"): 0}).resources_of("bert-base", "imdb").device == "cpu"
    with pytest.raises(AssertionError, match="has to choose"):
        _ = chosen.resources_of("bert-base", "acl-arc").num_gpus
