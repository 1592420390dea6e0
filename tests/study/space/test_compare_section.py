"""What `compare` may say in a space file: the default, declared rows, and one line for everything that is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.plan.trials import Identities
from study.results.comparison import Arm, Question
from study.results.families import DeclaredFamily, declared
from study.space.compare_section import CompareConfig, Earlier
from study.space.reader import make_space
from study.space.spec import StudySpec

VARIANTS = {"wide": {"masking.mean": 0.3}, "same": {"masking.mean": 0.15}}
SEARCH = {"parameters": {"masking.mean": {"choice": [0.1, 0.2]}}}


def space(compare: object = None, sets: list[str] | None = None, **given) -> StudySpec:
    given = {"pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}], **given}
    given |= {} if compare is None else {"compare": compare}
    return make_space(given, source="test.yaml", folder=Path("/nowhere"), sets=sets or [])


def refusal(compare: object, **given) -> str:
    with pytest.raises(InputError) as refused:
        space(compare, **given)
    return str(refused.value)


def test_the_default_is_the_papers_questions_on_the_first_objective():
    assert space().compare == CompareConfig(
        questions=(("l3masking", "rtm"), ("l3masking", "stl"), ("rtm", "stl")), objectives=("accuracy",)
    )
    few = space(methods=["stl", "rtm", "tapt"], objectives=["macro_f1", "accuracy"]).compare
    assert few == CompareConfig(questions=(("rtm", "stl"),), objectives=("macro_f1",))
    assert space(methods=["tapt"]).compare.questions == ()
    assert space({}).compare == space().compare


def test_a_resolved_study_is_read_again():
    spec = space({"questions": [["l3masking@wide", "rtm @ wide"]], "objectives": ["macro_f1"]}, variants=VARIANTS)
    assert spec.compare.questions == (("l3masking @ wide", "rtm @ wide"),)
    assert make_space(spec.resolved(), source="again", folder=Path("/nowhere")) == spec
    assert declared(spec.compare) == DeclaredFamily(
        (Question(Arm("l3masking", "wide"), Arm("rtm", "wide")),), ("macro_f1",)
    )


def test_no_question_declares_that_nothing_is_confirmatory():
    assert space({"questions": []}).compare == CompareConfig(questions=(), objectives=("accuracy",))
    assert space(sets=["compare.objectives=[]"]).compare.objectives == ()


def test_it_is_no_part_of_any_key():
    known = Identities(encoders={"bert-base": "a"}, datasets={"acl-arc": "b"})
    plans = [make_plan(spec, known) for spec in (space(), space({"questions": [["rtm", "stl"]]}))]
    assert [trial.keys for trial in plans[0]] == [trial.keys for trial in plans[1]]


def test_what_a_search_finds_is_a_row():
    spec = space({"questions": [["l3masking @ best", "rtm @ best"]]}, search=SEARCH)
    assert spec.compare.questions == (("l3masking @ best", "rtm @ best"),)
    assert '"stl @ best" is no row of this study' in refusal({"questions": [["stl @ best", "rtm"]]}, search=SEARCH)


@pytest.mark.parametrize(
    ("compare", "said"),
    [
        ([1], "compare: [1] is not allowed; expected keys and values, such as questions: [[l3masking, rtm], ["),
        ({"question": []}, "compare.question: unknown key (its value: []); nearest: questions"),
        ({"questions": "rtm"}, 'compare.questions: "rtm" is not allowed; expected a list'),
        ({"questions": [["rtm"]]}, 'compare.questions[0]: ["rtm"] is not allowed; expected two rows'),
        ({"questions": [["rtm", 3]]}, "compare.questions[0]: "),
        ({"questions": [["l3maskin", "rtm"]]}, 'questions[0]: "l3maskin" is no row of this study; nearest: l3masking'),
        ({"questions": [["rtm", "stl"], ["rtm", "rtm"]]}, "compare.questions[1]: rtm is on both sides"),
        ({"questions": [["rtm", "stl"], ["stl", "rtm"]]}, "questions[1]: stl and rtm are there already; keep one"),
        ({"questions": [["l3masking @ wid", "rtm"]]}, "nearest: l3masking @ wide"),
        ({"questions": [["stl @ wide", "rtm"]]}, '"stl @ wide" is no row of this study'),  # it reads no masks
        ({"questions": [["rtm @ same", "rtm"]]}, '"rtm @ same" is no row of this study'),  # equal to the plain row
        ({"objectives": ["macrof1"]}, 'compare.objectives[0]: "macrof1" is no objective of this study; nearest'),
        ({"objectives": ["accuracy", "accuracy"]}, "compare.objectives[1]: accuracy is there already; keep one"),
        ({"objectives": "accuracy"}, "compare.objectives"),
    ],
)
def test_what_is_wrong_is_one_line(compare: object, said: str):
    text = refusal(compare, variants=VARIANTS)
    assert said in text
    assert text.startswith("test.yaml: compare")
    assert "\n" not in text


def test_where_something_else_is_wrong_no_row_is_blamed():
    text = refusal({"questions": [["l3masking @ best", "rtm"]]}, search={"parameters": {}}, final={"lr": "much"})
    assert "compare" not in text
    assert "final.lr" in text


def test_what_was_declared_earlier_is_kept():
    earlier = {"questions": [["rtm", "stl"]], "objectives": ["accuracy"], "pairs": ["a / b"], "records": 3}
    assert space({"earlier": [earlier]}).compare.earlier == (
        Earlier(questions=(("rtm", "stl"),), objectives=("accuracy",), pairs=("a / b",), records=3),
    )
