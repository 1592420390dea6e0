"""A key names all that may change a result, and nothing else."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing
from pathlib import Path

import pytest

from l3masking.data.corpus import CorpusSpec
from l3masking.data.table import DATASETS
from l3masking.encoders.table import ENCODERS
from l3masking.methods import METHODS
from l3masking.training.presets import PRESETS
from study.plan.grid import make_plan
from study.plan.trials import Identities
from study.space.arms import ArmSpec, PolicyFile
from study.space.compare_section import CompareConfig
from study.space.reader import Pair, Resources, StudySpec, make_space
from study.space.report_section import ReportConfig
from study.space.search_section import Distribution, SearchConfig
from study.space.spec import SECTIONS

KNOWN = Identities(
    encoders={name: f"{name}-commit" for name in ENCODERS}, datasets={name: f"{name}-hash" for name in DATASETS}
)


def space(**given) -> StudySpec:
    given = {"name": "test", "pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}], "seeds": 1, **given}
    return make_space(given, source="test.yaml", folder=Path("/nowhere"))


def key_of(spec: StudySpec, method: str, identities: Identities = KNOWN) -> str:
    (trial,) = (t for t in make_plan(dataclasses.replace(spec, methods=(method,)), identities) if t.variant is None)
    return trial.trajectory


SPECIAL = {
    "masking.floor": 0.05,
    "masking.random_share": 0.05,
    "masking.mask_share": 0.5,
    "scoring.max_length": 64,
    "adapt.corpus": "other",
    "adapt.updates": 7,
    "train.max_updates": 7,
}
MUTABLE = [f"{name}.{field.name}" for name, cls in SECTIONS.items() for field in dataclasses.fields(cls)]


def section(name: str) -> set[str]:
    return {setting for setting in MUTABLE if setting.startswith(f"{name}.")}


SCORES_ONLY = {"scoring.metric", "scoring.word_source", "masking.weighting", "masking.redistribute", "masking.floor"}
SCORES_ONLY |= {"scoring.context"}
REWRITING = {"scoring.normalise"}
META, MASKING = section("meta"), section("masking")
FURTHER = section("adapt") | section("selective") | section("mask_tuning")  # sections that other arms read
ADAPTED = META | section("selective") | section("mask_tuning")
SELECTIVE = (
    META
    | section("mask_tuning")
    | {"scoring.metric", "scoring.context", "masking.mean", "masking.selection"}
    | REWRITING
    | {f"masking.{name}" for name in ("weighting", "redistribute", "floor")}
)
TUNED = SCORES_ONLY | REWRITING | MASKING | META | section("adapt") | section("selective")
CANNOT_MOVE = {  # the settings that a method does not read
    "l3masking": FURTHER,
    "l3_shuffled": FURTHER,
    "mtl_static": META | FURTHER,
    "rtm": SCORES_ONLY | FURTHER,
    "rtm_static": SCORES_ONLY | META | FURTHER,
    "stl": SCORES_ONLY | REWRITING | MASKING | META | FURTHER,
    "stl_matched": SCORES_ONLY | REWRITING | MASKING | META | FURTHER,
    "tapt": SCORES_ONLY | ADAPTED | {"adapt.corpus"},
    "tapt_l3": ADAPTED | {"adapt.corpus"},
    "dapt": SCORES_ONLY | ADAPTED,
    "selective": SELECTIVE,
    "selective_random": SELECTIVE,
    "mtl_selective": section("adapt")
    | section("mask_tuning")
    | {"scoring.metric", "scoring.context", "masking.weighting", "selective.max_rate"}
    | REWRITING,
    "mask_tuning": TUNED,
    "mask_tuning_l3": (TUNED - SCORES_ONLY) | {"masking.floor"},
    "mask_tuning_no_mlm": TUNED | {"mask_tuning.alpha"},
    "mask_tuning_two_rounds": TUNED | {"mask_tuning.alpha"},
}


def mutated(spec: StudySpec, dotted: str) -> StudySpec:
    section, name = dotted.split(".")
    config = getattr(spec, section)
    kind, value = typing.get_type_hints(type(config))[name], getattr(config, name)
    if dotted in SPECIAL:
        other = SPECIAL[dotted]
    elif typing.get_origin(kind) is typing.Literal:
        other = next(choice for choice in typing.get_args(kind) if choice != value)
    elif kind is bool:
        other = not value
    elif kind is int:
        other = value + 1
    elif kind is float:
        other = value / 2
    else:
        assert kind == tuple[float, float], f"{dotted}: say here how to change a {kind}"
        other = (value[0] / 2, value[1])
    assert other != value
    return dataclasses.replace(spec, **{section: dataclasses.replace(config, **{name: other})})


@pytest.mark.parametrize("method", METHODS)
def test_each_setting_moves_the_keys_of_the_methods_that_read_it(method):
    spec = space()
    plain = key_of(spec, method)
    keys = {name: key_of(mutated(spec, name), method) for name in MUTABLE}
    sampling = "shuffle" if METHODS[method].masks else "random"  # the other value is what auto stands for
    keys["train.sampling"] = key_of(space(train={"sampling": sampling}), method)
    keys["train.on_nonfinite"] = key_of(space(train={"on_nonfinite": "retry_float32"}, precision="bf16"), method)
    assert {name for name, key in keys.items() if key == plain} == CANNOT_MOVE[method]
    moved = [key for key in keys.values() if key != plain]
    assert len(set(moved)) == len(moved), "two settings, two keys"


def test_the_final_stage_has_no_settings_where_there_is_none():
    without = space(final={"enabled": False})
    for name in ("final.lr", "final.decay", "final.max_epochs", "final.patience"):
        assert key_of(mutated(without, name), "stl") == key_of(without, "stl")
    assert key_of(mutated(without, "final.enabled"), "stl") == key_of(space(), "stl")


def test_every_other_field_of_a_study_moves_the_keys_or_is_named_here():
    spec = space()
    moves = {"precision": "bf16"}
    cannot = {  # what is run changes, but not the result of a trial that is run; where things lie: their content counts
        "name": "other",
        "description": "other",
        "encoders": {**spec.encoders, "bert-base": dataclasses.replace(ENCODERS["bert-base"], revision="main")},
        "datasets": {**spec.datasets, "acl-arc": dataclasses.replace(DATASETS["acl-arc"], text="body")},
        "pairs": (*spec.pairs, Pair(encoder="scibert", dataset="imdb")),
        "methods": ("l3masking", "stl"),
        "objectives": ("accuracy",),
        "seeds": (0, 5),
        "preset": "paper",
        "variants": {"v": {"masking.mean": 0.3}},
        "arms": {"mine": ArmSpec(like="rtm")},
        "policies": {"own": PolicyFile(file="own.py", text="")},
        "corpora": {"more": CorpusSpec(files="more.txt")},
        "search": SearchConfig(parameters={"masking.mean": Distribution(choice=(0.1, 0.2))}),
        "compare": CompareConfig(questions=(("rtm", "stl"),)),
        "report": ReportConfig(epoch_unit="updates"),
        "resources": Resources(
            gpu=1,
            cpu=4,
            threads=2,
            workers=3,
            token_budget=99,
            cuda_graphs=False,
            executor="serial",
            save_models=True,
            keep_adapted=True,
            checkpoint_minutes=1.0,
            patience_minutes=1.0,
        ),
    }
    assert {*moves, *cannot, *SECTIONS} == {field.name for field in dataclasses.fields(StudySpec)}
    key = key_of(spec, "l3masking")
    for name, value in moves.items():
        assert key_of(dataclasses.replace(spec, **{name: value}), "l3masking") != key
    for name, value in cannot.items():
        other = dataclasses.replace(spec, **{name: value})
        assert key in {trial.trajectory for trial in make_plan(other, KNOWN)}, name
    fields = {field.name for field in dataclasses.fields(Resources)}
    assert all(getattr(cannot["resources"], name) != getattr(Resources(), name) for name in fields)


def test_identities_and_names_move_the_keys(monkeypatch):
    spec = space()
    keys = [key_of(spec, "l3masking")]
    keys.append(key_of(spec, "l3masking", dataclasses.replace(KNOWN, encoders={"bert-base": "other"})))
    keys.append(key_of(spec, "l3masking", dataclasses.replace(KNOWN, datasets={"acl-arc": "other"})))
    keys += [key_of(spec, method) for method in METHODS if method != "l3masking"]
    keys.append(make_plan(dataclasses.replace(spec, seeds=(1,), methods=("l3masking",)), KNOWN)[0].trajectory)
    monkeypatch.setattr("study.plan.trials.SCHEMA", 2)
    keys.append(key_of(spec, "l3masking"))
    assert len(set(keys)) == len(keys) == len(METHODS) + 4


def test_presets_move_the_keys_by_their_values_alone():
    written_out = space(**PRESETS["paper"])
    assert key_of(space(preset="paper"), "l3masking") == key_of(written_out, "l3masking")
    assert key_of(space(preset="paper"), "stl") != key_of(space(), "stl")


def test_an_objective_has_its_own_key_and_shares_the_trajectory():
    (trial,) = make_plan(space(methods=["stl"]), KNOWN)
    assert set(trial.keys) == {"accuracy", "macro_f1"}
    assert len({trial.trajectory, *trial.keys.values()}) == 3
    (alone,) = make_plan(space(methods=["stl"], objectives=["macro_f1"]), KNOWN)
    assert alone.trajectory == trial.trajectory
    assert alone.keys == {"macro_f1": trial.keys["macro_f1"]}
    assert alone.objectives == ("macro_f1",)


def test_the_order_of_a_file_changes_no_key():
    given = {
        "optim": {"lr": 1e-5, "clip": 2.0},
        "masking": {"mean": 0.2, "floor": 0.01},
        "methods": ["stl", "rtm", "l3masking"],
        "objectives": ["accuracy", "macro_f1"],
        "seeds": [0, 1],
    }
    reordered = {key: given[key] for key in reversed(given)}
    reordered["optim"] = {"clip": 2, "lr": 0.00001}
    reordered |= {"methods": ["l3masking", "rtm", "stl"], "objectives": ["macro_f1", "accuracy"], "seeds": [1, 0]}
    keys = [
        {(t.trajectory, *sorted(t.keys.values())) for t in make_plan(space(**g), KNOWN)} for g in (given, reordered)
    ]
    assert keys[0] == keys[1]
    assert len(keys[0]) == 6


def test_more_seeds_keep_the_keys_of_the_old():
    few, many = (make_plan(space(seeds=n), KNOWN) for n in (3, 5))
    assert [trial.trajectory for trial in many[: len(few)]] == [trial.trajectory for trial in few]
    assert len({trial.trajectory for trial in many}) == 15


PROGRAM = """
import json
from pathlib import Path
from study.plan.grid import make_plan
from study.plan.trials import Identities
from study.space.arms import ArmSpec, PolicyFile
from study.space.compare_section import CompareConfig
from study.space.reader import make_space
pairs = [{"encoder": "bert-base", "dataset": "acl-arc"}]
spec = make_space({"pairs": pairs, "seeds": 2}, source="x.yaml", folder=Path("/"))
plan = make_plan(spec, Identities(encoders={"bert-base": "a"}, datasets={"acl-arc": "b"}))
print(json.dumps([[t.trajectory, t.keys] for t in plan]))
"""


def test_keys_are_the_same_in_every_process():
    outputs = [
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "4242")
    ]
    assert outputs[0] == outputs[1]
    assert len(json.loads(outputs[0])) == 6
