"""Trials go on from their checkpoints: when these are written, which of them count, and that records stay equal."""

from __future__ import annotations

import dataclasses
import errno
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import safetensors.torch
import torch
from small_study import NoMirror, assignments, command, records, results, start, tables, write_study
from small_task import one_thread

from l3masking.errors import EnvironmentFault, Interrupted
from l3masking.training.checkpoint import Snapshot
from l3masking.training.checkpoint_files import numbers, write_checkpoint
from l3masking.training.continual import adapt
from l3masking.training.evaluation import NonFiniteLoss
from study.assignment import Assignment
from study.checkpoints import TrialCheckpoints
from study.store.store import Store
from study.trial import execute

MADE_WITH = {"trajectory": "t", "threads": 1}
SHORT: dict[str, Any] = {"methods": ["l3masking", "tapt"], "seeds": 1, "adapt": {"epochs": 3, "batch": 8}}
ALWAYS = "resources.checkpoint_minutes=0"


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def kept(folder: Path, clock: Clock, minutes: float | None = 5.0, **changes: Any) -> TrialCheckpoints:
    return TrialCheckpoints(
        folder,
        minutes=minutes,
        objectives=changes.pop("objectives", ["accuracy", "macro_f1"]),
        send=changes.pop("send", lambda: None),
        made_with=MADE_WITH | changes,
        clock=clock,
    )


def snapshot(value: int) -> Snapshot:
    return Snapshot({"value": value}, {"x": torch.tensor([value])})


def offered(trial: TrialCheckpoints, value: int) -> bool:
    """Whether a checkpoint was written."""
    before = numbers(trial.folder / "main")
    trial.stage("main").offer(lambda: snapshot(value))
    return numbers(trial.folder / "main") != before


def test_saves_keep_their_distance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    trial = kept(tmp_path, clock)

    def slow(folder: Path, what: Snapshot) -> None:
        clock.now += 20.0
        write_checkpoint(folder, what)

    assert not offered(trial, 1), "the first one too"
    clock.now += 301.0
    assert offered(trial, 2)
    clock.now += 299.0
    assert not offered(trial, 3)
    clock.now += 1.0
    monkeypatch.setattr("study.checkpoints.write_checkpoint", slow)
    assert offered(trial, 4)
    clock.now += 999.0
    assert not offered(trial, 5), "50 times as long as the save took"
    clock.now += 1.0
    assert offered(trial, 6)
    never = kept(tmp_path, clock, minutes=None)
    clock.now += 10_000.0
    assert not offered(never, 7)
    assert never.stage("main").newest() is None
    always = kept(tmp_path, clock, minutes=0)
    assert offered(always, 8)
    assert offered(always, 9)


def test_the_first_save_of_a_large_training_waits_until_it_is_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is written on trial: of a slow disk it takes 2 s, and so the first save is put off to 50 times 20 s."""
    monkeypatch.setattr("l3masking.training.checkpoint_files.PROBED_BYTES", 200)
    clock, written = Clock(), list[int]()
    save_file = safetensors.torch.save_file

    def slow(tensors: dict[str, torch.Tensor], path: Path) -> None:
        written.append(sum(tensor.numel() * tensor.element_size() for tensor in tensors.values()))
        clock.now += written[-1] / 100
        save_file(tensors, path)

    monkeypatch.setattr("safetensors.torch.save_file", slow)
    trial, waited = kept(tmp_path, clock), 0.0
    large = Snapshot({}, {"x": torch.zeros(400), "y": torch.zeros(100)})
    while not numbers(tmp_path / "main"):
        waited += 10.0
        clock.now += 10.0
        trial.stage("main").offer(lambda: large)
    assert written == [200, 2000]
    assert waited == 1000.0
    assert [path.name for path in (tmp_path / "main").iterdir() if path.name.startswith(".")] == [], "no trial is left"
    small = kept(tmp_path / "small", clock)
    clock.now += 300.0
    assert offered(small, 1), "a small one is not tried"
    assert written == [200, 2000, 8]


def test_continuations_and_seconds_add_up(tmp_path: Path) -> None:
    clock = Clock()
    first = kept(tmp_path, clock, minutes=0)
    clock.now += 7.0
    first.stage("main").offer(lambda: snapshot(1))
    second = kept(tmp_path, clock, minutes=0)
    found = second.stage("main").newest()
    assert found is not None
    assert found.facts["value"] == 1
    clock.now += 5.0
    assert (second.resumed, second.seconds) == (1, 12.0)
    second.stage("main").offer(lambda: snapshot(2))
    third = kept(tmp_path, clock, minutes=0)
    third.stage("main").newest()
    assert (third.resumed, third.seconds) == (2, 12.0)
    unsaved = kept(tmp_path, clock, minutes=0)
    unsaved.stage("main").newest()
    assert unsaved.resumed == 2, "what the third did was lost, and is no part of the result"


def test_a_checkpoint_made_with_something_else_does_not_count(tmp_path: Path) -> None:
    clock = Clock()
    kept(tmp_path, clock, minutes=0).stage("main").offer(lambda: snapshot(1))
    assert kept(tmp_path, clock).stage("main").newest() is not None
    assert kept(tmp_path, clock, objectives=["accuracy"]).stage("main").newest() is not None
    assert kept(tmp_path, clock, objectives=["accuracy", "other"]).stage("main").newest() is None
    assert kept(tmp_path, clock, threads=2).stage("main").newest() is None
    assert kept(tmp_path, clock, more=1).stage("main").newest() is None
    assert kept(tmp_path, clock).stage("other").newest() is None


def test_a_full_disk_costs_the_checkpoint_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    clock = Clock()
    trial = kept(tmp_path, clock, minutes=0)
    assert offered(trial, 1)
    monkeypatch.setattr("l3masking.training.checkpoint_files.write_atomic", full)
    trial.stage("main").offer(lambda: snapshot(2))
    assert "No space left on device" in caplog.text
    found = kept(tmp_path, clock).stage("main").newest()
    assert found is not None
    assert found.facts["value"] == 1


class Asked:
    """A pulse that asks to end at a step, and notes what it hears."""

    def __init__(self, steps: int) -> None:
        self.left, self.heard = steps, list[str]()

    def beat(self, stage: str) -> bool:
        self.left -= 1
        self.heard.append(stage)
        return self.left <= 0

    def saves(self) -> None:
        self.heard.append("saves")


@pytest.mark.parametrize("minutes", [5.0, None])
def test_what_is_asked_to_end_saves_at_its_next_step(tmp_path: Path, minutes: float | None) -> None:
    trial = kept(tmp_path, Clock(), minutes=minutes)
    trial.pulse = Asked(3)
    for _ in range(2):
        trial.stage("main").beat(lambda: snapshot(1))
    assert not numbers(tmp_path / "main"), "it is not time for one"
    with pytest.raises(Interrupted):
        trial.stage("main").beat(lambda: snapshot(2))
    assert trial.pulse.heard == ["main"] * 3 + ["saves"] * bool(minutes)
    found = kept(tmp_path, Clock()).stage("main").newest()
    assert (None if found is None else found.facts["value"]) == (2 if minutes else None)


class Killed(BaseException):
    """Stands for the end of the process."""


def killed_after(count: int) -> Any:
    """Let a trial die after `count` checkpoints."""
    left = [count]

    def write(folder: Path, what: Snapshot) -> None:
        write_checkpoint(folder, what)
        left[0] -= 1
        if not left[0]:
            raise Killed

    return mock.patch("study.checkpoints.write_checkpoint", write)


@pytest.fixture(scope="module")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path], list[Assignment]]:
    """The trials of a study as they are in another folder."""
    folder = tmp_path_factory.mktemp("study")
    made = assignments(write_study(folder, **SHORT), folder / "out", ALWAYS)
    return lambda root: [dataclasses.replace(one, root=root) for one in made]


@pytest.mark.parametrize("which", [0, 1], ids=["l3masking", "tapt"])
def test_a_trial_that_dies_has_the_record_of_one_that_does_not(
    which: int, trials: Callable[[Path], list[Assignment]], tmp_path: Path
) -> None:
    with one_thread():
        whole = trials(tmp_path / "whole")[which]
        assert execute(whole) is None
        expected = {key: results(record) for key, record in records(tmp_path / "whole").items()}
        assert all("resumed" not in record["run"] for record in records(tmp_path / "whole").values())
        assert not list((tmp_path / "whole").glob("checkpoints/*"))
        count = 1
        while True:
            root = tmp_path / str(count)
            try:
                with killed_after(count):
                    execute(trials(root)[which])
                break
            except Killed:
                assert list(root.glob("checkpoints/*/*/*.json"))
            assert execute(trials(root)[which]) is None
            assert {key: results(record) for key, record in records(root).items()} == expected
            assert {record["run"]["resumed"] for record in records(root).values()} == {1}
            assert not list(root.glob("checkpoints/*"))
            count += 1
        assert count > (6 if which else 3)


@pytest.mark.parametrize(("which", "steps"), [(0, 5), (1, 3), (1, 20)], ids=["main", "adapt", "after-adapt"])
def test_a_trial_that_is_asked_to_end_fails_not_and_goes_on(
    which: int, steps: int, trials: Callable[[Path], list[Assignment]], tmp_path: Path
) -> None:
    with one_thread():
        for name in ("whole", "asked"):
            given = trials(tmp_path / name)[which]
            resources = dataclasses.replace(given.resources, checkpoint_minutes=60.0)
            given = dataclasses.replace(given, resources=resources)
            if name == "asked":
                with pytest.raises(Interrupted):
                    execute(given, pulse := Asked(steps))
                assert not list((tmp_path / name).glob("records/*"))
                assert Store(tmp_path / name).failures() == []
                assert len(list((tmp_path / name).glob("checkpoints/*/*/*.json"))) == 1
            assert execute(given) is None
    whole, asked = records(tmp_path / "whole"), records(tmp_path / "asked")
    assert {key: results(record) for key, record in whole.items()} == {k: results(r) for k, r in asked.items()}
    assert {record["run"]["resumed"] for record in asked.values()} == {1}
    assert pulse.heard[-2:] == ["adapt-0" if steps == 3 else "training", "saves"]


@pytest.mark.parametrize(("cut", "stages"), [(2, [0, 1]), (5, [1]), (8, [])], ids=["first", "second", "main"])
def test_finished_masked_lm_stages_are_not_repeated(
    cut: int, stages: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An arm with two of them, of three evaluations each, is killed in each of its stages."""
    arms = {"twice": {"like": "tapt", "adapt": "l3"}}
    space = write_study(tmp_path, **SHORT | {"arms": arms, "methods": ["twice"]})
    (one,) = assignments(space, tmp_path / "out", ALWAYS)
    begun = list[str]()

    def spied(encoder: Any, *given: Any, **options: Any) -> Any:
        begun.append(options["keeper"]._folder.name)
        return adapt(encoder, *given, **options)

    with one_thread():
        assert execute(dataclasses.replace(one, root=tmp_path / "whole")) is None
        (expected, *_) = records(tmp_path / "whole").values()
        with killed_after(cut), pytest.raises(Killed):
            execute(one)
        monkeypatch.setattr("study.adapted.adapt", spied)
        assert execute(one) is None
    assert begun == [f"adapt-{number}" for number in stages]
    found = records(tmp_path / "out")[expected["key"]]
    assert results(found) == results(expected)
    assert found["run"]["resumed"] == 1
    assert not list((tmp_path / "out/adapted").iterdir())
    assert not list((tmp_path / "out").glob("checkpoints/*"))


@pytest.mark.parametrize("which", [0, 1], ids=["l3masking", "tapt"])
def test_a_training_at_a_url_goes_on_on_another_machine(
    which: int, trials: Callable[[Path], list[Assignment]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It dies three times, each time on a machine of its own; nothing of it is left at the URL."""
    there = tmp_path / "there"
    one = trials(tmp_path / "whole")[which]
    with one_thread():
        assert execute(one) is None
        at_url = dataclasses.replace(one, root=f"file://{there}")
        for name in ("a", "b", "c"):
            monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / name))
            with killed_after(2), pytest.raises(Killed):
                execute(at_url)
        monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path / "d"))
        assert execute(at_url) is None
    whole, found = records(tmp_path / "whole"), records(there)
    assert {key: results(record) for key, record in found.items()} == {k: results(r) for k, r in whole.items()}
    assert {record["run"]["resumed"] for record in found.values()} == {3}
    assert {path.name for path in there.rglob("*") if path.is_file()} == {f"{key}.json" for key in found}


def test_a_url_that_is_away_costs_the_checkpoint_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def away() -> None:
        raise EnvironmentFault("s3://bucket/study: cannot write there")

    trial = kept(tmp_path, Clock(), minutes=0, send=away)
    assert offered(trial, 1)
    assert "cannot write there" in caplog.text


def test_what_diverged_leaves_no_checkpoints(
    trials: Callable[[Path], list[Assignment]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trials(tmp_path)[0]
    one = dataclasses.replace(one, trial=dataclasses.replace(one.trial, keys=dict([*one.trial.keys.items()][:1])))

    def ends(error: Exception) -> str | None:
        def write(*_: Any, **__: Any) -> None:
            raise error

        with killed_after(1), pytest.raises(Killed):
            execute(one)
        monkeypatch.setattr("study.trial.Training.run", write)
        reason = execute(one)
        monkeypatch.undo()
        return reason

    assert "RuntimeError" in str(ends(RuntimeError("out of something")))
    assert list(tmp_path.glob("checkpoints/*/*/*.json")), "it may go on"
    assert "NonFiniteLoss" in str(ends(NonFiniteLoss("nan")))
    assert not list(tmp_path.glob("checkpoints/*"))


# long: test_trial_kills.py kills trainings, test_study_kills.py runs; here in a process that was not forked
@pytest.mark.long
def test_a_serial_run_that_is_killed_goes_on_inside_its_training(tmp_path: Path) -> None:
    space = {"methods": ["l3masking"], "seeds": 1, "train": {"batch": 8, "accumulate": 1, "max_epochs": 60}}
    space["resources"] = {"executor": "serial", "checkpoint_minutes": 0}
    for name in ("whole", "killed"):
        write_study(tmp_path / name, **space)
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", tmp_path / "whole/small.yaml", "--out", tmp_path / "whole/out")
        assert said.code == 0, said.err
        driver = start("run", "small.yaml", "--out", "out", cwd=tmp_path / "killed")
        limit = time.monotonic() + 150
        try:
            while not list((tmp_path / "killed/out").glob("checkpoints/*/training/0000001?.json")):
                assert driver.poll() is None, driver.communicate()
                assert time.monotonic() < limit, "it takes too long"
                time.sleep(0.01)
        finally:
            driver.send_signal(signal.SIGKILL)
            driver.communicate()
        assert not list((tmp_path / "killed/out").glob("records/*.json")), "killed in the middle"
        said = command("run", tmp_path / "killed/small.yaml", "--out", tmp_path / "killed/out")
        assert said.code == 0, said.err
    whole, killed = records(tmp_path / "whole/out"), records(tmp_path / "killed/out")
    assert {key: results(record) for key, record in whole.items()} == {k: results(r) for k, r in killed.items()}
    assert {record["run"]["resumed"] for record in killed.values()} == {1}
    assert tables(tmp_path / "whole/out") == tables(tmp_path / "killed/out")
    assert not list((tmp_path / "killed/out").glob("checkpoints/*"))


def test_a_run_removes_checkpoints_of_finished_trainings(tmp_path: Path) -> None:
    space = write_study(tmp_path, methods=["stl"], seeds=1, train={"batch": 8, "accumulate": 1, "max_epochs": 1})
    with mock.patch("study.run.Mirror", NoMirror):
        assert command("run", space, "--out", tmp_path / "out").code == 0
        (record, *_) = records(tmp_path / "out").values()
        for name in (record["trajectory"], "0" * 32):
            (tmp_path / "out/checkpoints" / name / "training").mkdir(parents=True)
        assert command("run", space, "--out", tmp_path / "out").code == 0
    assert [path.name for path in (tmp_path / "out/checkpoints").iterdir()] == ["0" * 32]
    assert Store(tmp_path / "out").failures() == []
