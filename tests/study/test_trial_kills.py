"""Trials are killed by SIGKILL at ten moments of each stage, and go on; their records and models show nothing of it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from forked import Forks
from killed_trials import Moment, in_process, trial
from small_study import assignments, records, results, write_study

from study.assignment import Assignment
from study.store.store import Store

KILLS = 10  # in each stage
SHORT: dict[str, Any] = {
    "methods": ["l3masking", "tapt", "mask_tuning", "mask_tuning_two_rounds"],
    "seeds": 1,
    "adapt": {"epochs": 4, "batch": 8},
    "train": {"batch": 8, "accumulate": 1, "max_epochs": 3},
    "final": {"lr": 3e-3, "max_epochs": 3},
}
STAGES = [  # of an arm
    ("l3masking", "main"),
    ("l3masking", "final"),
    ("tapt", "adapt"),
    ("mask_tuning", "main"),
    ("mask_tuning_two_rounds", "first round"),
    ("mask_tuning_two_rounds", "main"),
]


class Undisturbed(NamedTuple):
    """What trials do and leave that nobody kills."""

    forks: Forks

    made: Callable[[str, Path], Assignment]  # the trial of an arm in another folder
    moments: dict[str, list[Moment]]
    records: dict[str, dict[str, Any]]  # by arm


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    folder = tmp_path_factory.mktemp("undisturbed")
    space = write_study(folder, **SHORT, objectives=["accuracy"])
    options = ("resources.checkpoint_minutes=0", "resources.save_models=true", "resources.threads=1")
    found = {one.trial.method: one for one in assignments(space, folder / "out", *options)}

    def made(arm: str, root: Path) -> Assignment:
        return dataclasses.replace(found[arm], root=root)

    forks = Forks(trial, made("l3masking", folder / "warm"))
    moments = {arm: in_process(forks, made(arm, folder / arm), folder) for arm in found}
    made_records = {arm: next(iter(records(folder / arm).values())) for arm in found}
    assert all("resumed" not in record["run"] for record in made_records.values())
    yield Undisturbed(forks, made, moments, made_records)
    forks.end()


def points(found: list[Moment], stage: str) -> list[int]:
    """The numbers of KILLS moments of a stage, drawn: one of each kind at least, a half-done write first."""
    draw = random.Random(f"13 {stage}")
    numbers = [number for number, moment in enumerate(found) if moment.stage == stage]
    draw.shuffle(numbers)
    kinds = {found[number].what: number for number in reversed(numbers)}
    first = [kinds.pop("in a write"), *kinds.values()]
    return [*first, *(number for number in numbers if number not in first)][:KILLS]


def checked(undisturbed: Undisturbed, arm: str, root: Path, resumed: int) -> None:
    """The trial of `root` has the record and the weights of the undisturbed one."""
    (found,) = records(root).values()
    expected = undisturbed.records[arm]
    assert results(found) == results(expected)
    assert found["run"]["weights"] == expected["run"]["weights"]
    assert found["run"].get("resumed", 0) == resumed
    assert not list(root.glob("checkpoints/*"))
    with Store(root).lock():  # as the next run begins
        pass
    assert not list(root.glob("**/*.tmp"))


def kept(root: Path) -> bool:
    """Whether a killed trial has left a state to go on from."""
    return any(root.glob("checkpoints/*/*/[!.]*.json")) or any(root.glob("adapted/*/manifest.json"))


CASES = [
    # long: one of each stage shows, in turns, a kill in the middle of a write and one elsewhere
    pytest.param(arm, stage, number, id=f"{arm}-{stage}-{number}", marks=pytest.mark.long if number != at % 2 else ())
    for at, (arm, stage) in enumerate(STAGES)
    for number in range(KILLS)
]


@pytest.mark.parametrize(("arm", "stage", "number"), CASES)
def test_a_killed_trial_has_the_record_and_the_weights_of_one_that_is_not(
    undisturbed: Undisturbed, tmp_path: Path, arm: str, stage: str, number: int
) -> None:
    moment = points(undisturbed.moments[arm], stage)[number]
    one = undisturbed.made(arm, tmp_path / "out")
    in_process(undisturbed.forks, one, tmp_path, last=moment)
    assert not list(tmp_path.glob("out/records/[!.]*"))
    went_on = kept(tmp_path / "out")
    in_process(undisturbed.forks, one, tmp_path)
    checked(undisturbed, arm, tmp_path / "out", int(went_on))


def test_each_stage_is_killed_at_different_moments(undisturbed: Undisturbed) -> None:
    for arm, stage in STAGES:
        found = points(undisturbed.moments[arm], stage)
        assert len({*found}) == KILLS
        kinds = {undisturbed.moments[arm][number].what for number in found}
        assert kinds >= {"in a write", "after an update", "before a sync", "before the name of .json"}


# long: the first two damage one and both, in each way
CROSSED = [pytest.param(count, damage, marks=pytest.mark.long) for count, damage in ((1, "delete"), (2, "flip"))]


@pytest.mark.parametrize(("count", "damage"), [(1, "flip"), (2, "delete"), *CROSSED])
def test_a_killed_trial_passes_over_damaged_checkpoints(
    undisturbed: Undisturbed, tmp_path: Path, count: int, damage: str
) -> None:
    """Of the two that are kept, the newest or both. Without one, it starts from its beginning."""
    moments, root = undisturbed.moments["l3masking"], tmp_path / "out"
    one = undisturbed.made("l3masking", root)
    moment = max(n for n, moment in enumerate(moments) if moment == Moment("final", "after an update"))
    in_process(undisturbed.forks, one, tmp_path, last=moment)
    found = sorted(root.glob("checkpoints/*/*/[!.]*.safetensors"))
    assert len(found) == 2
    for path in found[-count:]:
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.unlink()
        if damage == "flip":
            path.write_bytes(content)
    in_process(undisturbed.forks, one, tmp_path)
    checked(undisturbed, "l3masking", root, resumed=2 - count)


def test_continuations_are_counted(undisturbed: Undisturbed, tmp_path: Path) -> None:
    one = undisturbed.made("tapt", tmp_path / "out")
    updates = [n for n, moment in enumerate(undisturbed.moments["tapt"]) if moment.what == "after an update"]
    for moment in (updates[4], 15, 30):  # each counted from where the trial goes on
        in_process(undisturbed.forks, one, tmp_path, last=moment)
    in_process(undisturbed.forks, one, tmp_path)
    checked(undisturbed, "tapt", tmp_path / "out", resumed=3)
