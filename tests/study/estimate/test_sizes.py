"""How large trainings are, from what is expected of data that nobody has read."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
from plans import KNOWN, space
from small_study import write_study

from l3masking.data.table import DATASETS, DataSpec
from l3masking.methods import METHODS
from l3masking.training.settings import AdaptConfig
from study.estimate.sizes import (
    CorpusSize,
    DataSize,
    basis_before,
    data_sizes,
    expected_size,
    passes,
    share_before,
    training_size,
)
from study.plan.grid import make_plan
from study.plan.inputs import identify_at_hand
from study.plan.trials import Identities
from study.space.reader import read_space
from study.space.spec import Generated
from study.toyworld.task import TaskConfig

SPACES = Path(__file__).parents[3] / "search_spaces"
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
    assert training_size(stl, units) == dataclasses.replace(
        training_size(rtm, units), tokens_per_epoch_at_most=100 * 128 * 128
    ), "and STL follows them"
    (matched,) = make_plan(space(seeds=1, methods=["stl_matched"]), KNOWN)
    assert training_size(matched, size).updates_at_most == 3 * 1950
    assert training_size(matched, size).evaluations_at_most == 65
    (capped,) = make_plan(space(seeds=1, methods=["stl"], train={"max_updates": 100}), KNOWN)
    assert (training_size(capped, size).updates_at_most, training_size(capped, size).evaluations_at_most) == (100, 4)


def corpora(**changes):
    """Arms that read corpora, of which one says how many units are read at most and one says nothing."""
    given = {"amazon": {"files": "amazon.txt", "most": 1000}, "yelp": {"files": "yelp.txt"}}
    adapt = {"corpus": "amazon", "batch": 8, "accumulate": 2, "epochs": 3, "dev_share": 0.3}
    variants = {"other": {"adapt.corpus": "yelp"}}
    return space(
        methods=["tapt", "dapt"],
        seeds=1,
        corpora=given,
        adapt=adapt | changes,
        variants=variants,
        objectives=["accuracy"],
    )


def test_corpora_are_as_long_as_was_counted_or_is_allowed() -> None:
    spec = corpora()
    expected = data_sizes(spec)["acl-arc"].corpora
    assert expected == {
        "amazon": CorpusSize(1000, "at most, as `most` says"),
        "yelp": CorpusSize(None, "of unknown length"),
    }
    known = Identities(corpora={"yelp": "abc"}, corpus_units={"yelp": 70})
    assert data_sizes(spec, known)["acl-arc"].corpora["yelp"] == CorpusSize(70, "counted")
    assert data_sizes(space())["acl-arc"].corpora == {}, "no arm reads one"
    family = data_sizes(read_space(SPACES / "family.yaml"))["toyworld"]
    assert family.corpora == {"domain": CorpusSize(2000, "as generated")}
    assert family.evaluations == {"shifted": TaskConfig().test}


def test_updates_before_the_main_stage_follow_from_epochs_and_texts() -> None:
    """Of 1000 units each third is held out (333); 667 texts hold 41 updates of 16, three times."""
    size = data_sizes(corpora())["acl-arc"]
    tapt, dapt, other = make_plan(corpora(), KNOWN)
    assert training_size(dapt, size).adapt_updates == 3 * (667 // 16) == 123
    assert training_size(tapt, size).adapt_updates == 3 * ((1688 - 1688 // 3) // 16)
    assert training_size(other, size).adapt_updates is None
    assert (
        basis_before(dapt, size)
        == "masked-LM training before it: 3 epochs of corpus amazon (1000 units, at most, as `most` says)"
    )
    assert basis_before(other, size) == "masked-LM training before it: 3 epochs of corpus yelp (of unknown length)"
    assert basis_before(tapt, size) == "masked-LM training before it: 3 epochs of the dataset's texts"
    assert share_before(dapt, size) == pytest.approx(123 * 16 / (1950 * 128))
    _, few, other = make_plan(corpora(updates=50), KNOWN)
    assert training_size(few, size).adapt_updates == training_size(other, size).adapt_updates == 50
    assert basis_before(few, size) == "masked-LM training before it: 50 updates, as `adapt.updates` says"
    _, many, other = make_plan(corpora(updates=5000), KNOWN)
    assert training_size(many, size).adapt_updates == 123, "the epochs hold no more"
    assert training_size(other, size).adapt_updates == 5000, "at most"
    assert training_size(many, DataSize(corpora=size.corpora)).adapt_updates == 123, "however long the task's texts are"
    (stl,) = make_plan(space(seeds=1, methods=["stl"]), KNOWN)
    assert (training_size(stl, size).adapt_updates, basis_before(stl, size), share_before(stl, size)) == (0, "", None)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("texts", [1, 2, 9, 10, 11, 300])
def test_held_out_texts_are_those_that_training_leaves_out(share: float, texts: int) -> None:
    config = AdaptConfig(dev_share=share)
    every = round(1 / share) if share else texts + 1
    assert config.trained_on(texts) == sum(number % every != every - 1 for number in range(texts))


def test_the_sizes_of_evaluation_sets_are_expected_or_counted(tmp_path: Path) -> None:
    mnli = expected_size(DATASETS["mnli"])
    assert mnli.evaluations["hans"] == mnli.evaluation_texts == 30_000
    assert mnli.unknown_sets == ("mnli-mismatched", "anli-r1", "anli-r2", "anli-r3")
    files = {part: f"{part}.jsonl" for part in ("train", "validation", "test")}
    rows = {"train": 24, "validation": 12, "test": 12}
    sets = {"again": {"test": "test.jsonl"}}
    given = files | {"rows": rows, "expected": {"classes": 3}, "evaluation_sets": sets}
    spec = read_space(write_study(tmp_path, datasets={"words": given}))
    assert data_sizes(spec)["words"].evaluations == {"again": None}
    identities = identify_at_hand(spec)
    assert data_sizes(spec, identities)["words"].evaluations == {"again": 12}
    assert data_sizes(spec, identities, load=False)["words"].evaluations == {"again": None}


def test_passes() -> None:
    assert {name: passes(arm) for name, arm in METHODS.items()} == {
        "stl": 1,
        "stl_matched": 3,
        "rtm": 3,
        "l3masking": 3,
        "mtl_static": 2,
        "rtm_static": 2,
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
    assert passes(METHODS["rtm"], 0.5) == 3.5
    assert passes(METHODS["dapt"], 40) == 41, "as many texts before as the main stage reads forty times"
