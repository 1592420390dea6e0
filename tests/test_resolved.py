"""What a plan amounts to, and what has changed since the last one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from l3masking.errors import InputError
from study.plan import make_plan
from study.resolved import Resolved, changed, pinned, read_resolved, write_resolved
from study.space import StudySpec, make_space
from study.summary import describe, duration, estimate_seconds, summarize
from study.trials import Identities, Trial

KNOWN = Identities(encoders={"bert-base": "abc", "scibert": "def"}, datasets={"acl-arc": "123", "imdb": "456"})


def space(**given) -> StudySpec:
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc"}]
    given = {"name": "test", "pairs": pairs, "seeds": 2, **given}
    return make_space(given, source="test.yaml", folder=Path("/nowhere"))


def records_of(trial: Trial, seconds: float | None = None, objectives: tuple[str, ...] | None = None) -> list[dict]:
    run = {} if seconds is None else {"seconds": seconds}
    who = {"encoder": trial.encoder, "dataset": trial.dataset, "method": trial.method, "run": run}
    keys = {objective: key for objective, key in trial.keys.items() if objective in (objectives or trial.keys)}
    return [{**who, "key": key, "trajectory": trial.trajectory, "objective": o} for o, key in keys.items()]


def test_summary():
    spec = space(resources={"gpu": 0.5})
    trials = make_plan(spec, KNOWN)
    records = [*records_of(trials[0], 10), *records_of(trials[1], 20, ("accuracy",)), {"key": "0" * 32, "run": {}}]
    summary = summarize(spec, trials, records[:3])
    assert json.loads(json.dumps(summary.as_dict())) == {
        "name": "test",
        "cells": 3,
        "trajectories": 6,
        "records": 12,
        "done": 3,
        "left": 9,
        "search_trials": 0,
        "estimate_seconds": None,  # nothing is known of l3masking
        "resources": dataclasses.asdict(spec.resources),
        "unknown": [],
    }
    text = describe(summary, trials, {record["key"] for record in records})
    assert "3 cells, 6 trainings, 12 records" in text
    assert "done 3, left 9, estimated time unknown" in text
    assert "gpu 0.5" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["bert-base", "acl-arc", "stl", "-", "2", "2/4"] in rows
    assert ["bert-base", "acl-arc", "rtm", "0.15", "2", "1/4"] in rows
    assert ["bert-base", "acl-arc", "l3masking", "0.15", "2", "0/4"] in rows


def test_time_is_estimated_from_finished_trainings_of_the_same_kind():
    trials = make_plan(space(seeds=4, methods=["stl", "rtm"]), KNOWN)
    stl, rtm = ([t for t in trials if t.method == method] for method in ("stl", "rtm"))
    records = [*records_of(stl[0], 10), *records_of(stl[1], 30), *records_of(rtm[0], 100, ("accuracy",))]
    # two stl trainings at 20 s, three of rtm at 100 s, and the second objective of the first, which is trained again
    assert estimate_seconds([*stl[2:], *rtm], records) == pytest.approx(2 * 20 + 4 * 100)
    assert estimate_seconds([*stl[2:], *rtm], records, slots=4) == pytest.approx(110)
    assert estimate_seconds([], records) == 0
    assert estimate_seconds(rtm, records_of(stl[0], 10)) is None
    assert estimate_seconds(stl, records_of(stl[0])) is None


def test_what_is_not_at_hand_is_named():
    spec = space()
    trials = make_plan(spec, Identities(encoders=KNOWN.encoders))
    summary = summarize(spec, trials, [])
    assert (summary.records, summary.done, summary.left) == (12, 0, 12)
    assert summary.unknown == ("dataset acl-arc",)
    assert "not at hand, counted as left: dataset acl-arc" in describe(summary, trials, ())


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
def test_duration(seconds, text):
    assert duration(seconds) == text


def test_resolved_is_written_and_read(tmp_path):
    assert read_resolved(tmp_path) is None
    written = Resolved(space(preset="paper", variants={"v": {"masking.mean": 0.3}}), KNOWN)
    write_resolved(tmp_path, written)
    assert read_resolved(tmp_path) == written
    assert make_plan(*read_resolved(tmp_path)) == make_plan(*written)


@pytest.mark.parametrize("text", ["", "3", "name: [", "name: x\nidentities: 3", "name: x\noptim: {lrr: 1}"])
def test_a_resolved_file_that_cannot_be_read_is_named(tmp_path, text):
    (tmp_path / "resolved.yaml").write_text(text)
    with pytest.raises(InputError, match=r"resolved\.yaml"):
        read_resolved(tmp_path)


def test_nothing_has_changed_where_only_more_is_wanted():
    before = Resolved(space(), KNOWN)
    for more in (
        {"seeds": 5},
        {"methods": ["l3masking", "stl"]},
        {"objectives": ["macro_f1"]},
        {"resources": {"threads": 2}},
        {"description": "other"},
        {"variants": {"v": {"masking.mean": 0.3}}},
        {"pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}, {"encoder": "scibert", "dataset": "imdb"}]},
    ):
        assert changed(Resolved(space(**more), KNOWN), before) == ([], [])


def test_a_changed_setting_is_named_with_the_cells_it_moves():
    before = Resolved(space(variants={"v": {"masking.mean": 0.3}}), KNOWN)
    after = space(variants={"v": {"masking.mean": 0.4}}, masking={"weighting": "surprisal"})
    assert changed(Resolved(after, KNOWN), before) == (
        ["masking.weighting", "variants.v.masking.mean"],
        ["bert-base / acl-arc / rtm / v", "bert-base / acl-arc / l3masking", "bert-base / acl-arc / l3masking / v"],
    )
    keys, cells = changed(Resolved(space(preset="paper"), KNOWN), Resolved(space(), KNOWN))
    assert "final.enabled" in keys
    assert len(cells) == 3


def test_changed_data_move_every_cell_that_reads_them():
    other = dataclasses.replace(KNOWN, datasets={"acl-arc": "999"})
    changes = changed(Resolved(space(), other), Resolved(space(), KNOWN))
    assert changes.keys == ["identities.datasets.acl-arc"]
    assert len(changes.cells) == 3
    unknown = dataclasses.replace(KNOWN, datasets={})
    assert changed(Resolved(space(), unknown), Resolved(space(), KNOWN)) == ([], []), "not at hand is not changed"


def test_a_later_run_keeps_the_commits_of_the_first(tmp_path):
    """Also where the branch has moved since; a revision or Hub id that the file now names is followed."""
    first = Identities(encoders={"bert-base": "a" * 40}, datasets=KNOWN.datasets)
    write_resolved(tmp_path, Resolved(space(), first))
    before = read_resolved(tmp_path)
    held = pinned(space(), before)
    assert held.encoders["bert-base"].revision == "a" * 40
    write_resolved(tmp_path, Resolved(held, first))
    assert pinned(space(), read_resolved(tmp_path)) == held == pinned(held, read_resolved(tmp_path))
    named = space(encoders={"bert-base": {"hub": "google-bert/bert-base-uncased", "revision": "b" * 40}})
    other = space(encoders={"bert-base": {"hub": "owner/other"}})
    folder = space(encoders={"bert-base": {"path": "somewhere"}})
    for spec in (named, other, folder):
        assert pinned(spec, before) == spec
    assert pinned(space(), None) == space()
