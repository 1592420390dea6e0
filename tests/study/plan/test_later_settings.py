"""Settings that came after the first records: at their defaults they leave every key as it was."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from plans import KNOWN, space

from l3masking.encoders.table import EncoderSpec
from l3masking.methods import METHODS
from study.assign import Assigner
from study.plan.grid import make_plan
from study.plan.inputs import DataSource, EncoderSource
from study.plan.needs import adaptation_key, adaptation_of
from study.plan.resolved import Resolved, read_resolved, write_resolved
from study.plan.searches import searches
from study.plan.trials import Identities, Trial, keyed
from study.score import ScoreJob
from study.space.reader import read_space
from study.space.relevant import LATER, reads, relevant
from study.space.spec import SECTIONS, configs
from study.space.yaml import dump_yaml, read_yaml
from study.store.store import content_key

SUPPORT = Path(__file__).parents[2] / "support"
SPACES = Path(__file__).parents[3] / "search_spaces"
OTHER = {"scoring.normalise": "reference", "scoring.context": "full", "masking.random_exclude_special": False}
OTHER |= {"model.attend_padding": True, "train.max_updates": 10, "train.sampling": "random"}
OTHER |= {"train.on_nonfinite": "retry_float32"}


def nested(dotted: dict) -> dict:
    made: dict = {}
    for key, value in dotted.items():
        section, name = key.split(".")
        made.setdefault(section, {})[name] = value
    return made


def test_later_settings_are_listed_at_their_defaults() -> None:
    for key, value in LATER.items():
        section, name = key.split(".")
        (item,) = (one for one in dataclasses.fields(SECTIONS[section]) if one.name == name)
        assert item.default == value, key
    assert OTHER.keys() == LATER.keys()


def test_the_keys_of_records_of_2026_11_26_are_still_theirs() -> None:
    """Keys that an earlier version wrote, of STL, RTM and L3Masking, from the settings alone."""
    golden = [json.loads(line) for line in (SUPPORT / "golden_quickstart.jsonl").read_text().splitlines()]
    sets = ("train.max_epochs=6", "stop.patience=20", "meta.dev_mode=once", "model.forward=own")
    spec = read_space(SPACES / "quickstart.yaml", sets)
    made = set()
    for revision, data_hash in {(record["revision"], record["data_hash"]) for record in golden}:
        identities = Identities(encoders={"toyworld": revision}, datasets={"toyworld": data_hash})
        made |= {key for trial in make_plan(spec, identities) for key in trial.keys.values()}
    assert {record["key"] for record in golden} <= made


@pytest.mark.parametrize("method", METHODS)
def test_later_settings_stand_in_a_key_only_where_they_are_not_at_their_default(method: str) -> None:
    arm = METHODS[method]
    sampling = "shuffle" if arm.masks else "random"  # not what auto stands for
    plain, other = (
        space(adapt={"corpus": None}),
        space(**nested(OTHER | {"train.sampling": sampling}), precision="bf16"),
    )
    held, changed = relevant(plain.settings(), arm), relevant(other.settings(), arm)
    for key in LATER:
        section, name = key.split(".")
        assert name not in held.get(section, {})
        assert (name in changed.get(section, {})) == reads(plain.settings(), arm, key) == reads(held, arm, key)
    assert configs(held).scoring == plain.scoring, "what is left out is at its default"


def test_the_names_of_scores_and_adapted_weights_stay_too() -> None:
    encoder = EncoderSource(name="a", spec=EncoderSpec(path="a"), revision="r")
    data = DataSource(name="d", spec=space().datasets["acl-arc"], data_hash="h")
    job = ScoreJob(encoder=encoder, data=data, scoring=space().scoring, precision="float32")
    scoring = {"metric": "word_l2r", "max_length": 128, "word_source": "tokenizer", "whitespace": "collapse"}
    identity = {"schema": 1, "revision": "r", "data_hash": "h", "scoring": scoring, "precision": "float32"}
    assert job.key == content_key(identity)
    rewritten = dataclasses.replace(job, scoring=dataclasses.replace(job.scoring, normalise="reference"))
    assert rewritten.key == content_key(identity | {"scoring": scoring | {"normalise": "reference"}})
    tapt = METHODS["tapt"]
    plain, padded = space().settings(), space(model={"attend_padding": True}).settings()
    assert "attend_padding" not in adaptation_of(tapt, relevant(plain, tapt))["settings"]
    assert adaptation_of(tapt, relevant(padded, tapt))["settings"]["attend_padding"] is True


def test_the_classifier_behind_importance_is_always_fine_tuned_in_one_way() -> None:
    def jobs(**given: object) -> set[str]:
        spec = space(methods=["mtl_selective"], **given)
        assigner = Assigner(spec=spec, identities=KNOWN, root=Path("/nowhere"), commit=None)
        return {job.key for job in assigner.jobs(make_plan(spec, KNOWN)[0]).values()}

    assert jobs() == jobs(model={"attend_padding": True})
    assert jobs() == jobs(train={"sampling": "random"}) == jobs(train={"sampling": "shuffle"}), "nor its sampling"


def test_a_retry_in_float32_is_another_key_only_where_there_can_be_one() -> None:
    def keys(**given: object) -> list[str]:
        return [trial.trajectory for trial in make_plan(space(seeds=1, **given), KNOWN)]

    retry = {"train": {"on_nonfinite": "retry_float32"}}
    assert keys() == keys(**retry), "under float32 nothing is made again"
    assert not {*keys(precision="bf16")} & {*keys(precision="bf16", **retry)}
    assert keys(precision="bf16") == keys(precision="bf16", train={"on_nonfinite": "fail"})


def test_what_auto_stands_for_trains_nothing_anew() -> None:
    def keys(**train: object) -> dict[str, str]:
        spec = space(methods=["stl", "tapt", "mask_tuning", "rtm", "mtl_static", "mtl_selective"], seeds=1, train=train)
        return {trial.method: trial.trajectory for trial in make_plan(spec, KNOWN)}

    auto, random, shuffle = keys(), keys(sampling="random"), keys(sampling="shuffle")
    assert {name for name in auto if random[name] == auto[name]} == {"rtm", "mtl_static", "mtl_selective"}
    assert {name for name in auto if shuffle[name] == auto[name]} == {"stl", "tapt", "mask_tuning"}
    assert len({*auto.values(), *random.values(), *shuffle.values()}) == 2 * len(auto)
    assert space(preset="reference").train.sampling == "auto", "which is what the released code does"


def test_once_has_the_keys_that_train_had() -> None:
    def key(mode: str) -> str:
        return make_plan(space(methods=["rtm"], meta={"dev_mode": mode}), KNOWN)[0].trajectory

    assert len({key("once"), key("train"), key("eval")}) == 3
    trial = make_plan(space(methods=["rtm"], meta={"dev_mode": "once"}), KNOWN)[0]
    assert trial.settings["meta"]["dev_mode"] == "once", "a record tells what was computed"


def test_the_own_pass_has_the_keys_of_before() -> None:
    """Of trainings, of the classifier behind importance, and of what is adapted before."""
    methods = ["stl", "rtm", "tapt", "selective"]

    def trials(forward: str) -> list[Trial]:
        made = make_plan(space(methods=methods, seeds=1, model={"forward": forward}), KNOWN)
        assert {trial.settings["model"]["forward"] for trial in made} == {forward}, "a record tells what was computed"
        return made

    for fast, own in zip(trials("fast"), trials("own"), strict=True):
        assert fast.trajectory != own.trajectory
        assert "forward" not in keyed(own.settings)["model"]
        assert "forward" not in str(adaptation_of(own.arm, own.settings))
        assert bool(own.arm.adapts) == (adaptation_key(fast) != adaptation_key(own))


def test_a_study_that_was_resolved_before_is_read_as_once(tmp_path: Path) -> None:
    variants = {"v": {"meta.dev_mode": "train"}, "w": {"masking.mean": 0.3}}
    now = Resolved(space(meta={"dev_mode": "train"}, variants=variants), KNOWN)
    write_resolved(tmp_path, now)
    assert read_resolved(tmp_path) == now
    value, _ = read_yaml(tmp_path / "resolved.yaml")
    del value["model"]["attend_padding"], value["model"]["forward"]
    (tmp_path / "resolved.yaml").write_text(dump_yaml(value))
    before = read_resolved(tmp_path)
    assert before is not None
    assert (before.spec.meta.dev_mode, before.spec.model.forward) == ("once", "own")
    assert before.spec.variants == {"v": {"meta.dev_mode": "once"}, "w": {"masking.mean": 0.3}}


def test_a_search_reaches_settings_that_a_key_leaves_out() -> None:
    wanted = {"parameters": {"masking.random_exclude_special": {"choice": [True, False]}}, "methods": ["rtm"]}
    (search,) = searches(space(methods=["stl", "rtm"], search=wanted), KNOWN)
    assert search.settings["masking"].get("random_exclude_special") is None
    tried = search.with_values({"masking.random_exclude_special": False})
    assert tried["masking"]["random_exclude_special"] is False
    assert search.with_values({"masking.random_exclude_special": True}) == search.settings
