"""Time: what finished trainings say, what is scaled from others, and what nobody knows."""

from __future__ import annotations

import itertools
import random

import pytest
from plans import KNOWN, records_of, space

from study.estimate.sizes import data_sizes
from study.estimate.times import (
    Times,
    compared,
    duration,
    estimate,
    local_slots,
    makespan,
    time_left,
    time_left_at_pace,
)
from study.plan.grid import make_plan
from study.space.spec import Resources


def seconds(trials, records, **more):
    return estimate(trials, Times(trials, records), **more).seconds


def test_time_is_estimated_from_finished_trainings_of_the_same_cell() -> None:
    trials = make_plan(space(seeds=4, methods=["stl", "rtm"]), KNOWN)
    stl, rtm = ([t for t in trials if t.method == method] for method in ("stl", "rtm"))
    records = [*records_of(stl[0], 10), *records_of(stl[1], 30), *records_of(rtm[0], 100, ("accuracy",))]
    times = Times(trials, records)
    # two stl trainings at 20 s, three of rtm at 100 s, and the second objective of the first, which is trained again
    found = estimate([*stl[2:], *rtm], times)
    assert found.seconds == pytest.approx(2 * 20 + 4 * 100)
    assert found.basis.startswith("2 cells: by the mean of their own finished trainings; 1 at a time")
    assert times.of(stl[2]).why == "mean of 2 finished trainings of the same cell"
    assert times.of(rtm[1]).why == "mean of 1 finished training of the same cell"
    assert estimate([*stl[2:], *rtm], times, slots=4).seconds == pytest.approx(120), "four of rtm, then both of stl"
    assert estimate([], times).seconds == 0
    assert seconds(stl, records_of(stl[0])) is None, "no time was recorded"


def test_another_method_of_the_same_pair_is_scaled_by_its_passes_and_said_so() -> None:
    trials = make_plan(space(seeds=1, methods=["stl", "rtm", "mtl_static"]), KNOWN)
    stl, rtm, static = trials
    times = Times(trials, records_of(stl, 10))
    assert times.of(rtm).seconds == pytest.approx(30)
    assert times.of(static).seconds == pytest.approx(20)
    assert (times.of(rtm).basis, times.of(stl).basis) == ("scaled", "finished")
    assert "1 finished training of stl, × 3" in times.of(rtm).why
    assert "2 cells: scaled from another method or other settings" in estimate([rtm, static], times).basis
    both = Times(trials, [*records_of(stl, 10), *records_of(static, 50)])
    assert both.of(rtm).seconds == pytest.approx(75), "of two methods the one that is nearer"


def test_other_settings_of_the_same_method_come_before_another_method() -> None:
    before = make_plan(space(seeds=1, methods=["rtm"], train={"max_epochs": 50}), KNOWN)
    trials = make_plan(space(seeds=1, methods=["stl", "rtm"]), KNOWN)
    times = Times(trials, [*records_of(before[0], 20), *records_of(trials[0], 1)])
    assert times.of(trials[1]).seconds == pytest.approx(60), "150 epochs instead of 50"
    assert "the same method under other settings" in times.of(trials[1]).why
    again = make_plan(space(seeds=5, methods=["rtm"]), KNOWN)
    narrowed = Times(again[:1], records_of(again[4], 8))
    assert narrowed.of(again[0]).basis == "finished", "a seed that is not asked for is of the same cell all the same"


def test_masked_lm_training_on_a_corpus_counts_with_its_texts() -> None:
    """13 × 128 texts an epoch, 150 epochs; before them 3900 updates of 64 texts: as many texts."""
    given = {"corpora": {"c": {"files": "c.txt", "most": 3000}}, "seeds": 1, "methods": ["stl", "rtm", "dapt"]}
    adapt = {"corpus": "c", "batch": 64, "accumulate": 1, "updates": 3900, "dev_share": 0}
    spec = space(**given, adapt=adapt)
    trials, sizes = make_plan(spec, KNOWN), data_sizes(spec)
    stl, rtm, dapt = trials
    times = Times(trials, records_of(stl, 10), sizes=sizes)
    assert times.of(dapt).seconds == pytest.approx(10 * (1 + 3900 * 64 / (1950 * 128))) == pytest.approx(20)
    assert times.of(dapt).more == "masked-LM training before it: 3900 updates, as `adapt.updates` says"
    assert times.of(rtm).more == ""
    basis = estimate([rtm, dapt], times).basis
    assert "1 cell: scaled from another method or other settings (passes × epochs): rough (masked-LM training" in basis
    epochs = make_plan(space(**given, adapt=adapt | {"updates": None, "epochs": 8}), KNOWN)
    long = Times(epochs, records_of(epochs[0], 10), sizes=sizes).of(epochs[2])
    assert long.seconds == pytest.approx(10 * (1 + 8 * (3000 // 64) * 64 / (1950 * 128)))
    assert long.more == "masked-LM training before it: 8 epochs of corpus c (3000 units, at most, as `most` says)"
    back = Times(trials, records_of(dapt, 60), sizes=sizes)
    assert back.of(stl).seconds == pytest.approx(30), "and what a long first stage took is no measure of the others"
    assert Times(trials, records_of(stl, 10)).of(dapt).seconds == pytest.approx(20), "one more pass where nobody knows"


def test_nothing_is_made_up_for_another_pair() -> None:
    pairs = [{"encoder": e, "dataset": "acl-arc"} for e in ("bert-base", "scibert")]
    trials = make_plan(space(seeds=1, methods=["stl"], pairs=pairs), KNOWN)
    found = estimate(trials, Times(trials, records_of(trials[0], 10)), gpus=lambda trial: 1.0)
    assert (found.seconds, found.gpu_hours) == (None, None)
    assert "1 cell: by the mean" in found.basis
    assert "1 cell unknown: no finished training of this encoder and dataset" in found.basis


def test_gpu_hours_are_seconds_times_shares() -> None:
    trials = make_plan(space(seeds=2, methods=["stl", "rtm"]), KNOWN)
    records = [*records_of(trials[0], 3600), *records_of(trials[1], 7200)]
    found = estimate(
        trials[2:], Times(trials, records), slots=2, gpus=lambda trial: 0.25 if trial.method == "stl" else 0.5
    )
    assert found.gpu_hours == pytest.approx(1 * 0.25 + 2 * 0.5)
    assert found.seconds == pytest.approx(7200)


def test_what_runs_already_counts_for_the_time_it_has_had() -> None:
    trials = make_plan(space(seeds=4, methods=["stl"]), KNOWN)
    times = Times(trials, records_of(trials[0], 100))
    running = {trials[1].trajectory: 60.0, trials[2].trajectory: 250.0}
    found = estimate(trials[1:], times, slots=2, running=running)
    assert found.seconds == pytest.approx(100), "the one that is over its time gives its place to the last one"
    assert estimate(trials[1:3], times, slots=2, running=running).seconds == pytest.approx(40)


def test_makespan_is_that_of_a_simulation() -> None:
    draw = random.Random(3)
    for _ in range(50):
        jobs = [draw.uniform(1, 10) for _ in range(draw.randint(1, 12))]
        under_way = [draw.uniform(0, 10) for _ in range(draw.randint(0, 3))]
        slots = draw.randint(max(1, len(under_way)), 5)
        assert makespan(jobs, slots, under_way) == pytest.approx(simulated(jobs, slots, under_way))
        assert makespan(jobs, slots) >= max(max(jobs), sum(jobs) / slots) - 1e-9
    assert makespan([], 3) == 0


def test_the_time_left_of_jobs_and_of_a_stage() -> None:
    assert time_left([]) == 0
    assert time_left([10, 20, 30], slots=2) == 30
    assert time_left([10], slots=2, running=[(30, 10), (5, 100)]) == 20, "the second is over its time: its slot is free"
    assert time_left([10, None]) is None
    assert time_left([10], running=[(None, 3)]) is None
    assert time_left_at_pace(30, 3, 10) == pytest.approx(70)
    assert time_left_at_pace(0, 0, 10) is None
    assert time_left_at_pace(30, 10, 10) == 0


def simulated(jobs: list[float], slots: int, running: list[float]) -> float:
    """From one end of a job to the next."""
    waiting, places, now = sorted(jobs), list(running), 0.0
    while waiting or places:
        while waiting and len(places) < slots:
            places.append(waiting.pop())
        step = min(places)
        now += step
        places = [rest - step for rest in places if rest - step > 1e-12]
    return now


def test_slots_are_bounded_by_what_this_machine_has(monkeypatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert local_slots(Resources()) == 8
    assert local_slots(Resources(cpu=3)) == 2
    assert local_slots(Resources(cpu=100)) == 1
    assert local_slots(Resources(workers=3)) == 3
    assert local_slots(Resources(executor="serial")) == 1
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert local_slots(Resources(gpu=0.25)) == 4, "one GPU is assumed"
    assert local_slots(Resources(gpu="auto")) == 8, "trainings run on the processor then"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    assert local_slots(Resources(gpu=0.5, cpu=0.5)) == 6
    assert local_slots(Resources(gpu=2)) == 1
    assert local_slots(Resources(gpu="auto")) == 3, "one at a time on each, until a run has measured"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (41.4, "41 s"),
        (150, "2 min"),
        (3599, "1 h 00 min"),
        (11_100, "3 h 05 min"),
        (360_000, "100 h 00 min"),
    ],
)
def test_duration(seconds, text) -> None:
    assert duration(seconds) == text


def test_the_estimates_error_is_told_in_percent() -> None:
    assert compared(720, 900) == "estimated 12 min, took 15 min (25 % more)"
    assert compared(100, 50) == "estimated 100 s, took 50 s (50 % less)"
    assert compared(100, 100.1) == "estimated 100 s, took 100 s (as estimated)"
    assert compared(None, 50) is None
    assert compared(0, 50) is None


def test_thousands_of_trials_are_hashed_once_per_row() -> None:
    spec = space(seeds=1000)
    trials = make_plan(spec, KNOWN)
    times = Times(trials, [])
    assert len({id(trial.settings) for trial in trials}) == 3 == len(times._hashes)
    assert {times.kind(trial) for trial in trials} == {times.kind(trial) for trial in itertools.islice(trials, 3)}
