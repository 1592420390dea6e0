"""Grids, variants, what is left of them, and filters. Their keys: test_keys.py."""

from __future__ import annotations

import dataclasses
import json
import pickle
import time
from pathlib import Path

import old_keys
import pytest
from registered import KNOWN

from l3masking.errors import InputError
from l3masking.methods import METHODS
from l3masking.metrics import METRICS
from study.plan.grid import left, make_plan, narrow, of_plan
from study.plan.trials import Identities, Trial
from study.space.reader import StudySpec, make_space
from study.space.relevant import LATER, without_later
from study.space.spec import SECTIONS

EARLIER = json.loads(old_keys.FILE.read_text())


def space(**given) -> StudySpec:
    given = {"name": "test", "pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}], "seeds": 1, **given}
    return make_space(given, source="test.yaml", folder=Path("/nowhere"))


PAPER_PAIRS = [
    *({"encoder": e, "dataset": d} for e in ("bert-base", "roberta-base") for d in ("acl-arc", "ohsumed", "imdb")),
    {"encoder": "scibert", "dataset": "acl-arc"},
    {"encoder": "clinicalbert", "dataset": "ohsumed"},
]


def test_the_papers_grid():
    trials = make_plan(space(pairs=PAPER_PAIRS, seeds=10), KNOWN)
    assert len(trials) == 240
    assert len({trial.trajectory for trial in trials}) == 240
    assert len({key for trial in trials for key in trial.keys.values()}) == 480
    assert len({trial.cell for trial in trials}) == 24
    assert {trial.mask_mean for trial in trials if trial.method == "stl"} == {None}
    assert {trial.mask_mean for trial in trials if trial.method != "stl"} == {0.15}
    assert [trial.seed for trial in trials] == sorted(trial.seed for trial in trials), "all of seed 0 first"


def test_a_trial_holds_only_the_settings_that_count_for_it():
    stl, rtm, l3 = make_plan(space(masking={"mean": 0.4}), KNOWN)
    others = {"adapt", "selective", "mask_tuning"}  # of other arms
    assert set(stl.settings) == {*SECTIONS, "precision"} - {"masking", "meta"} - others
    assert stl.settings["scoring"] == {"max_length": 128, "whitespace": "collapse"}
    assert rtm.settings["masking"] == {"mean": 0.4, "selection": "bernoulli", "mask_share": 0.8, "random_share": 0.1}
    assert rtm.settings["scoring"] == stl.settings["scoring"]
    every = without_later(space(masking={"mean": 0.4}).settings())
    assert l3.settings == {name: value for name, value in every.items() if name not in others}
    assert (stl.revision, stl.data_hash) == ("bert-base-commit", "acl-arc-hash")
    assert pickle.loads(pickle.dumps(l3)) == l3
    json.dumps(l3.settings)


def test_settings_that_came_later_count_where_they_say_something():
    key = make_plan(space(methods=["stl"]), KNOWN)[0].trajectory
    assert LATER.keys() <= {f"{section}.{name}" for section in SECTIONS for name in space().settings()[section]}
    (same,) = make_plan(space(methods=["stl"], train={"max_updates": None}), KNOWN)
    (capped,) = make_plan(space(methods=["stl"], train={"max_updates": 9}), KNOWN)
    assert (same.trajectory, capped.trajectory != key) == (key, True)
    assert "max_updates" not in same.settings["train"]
    assert capped.settings["train"]["max_updates"] == 9


def test_arms_without_masked_lm_follow_the_number_of_masked_lm_texts_where_it_is_another():
    methods = ["stl", "rtm", "tapt", "mask_tuning", "stl_matched"]
    before = make_plan(space(methods=methods), KNOWN)
    after = make_plan(space(methods=methods), dataclasses.replace(KNOWN, mlm_units={"acl-arc": 5000, "imdb": 7}))
    moved = [old.method for old, new in zip(before, after, strict=True) if old.trajectory != new.trajectory]
    assert moved == ["stl", "tapt", "mask_tuning", "stl_matched"]


@pytest.mark.parametrize("name", old_keys.NAMES)
def test_the_shipped_spaces_keep_the_keys_of_earlier_versions(name):
    now = old_keys.old_keys(name)
    assert {method: now.get(method) for method in EARLIER[name]} == EARLIER[name]


def test_variants_are_further_rows_where_they_change_something():
    variants = {
        "surprisal": {"masking.weighting": "surprisal"},
        "more": {"masking.mean": 0.3},
        "same": {"masking.mean": 0.15},
        "again": {"masking.mean": 0.3},
        "slow": {"optim.lr": 1e-5},
    }
    trials = make_plan(space(variants=variants), KNOWN)
    assert [(t.method, t.variant, t.mask_mean) for t in trials] == [
        ("stl", None, None),
        ("stl", "slow", None),
        ("rtm", None, 0.15),
        ("rtm", "more", 0.3),
        ("rtm", "slow", 0.15),
        ("l3masking", None, 0.15),
        ("l3masking", "surprisal", 0.15),
        ("l3masking", "more", 0.3),
        ("l3masking", "slow", 0.15),
    ]
    assert len({t.trajectory for t in trials}) == len(trials)
    declared = {t.trajectory for t in make_plan(space(masking={"mean": 0.3}), KNOWN)}
    assert {t.trajectory for t in trials if t.variant == "more"} < declared, "the name of a variant is in no key"


def record_of(trial: Trial, objective: str, **more) -> dict:
    return {"key": trial.keys[objective], "trajectory": trial.trajectory, "variant": trial.variant, **more}


def test_what_is_left_is_the_plan_without_the_records():
    trials = make_plan(space(seeds=2), KNOWN)
    done = {*trials[0].keys.values(), trials[1].keys["accuracy"], "0" * 32}
    open_trials = left(trials, done)
    assert [t.trajectory for t in open_trials] == [t.trajectory for t in trials[1:]]
    assert open_trials[0].keys == {"macro_f1": trials[1].keys["macro_f1"]}
    assert open_trials[1:] == trials[2:]
    assert left(trials, {key for t in trials for key in t.keys.values()}) == []


def test_without_identities_nothing_is_done_and_all_is_counted():
    nothing = make_plan(space(pairs=PAPER_PAIRS), Identities())
    assert len({t.trajectory for t in nothing}) == 24
    assert {(t.revision, t.data_hash) for t in nothing} == {(None, None)}
    known = {t.trajectory for t in make_plan(space(pairs=PAPER_PAIRS), KNOWN)}
    assert not known & {t.trajectory for t in nothing}


def test_records_of_the_plan_carry_the_plans_variant():
    before = make_plan(space(variants={"more": {"masking.mean": 0.3}}, methods=["rtm"]), KNOWN)
    records = [record_of(trial, objective) for trial in before for objective in METRICS]
    after = make_plan(space(masking={"mean": 0.3}, methods=["rtm"]), KNOWN)
    assert [(r["key"], r["variant"]) for r in of_plan(records, after)] == [(k, None) for k in after[0].keys.values()]
    assert [r["variant"] for r in of_plan(records, before)] == [None, None, "more", "more"]


# Filters ------------------------------------------------------------------------------------------------------------


def test_filters():
    trials = make_plan(space(pairs=PAPER_PAIRS, seeds=3, variants={"more": {"masking.mean": 0.3}}), KNOWN)

    def count(*only: str, limit: int | None = None) -> int:
        return len(narrow(trials, only, limit))

    assert count() == len(trials) == 8 * 3 * 5
    assert count("encoder=bert-base") == 3 * 3 * 5
    assert count("encoder=bert-base,dataset=acl-arc") == count("encoder=bert-base", "dataset=acl-arc") == 3 * 5
    assert count("encoder=bert-base, encoder=scibert") == 4 * 3 * 5
    assert count("method=stl", "seed=0", "seed=2") == 8 * 2
    assert count("variant=more") == 8 * 3 * 2
    assert count("variant=plain") == 8 * 3 * 3
    assert count("encoder=scibert,dataset=imdb") == 0
    assert count(limit=7) == 7
    assert count("method=rtm", limit=1000) == 8 * 3 * 2
    assert narrow(trials, ["method=rtm"], 2) == [t for t in trials if t.method == "rtm"][:2]


@pytest.mark.parametrize(
    ("only", "words"),
    [
        ("encoder=bert-bse", ["no trial has this encoder", "nearest: bert-base"]),
        ("seed=9", ["no trial has this seed", "known: 0"]),
        ("encodr=bert-base", ["'encodr' is not known", "nearest: encoder"]),
        ("bert-base", ["expected name=value, such as method=stl", "names: encoder, dataset"]),
        ("method=stl,", ["expected name=value"]),
    ],
)
def test_wrong_filters(only, words):
    with pytest.raises(InputError) as error:
        narrow(make_plan(space(), KNOWN), [only])
    for word in words:
        assert word in str(error.value)


def test_a_limit_below_one_is_refused():
    with pytest.raises(InputError, match="--limit 0"):
        narrow(make_plan(space(), KNOWN), limit=0)


def test_ten_thousand_trials_are_planned_in_seconds():
    spec = space(pairs=PAPER_PAIRS, methods=list(METHODS)[:5], seeds=250)
    started = time.process_time()
    trials = make_plan(spec, KNOWN)
    assert len(trials) == 10_000
    assert len(left(trials, {trials[0].keys["accuracy"]})) == 10_000
    assert time.process_time() - started < 3
