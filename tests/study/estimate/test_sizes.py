"""How large trainings are, from what is expected of data that nobody has read."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from plans import KNOWN, space
from small_study import write_study

from l3masking.data.table import DATASETS, DataSpec
from l3masking.methods import METHODS
from study.estimate.sizes import DataSize, data_sizes, expected_size, passes, training_size
from study.plan.grid import make_plan
from study.plan.inputs import identify_at_hand
from study.plan.trials import Identities
from study.space.reader import read_space
from study.space.spec import Generated
from study.toyworld.task import TaskConfig

KNOWN_SIZES = {  # train, validation, test, classes
    "acl-arc": (1688, 114, 139, 6),
    "ohsumed": (2687, 335, 4043, 23),
    "imdb": (25_000, 2_500, 22_500, 2),
    "sst2": (67_349 - 872, 872, 872, 2),
    "mnli": (392_702 - 9_815, 9_815, 9_815, 3),
    "qqp": (363_846 - 40_430, 40_430, 40_430, 2),
    "mr": (8_530, 1_066, 1_066, 2),
    "semeval14-restaurants": (3_608 - 361, 361, 1_120, 3),
}


@pytest.mark.parametrize("name", DATASETS)
def test_the_known_datasets_need_no_network(name: str) -> None:
    size = expected_size(DATASETS[name])
    assert (size.train, size.validation, size.test, size.classes) == KNOWN_SIZES[name]
    assert size.mlm == size.train
    assert size.texts == sum(KNOWN_SIZES[name][:3])
    assert not size.counted


def test_the_generated_world_is_as_large_as_its_recipe_says() -> None:
    size, task = expected_size(Generated(generated="toyworld")), TaskConfig()
    assert (size.train, size.validation, size.test, size.classes) == (task.train, task.validation, task.test, 4)


def test_what_a_space_file_says_of_its_data_counts() -> None:
    whole = {"train": "a.jsonl", "validation": "b.jsonl", "test": "c.jsonl"}
    given = expected_size(DataSpec(**whole, rows={"train": 7, "validation": 5, "test": 3}))
    assert (given.train, given.validation, given.test, given.mlm) == (7, 5, 3, 7)
    cut = expected_size(DataSpec(train="a.jsonl", validation_rows=10, rows={"train": 100}))
    assert (cut.train, cut.validation, cut.test) == (None, 10, None), "a part of train goes to test"
    assert cut.texts is None
    dropped = expected_size(DataSpec(**whole, rows={"train": 7}, overlap="drop_from_train"))
    assert dropped.train is None, "nobody knows how many are dropped"
    assert expected_size(DataSpec(**whole, rows={"train": 7}, mlm="units.txt")).mlm is None


def test_data_at_hand_are_counted_where_not_all_is_expected(tmp_path: Path) -> None:
    spec = read_space(write_study(tmp_path))
    assert data_sizes(spec)["words"] == DataSize()
    counted = data_sizes(spec, identify_at_hand(spec))["words"]
    assert counted == DataSize(train=24, validation=12, test=12, mlm=24, classes=3, counted=True)
    assert data_sizes(spec, Identities())["words"] == DataSize(), "not available: not looked for"


def test_updates_and_evaluations() -> None:
    """13 updates of 128 texts an epoch on ACL-ARC; 150 epochs; a look every 30 updates, and one at the end."""
    stl, rtm, _ = make_plan(space(seeds=1), KNOWN)
    size = expected_size(DATASETS["acl-arc"])
    assert training_size(stl, size).updates_per_epoch == 1688 // 128 == 13
    assert training_size(stl, size).updates_at_most == 1950
    assert training_size(stl, size).evaluations_at_most == 65
    assert training_size(stl, size).tokens_per_epoch_at_most == 13 * 128 * 128
    assert training_size(rtm, size).tokens_per_epoch_at_most == 2 * 13 * 128 * 128, "the masked texts come on top"
    (odd,) = make_plan(space(seeds=1, methods=["stl"], evaluate={"every": 16}), KNOWN)
    looks = [update for update in range(1, 1951) if update % 16 == 0 or update == 1950]
    assert training_size(odd, size).evaluations_at_most == len(looks) == math.ceil(1950 / 16)
    (epochs,) = make_plan(space(seeds=1, methods=["stl"], evaluate={"every": 2, "unit": "epochs"}), KNOWN)
    assert training_size(epochs, size).evaluations_at_most == 75
    nothing = training_size(stl, DataSize())
    assert (nothing.updates_per_epoch, nothing.evaluations_at_most) == (None, None)
    units = DataSize(train=1000, validation=1, test=1, mlm=12_800)
    assert training_size(rtm, units).updates_per_epoch == 100, "the masked texts drive the loop"
    assert training_size(stl, units).updates_per_epoch == 7


def test_passes() -> None:
    assert {name: passes(arm) for name, arm in METHODS.items()} == {
        "stl": 1,
        "rtm": 3,
        "l3masking": 3,
        "mtl_static": 2,
        "l3_shuffled": 3,
        "tapt": 2,
        "tapt_l3": 2,
        "dapt": 2,
        "selective": 2,
        "selective_random": 2,
        "mtl_selective": 3,
        "mask_tuning": 2,
        "mask_tuning_l3": 2,
        "mask_tuning_no_mlm": 2,
        "mask_tuning_two_rounds": 2,
    }
