"""A plan with every default and identity written out, and what has changed since the last one."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, changed, pinned, read_resolved, write_resolved
from study.plan.trials import Identities
from study.space.reader import StudySpec, make_space

KNOWN = Identities(encoders={"bert-base": "abc", "scibert": "def"}, datasets={"acl-arc": "123", "imdb": "456"})


def space(**given) -> StudySpec:
    pairs = [{"encoder": "bert-base", "dataset": "acl-arc"}]
    given = {"name": "test", "pairs": pairs, "seeds": 2, **given}
    return make_space(given, source="test.yaml", folder=Path("/nowhere"))


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
    assert changed(Resolved(space(), unknown), Resolved(space(), KNOWN)) == ([], []), "not available is not changed"


def test_evaluation_sets_that_come_go_or_change_are_named_with_their_cells():
    with_sets = dataclasses.replace(KNOWN, evaluations={"acl-arc": {"a": "1", "b": "2"}})
    other = dataclasses.replace(KNOWN, evaluations={"acl-arc": {"b": "3", "c": "1"}})
    place = "datasets.acl-arc.evaluation_sets"
    for after, before, keys in (
        (with_sets, KNOWN, [f"{place}.a (new)", f"{place}.b (new)"]),
        (KNOWN, with_sets, [f"{place}.a (removed)", f"{place}.b (removed)"]),
        (other, with_sets, ["identities.evaluations.acl-arc.b", f"{place}.c (new)", f"{place}.a (removed)"]),
    ):
        found = changed(Resolved(space(), after), Resolved(space(), before))
        assert (found.keys, len(found.cells)) == (keys, 3)
    unknown = dataclasses.replace(KNOWN, datasets={})
    assert changed(Resolved(space(), unknown), Resolved(space(), with_sets)) == ([], [])
    turned = dataclasses.replace(KNOWN, evaluations={"acl-arc": {"b": "2", "a": "1"}})
    assert changed(Resolved(space(), turned), Resolved(space(), with_sets)) == ([], []), "their order says nothing"


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
