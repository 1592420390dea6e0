"""What `search` may say in a space file, what is refused, and the searches that follow from it."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest
from registered import KNOWN
from searched import MEAN, space

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.searches import said_of, searches
from study.space.reader import make_space
from study.space.search_section import FIRST_SEED, Distribution, SearchConfig
from study.space.spec import plain


def refusal(search: object, **given) -> str:
    with pytest.raises(InputError) as refused:
        space(search, **given)
    return str(refused.value)


def test_defaults_follow_the_study():
    spec = space({"parameters": MEAN}, objectives=["macro_f1", "accuracy"])
    assert spec.search_objective == "macro_f1"
    assert spec.search_methods == ("rtm", "l3masking"), "those that mask"
    assert list(spec.search.seed_list) == [FIRST_SEED, FIRST_SEED + 1, FIRST_SEED + 2]
    assert not set(spec.search.seed_list) & set(spec.seeds)
    assert make_space(spec.resolved(), source="again", folder=Path("/nowhere")) == spec


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ([1], "search: [1] is not allowed"),
        ({}, "search.parameters: needs a value"),
        ({"parameters": []}, "search.parameters: [] is not allowed"),
        ({"parameters": {}}, "parameters is empty"),
        ({"parameters": {"masking.mean": [0.1, 0.2]}}, "masking.mean: [0.1, 0.2] is not allowed; expected {choice: ["),
        ({"parameters": {"masking.maen": {"choice": [0.1, 0.2]}}}, "nearest: masking.mean"),
        ({"parameters": {"masking.mean": {"uniform": [0.6, 0.05]}}}, "the smaller one first"),
        ({"parameters": {"masking.mean": {"uniform": [0.1, 1.5]}}}, "search.parameters.masking.mean"),
        ({"parameters": {"masking.mean": {"uniform": [0.1, 0.5], "choice": [0.1, 0.2]}}}, "one of uniform"),
        ({"parameters": {"masking.mean": {"loguniform": [0.0, 0.5]}}}, "both above 0"),
        ({"parameters": {"masking.mean": {"uniform": [0.1, 0.5], "step": 0.5}}}, "larger than the range"),
        ({"parameters": {"masking.mean": {"loguniform": [0.1, 0.5], "step": 0.1}}}, "takes none"),
        ({"parameters": {"masking.mean": {"choice": [0.1, 0.1]}}}, "none of them twice"),
        ({"parameters": {"train.batch": {"integer": [8, 32], "step": 1.5}}}, "whole for `integer`"),
        ({"parameters": {"masking.mean": {"unifrom": [0.1, 0.5]}}}, "nearest: uniform"),
        ({"parameters": {"precision": {"choice": ["float32", "bf16"]}}}, "by `variants` instead"),
        ({"parameters": {"scoring.max_length": {"integer": [64, 128]}}}, "give a `choice`"),
        ({"parameters": MEAN, "trials": 0}, "search.trials is 0"),
        ({"parameters": MEAN, "seeds": 0}, "search.seeds is 0"),
        ({"parameters": MEAN, "seeds": [1, 2]}, "search.seeds: [1, 2] is not allowed"),
        ({"parameters": MEAN, "screen": 0}, "search.screen is 0"),
        ({"parameters": MEAN, "sampler": "tpp"}, "nearest: tpe"),
        ({"parameters": {"masking.mean": {"uniform": [0.1, 0.5]}}, "sampler": "grid"}, "give masking.mean a `step`"),
        ({"parameters": {"masking.mean": {"uniform": [0.1, 0.5], "step": 1e-6}}, "sampler": "grid"}, "larger steps"),
        ({"parameters": MEAN, "methods": ["stl"]}, "stl reads none of masking.mean"),
        ({"parameters": MEAN, "methods": ["l3_shuffled"]}, "is no method of this study"),
        ({"parameters": MEAN, "objective": "f1"}, "is no objective of this study"),
        ({"parameters": MEAN, "trails": 3}, "nearest: trials"),
    ],
)
def test_what_is_wrong_costs_one_line(search: object, said: str) -> None:
    assert said in refusal(search)


def test_all_problems_are_told_at_once() -> None:
    lines = refusal({"parameters": {"masking.mean": {"uniform": [2, 1]}, "optim.lr": {"choice": [1]}}, "trials": 0})
    assert len(lines.splitlines()) == 3


def test_the_name_of_the_finding_is_taken() -> None:
    assert "variants.best" in refusal({"parameters": MEAN}, variants={"best": {"masking.mean": 0.3}})


def test_without_a_masking_method_the_methods_are_to_be_named() -> None:
    assert "no method of this study masks" in refusal(
        {"parameters": {"optim.lr": {"choice": [1e-5, 1e-4]}}}, methods=["stl"]
    )
    named = space({"parameters": {"optim.lr": {"choice": [1e-5, 1e-4]}}, "methods": ["stl"]}, methods=["stl"])
    assert named.search_methods == ("stl",)


def test_each_method_is_searched_over_the_parameters_that_it_reads() -> None:
    rate = {"optim.lr": {"loguniform": [1e-5, 1e-3]}}
    spec = space({"parameters": MEAN | rate, "methods": ["stl", "rtm"], "trials": 9})
    stl, rtm = searches(spec, KNOWN)
    assert (list(stl.config.parameters), stl.left_out) == (["optim.lr"], ("masking.mean",))
    assert (list(rtm.config.parameters), rtm.left_out) == (["masking.mean", "optim.lr"], ())
    assert (stl.config.settings, stl.config.seeds) == (rtm.config.settings, rtm.config.seeds) == (9, 3), "one budget"
    assert said_of([stl, rtm]) == ["search of stl: without masking.mean, which it does not read"]
    (alone,) = searches(space({"parameters": rate, "methods": ["stl"]}), KNOWN)
    assert alone.key == stl.key, "what it does not read steers nothing"
    finding = {"values": {"optim.lr": 2e-5}, "trials": 9}
    found = {(t.method, t.variant): t for t in make_plan(spec, KNOWN, {stl.key: finding})}
    assert found["stl", "best"].settings["optim"]["lr"] == 2e-5
    assert not found["stl", "best"].pending
    assert found["rtm", "best"].pending


def test_a_setting_that_is_no_part_of_a_key_at_its_default_can_be_searched() -> None:
    parameters = {"train.max_updates": {"choice": [5, 7]}, "train.max_epochs": {"integer": [2, 9]}}
    (stl,) = searches(space({"parameters": parameters, "methods": ["stl"]}), KNOWN)
    assert stl.left_out == ()
    settings = stl.with_values({"train.max_updates": 5, "train.max_epochs": 3})["train"]
    assert (settings["max_updates"], settings["max_epochs"]) == (5, 3)
    assert "max_updates" not in stl.with_values({})["train"]


def test_a_method_that_reads_no_parameter_is_to_be_left_out() -> None:
    weighting = {"masking.weighting": {"choice": ["complement", "surprisal"]}}
    assert "search: rtm reads none of masking.weighting; name the `methods` to search" in refusal(
        {"parameters": weighting}
    )
    assert space({"parameters": weighting, "methods": ["l3masking"]}).search_methods == ("l3masking",)


def test_values_of_steps_are_the_decimal_numbers_that_are_meant() -> None:
    values = Distribution(uniform=(0.05, 0.6), step=0.01).values()
    assert values == [round(0.05 + 0.01 * i, 2) for i in range(56)]
    assert values[10] == 0.15, "so that it can equal the declared mean"
    assert Distribution(uniform=(0.05, 0.6), step=0.01).clean(0.15000000000000002) == 0.15
    assert Distribution(uniform=(0.1, 0.35), step=0.1).values() == [0.1, 0.2, 0.3]
    assert Distribution(integer=(2, 9), step=3).values() == [2, 5, 8]
    assert Distribution(uniform=(0.1, 0.5)).values() is None
    assert Distribution(loguniform=(1e-5, 1e-3)).values() is None


def test_points_are_every_combination() -> None:
    config = SearchConfig(
        parameters={"a": Distribution(choice=("x", "y")), "b": Distribution(integer=(1, 3))}, sampler="grid", trials=99
    )
    assert config.points() == [{"a": a, "b": b} for a, b in itertools.product("xy", (1, 2, 3))]
    assert config.settings == config.combinations == 6
    assert dataclasses.replace(config, trials=4).settings == 4
    assert SearchConfig(parameters={"a": Distribution(uniform=(0, 1))}).combinations is None


def test_pairs_may_take_other_resources() -> None:
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc"}, {"encoder": "bert-base", "dataset": "imdb", "gpu": 0.5}]
    spec = space(None, pairs=pairs, resources={"gpu": 0.25, "cpu": 2})
    assert (spec.resources_of("bert-base", "acl-arc").gpu, spec.resources_of("bert-base", "imdb").gpu) == (0.25, 0.5)
    measured = space(None, pairs=[pairs[0], {**pairs[1], "gpu": "auto"}], resources={"gpu": 0.25})
    assert measured.resources_of("bert-base", "imdb").gpu == "auto"
    assert spec.resources_of("bert-base", "imdb").cpu == 2
    assert "gpu" in refusal(None, pairs=[{"encoder": "bert-base", "dataset": "acl-arc", "gpu": 1.5}])
    same = [pairs[0], {**pairs[0], "gpu": 1}]
    assert "is there already" in refusal(None, pairs=same)


def test_a_search_for_each_pair_and_method_named_by_what_steers_it() -> None:
    pairs = [{"encoder": "bert-base", "dataset": d} for d in ("acl-arc", "imdb")]
    spec = space({"parameters": MEAN}, pairs=pairs)
    found = searches(spec, KNOWN)
    assert [(s.dataset, s.method) for s in found] == [(d, m) for d in ("acl-arc", "imdb") for m in ("rtm", "l3masking")]
    keys = [s.key for s in found]
    assert len(set(keys)) == 4

    def again(**changes) -> list[str]:
        config = dataclasses.replace(spec.search, **changes)
        return [s.key for s in searches(dataclasses.replace(spec, search=config), KNOWN)]

    assert again(trials=50) == keys, "more trials continue a search"
    for changes in ({"seeds": 4}, {"sampler": "gp"}, {"sampler_seed": 1}, {"screen": None}, {"objective": "macro_f1"}):
        assert not set(again(**changes)) & set(keys), changes
    declared = dataclasses.replace(spec, masking=dataclasses.replace(spec.masking, mean=0.4))
    assert [s.key for s in searches(declared, KNOWN)] == keys, "the declared value of a searched key steers nothing"
    other = dataclasses.replace(spec, optim=dataclasses.replace(spec.optim, lr=1e-5))
    assert not {s.key for s in searches(other, KNOWN)} & set(keys)


def test_trials_of_a_search_differ_from_those_of_the_grid_and_among_each_other() -> None:
    spec = space({"parameters": MEAN})
    rtm, l3 = searches(spec, KNOWN)
    trials = [
        s.trial(KNOWN, {"masking.mean": m}, seed) for s in (rtm, l3) for m in (0.1, 0.2) for seed in s.config.seed_list
    ]
    assert len({t.trajectory for t in trials} | {t.trajectory for t in make_plan(spec, KNOWN)}) == 12 + 10
    assert {t.objectives for t in trials} == {("accuracy",)}
    assert [t.mask_mean for t in trials[:6]] == [0.1] * 3 + [0.2] * 3


def test_a_finding_is_a_row_of_its_own_and_awaited_until_then() -> None:
    spec = space({"parameters": MEAN, "trials": 4})
    waiting = [t for t in make_plan(spec, KNOWN) if t.variant == "best"]
    assert [t.method for t in waiting] == ["rtm", "l3masking"] * 2
    assert all(t.pending and t.mask_mean is None for t in waiting)
    rtm, l3 = searches(spec, KNOWN)

    def found(trials: int) -> list:
        finding = {"values": {"masking.mean": 0.15}, "trials": trials}
        return make_plan(spec, KNOWN, {rtm.key: finding, l3.key: {**finding, "values": {"masking.mean": 0.3}}})

    assert [t.pending for t in found(3) if t.variant == "best"] == [True] * 4, "fewer settings than are asked for"
    rows = {(t.method, t.variant): t for t in found(4) if t.seed == 0}
    assert rows["l3masking", "best"].mask_mean == 0.3
    assert rows["l3masking", "best"].settings == {
        **rows["l3masking", None].settings,
        "masking": {**rows["l3masking", None].settings["masking"], "mean": 0.3},
    }
    assert rows["rtm", "best"].trajectory == rows["rtm", None].trajectory, "what is found may be what was declared"
    assert len(rows) == 5


def test_searched_scoring_is_scored_under_every_choice() -> None:
    parameters = {
        "scoring.metric": {"choice": ["original", "word_l2r"]},
        "scoring.max_length": {"choice": [64, 128]},
        **MEAN,
    }
    (search,) = searches(space({"parameters": parameters, "methods": ["l3masking"]}), KNOWN)
    values = search.artefact_values()
    assert len(values) == 4
    assert {plain(search.with_values(v)["scoring"])["metric"] for v in values} == {"original", "word_l2r"}
    assert searches(space({"parameters": MEAN, "methods": ["rtm"]}), KNOWN)[0].artefact_values() == [{}]
