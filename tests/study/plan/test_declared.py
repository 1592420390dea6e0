"""The confirmatory family as a registration: a change after the first record is kept and said."""

from __future__ import annotations

from pathlib import Path

import pytest
from registered import KNOWN

from study.plan.declared import earlier_in_words, redeclared
from study.plan.resolved import Resolved, planned, write_resolved
from study.space.reader import make_space
from study.space.spec import StudySpec

PAIR = {"encoder": "bert-base", "dataset": "acl-arc"}


def space(**given) -> StudySpec:
    return make_space({"pairs": [PAIR], **given}, source="test.yaml", folder=Path("/nowhere"))


def before(spec: StudySpec) -> Resolved:
    return Resolved(spec, KNOWN)


def test_a_change_after_the_first_record_is_kept(tmp_path: Path):
    old, new = space(), space(compare={"questions": [["rtm", "stl"]]})
    changed = redeclared(new, before(old), lambda: 12)
    [earlier] = changed.compare.earlier
    assert (earlier.questions, earlier.objectives) == (old.compare.questions, ("accuracy",))
    assert (earlier.pairs, earlier.records) == (("bert-base / acl-arc",), 12)
    assert earlier_in_words(changed.compare) == [
        "The confirmatory family was changed when the study had 12 records. It was l3masking vs rtm, l3masking vs stl, "
        "rtm vs stl on accuracy, over 1 encoder and dataset pair. If that change followed from results, read the "
        "present one as exploratory."
    ]
    write_resolved(tmp_path, before(changed))
    assert planned(tmp_path).spec == changed
    again = redeclared(new, planned(tmp_path), lambda: pytest.fail("nothing has changed"))
    assert again.compare.earlier == changed.compare.earlier
    back = redeclared(old, planned(tmp_path), lambda: 1)
    assert [entry.records for entry in back.compare.earlier] == [12, 1]
    assert "1 record. It was rtm vs stl on accuracy" in earlier_in_words(back.compare)[1]


def test_a_margin_that_is_chosen_after_results_is_kept_too():
    changed = redeclared(space(compare={"margin": 0.02}), before(space()), lambda: 12)
    assert [entry.margin for entry in changed.compare.earlier] == [None]
    assert "over 1 encoder and dataset pair, without a margin. If" in earlier_in_words(changed.compare)[0]
    again = redeclared(space(compare={"margin": 0.015}), before(changed), lambda: 12)
    assert "pair, without a margin. If" in earlier_in_words(again.compare)[0]
    assert "pair, with a margin of 2 points. If" in earlier_in_words(again.compare)[1]


def test_before_the_first_record_a_declaration_is_free():
    new = space(compare={"questions": [["rtm", "stl"]]})
    assert redeclared(new, before(space()), lambda: 0) == new
    assert redeclared(new, None, lambda: 9) == new


def test_the_same_family_in_another_order_is_no_change():
    goals = {"objectives": ["accuracy", "macro_f1"]}
    old = space(compare={"questions": [["rtm", "stl"], ["l3masking", "rtm"]], **goals})
    new = space(compare={"questions": [["rtm", "l3masking"], ["rtm", "stl"]], "objectives": ["macro_f1", "accuracy"]})
    assert redeclared(new, before(old), lambda: pytest.fail("nothing has changed")) == new


@pytest.mark.parametrize(
    "more", [{"pairs": [PAIR, {"encoder": "scibert", "dataset": "acl-arc"}]}, {"methods": ["stl", "rtm"]}]
)
def test_other_pairs_and_other_arms_change_it(more: dict):
    assert len(redeclared(space(**more), before(space()), lambda: 5).compare.earlier) == 1


def test_more_seeds_do_not():
    assert redeclared(space(seeds=20), before(space()), lambda: 5).compare.earlier == ()
