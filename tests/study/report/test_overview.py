"""The top of the page and the answers to the paper's questions say what the comparisons allow, and no more."""

from __future__ import annotations

import dataclasses

import pytest
from compared_cells import better, seeded
from result_cells import cell

from study.report.overview import MOST_LINES, NO_PROFILE, UNDECLARED, answers, summary
from study.report.sections import Pairs
from study.results.compare import compare
from study.results.comparison import Arm, Comparison, Question
from study.results.effort_pairs import Effort, compare_effort
from study.results.families import DeclaredFamily
from study.results.paper_questions import paper_questions

TEN = [0.70, 0.72, 0.71, 0.69, 0.73, 0.70, 0.74, 0.72, 0.71, 0.70]
UP = [0.021, 0.019, 0.024, 0.017, 0.022, 0.018, 0.023, 0.02, 0.025, 0.016]
MIXED = [0.01, -0.012, 0.008, -0.009, 0.011, -0.01, 0.009, -0.011, 0.012, -0.008]


def known(comparisons: list[Comparison]) -> list[Comparison]:
    """With the interval over seeds and texts equal to that over seeds."""
    return [dataclasses.replace(entry, joint_low=entry.ci_low, joint_high=entry.ci_high) for entry in comparisons]


def rows(name: str, comparisons=(), effort=(), profile=()) -> list[tuple[str, str]]:
    """What the section says on one question."""
    parts = answers(list(comparisons), list(effort), profile).parts
    return next(list(part.rows) for part in parts if isinstance(part, Pairs) and part.title.startswith(name))


def test_the_claims_come_from_the_printed_table():
    claims = {question.name: question.claim for question in paper_questions()}
    assert "higher mean in 14 of 16" in claims["Q1"]
    assert "higher mean in 12 of 16" in claims["Q2"]
    assert list(claims) == ["Q1", "Q2", "Q3", "Q4"]


@pytest.mark.parametrize(
    ("steps", "answer"),
    [
        ([UP], "Yes, on bert / d0, by accuracy."),
        ([[-u for u in UP]], "No, it is worse on bert / d0, by accuracy."),
        ([MIXED], "Undecided."),
        ([UP, UP], "Yes, on all 2 pairs of encoder and dataset."),
        ([[-u for u in UP]] * 2, "No, it is worse on all 2 pairs of encoder and dataset."),
        ([UP, MIXED], "In part: better on 1, undecided on 1 of 2 pairs of encoder and dataset."),
        (
            [[-u for u in UP], MIXED, MIXED],
            "No where it is decided: worse on 1, undecided on 2 of 3 pairs of encoder and dataset.",
        ),
        ([MIXED, MIXED], "Undecided."),
        (
            [[-u for u in UP], UP],
            "It depends on encoder and dataset: better on 1, worse on 1 of 2 pairs of encoder and dataset.",
        ),
    ],
)
def test_a_question_of_the_metric(steps: list[list[float]], answer: str):
    cells = [one for number, by in enumerate(steps) for one in better(by, TEN, dataset=f"d{number}")]
    said = rows("Q2", known(compare(cells)))
    assert said[0] == ("This study", answer)
    assert [name for name, _ in said[1:-1]] == [f"bert / d{number}, accuracy" for number in range(len(steps))]
    assert said[-1][0] == "Paper"


def test_a_question_is_answered_whichever_way_round_it_was_declared():
    cells = better(UP, TEN)
    (plain,) = compare(cells)
    family = DeclaredFamily((_turned(plain),), ("accuracy",))
    found = known(compare(cells, family=family))
    assert [entry.question for entry in found] == ["rtm vs l3masking"]
    assert rows("Q2", found)[0] == ("This study", "Yes, on bert / arc, by accuracy.")


def _turned(entry: Comparison):
    return Question(Arm(entry.first.method), Arm(entry.second.method)).turned


def test_what_is_exploratory_or_absent_is_undecided():
    found = known(compare(better(UP, TEN), family=DeclaredFamily((), ())))
    assert rows("Q2", found)[0] == ("This study", "Undecided: its comparisons are exploratory.")
    assert rows("Q1", found)[0] == ("This study", "Undecided: the study does not have both L3Masking and STL.")
    unknown = compare(better(UP, TEN))  # without the labels of the test texts
    assert rows("Q2", unknown)[0] == ("This study", "Undecided: better for its test set alone.")
    (worse,) = compare(better([-u for u in UP], TEN))
    assert rows("Q2", [worse])[0] == ("This study", "Undecided: worse for its test set alone.")


@pytest.mark.parametrize(
    ("made", "answer"),
    [
        ({"complete": 0}, "open until all planned comparisons are complete"),
        ({"p": None, "p_holm": None}, "untested (one seed, or nothing varies)"),
        ({"difference": None, "n": 0}, "without a shared seed"),
        ({"joint_low": -0.01}, "better for its test set alone"),
        ({"p_holm": 0.2}, "undecided"),
    ],
)
def test_every_other_verdict_is_undecided_and_says_why(made: dict, answer: str):
    (one,) = known(compare(better(UP, TEN)))
    other = dataclasses.replace(one, **made)
    said = "Undecided." if answer == "undecided" else f"Undecided: {answer}."
    assert rows("Q2", [other])[0] == ("This study", said)
    further = dataclasses.replace(other, dataset="other")
    two = "Undecided." if answer == "undecided" else f"Undecided: {answer} on 2 of 2 pairs of encoder and dataset."
    assert rows("Q2", [other, further])[0] == ("This study", two)
    goals = [other, dataclasses.replace(other, objective="macro_f1")]
    assert rows("Q2", goals)[0][1] == two.replace("2 pairs of encoder and dataset", "2 comparisons")
    (short, _) = summary([], [other, further])
    assert [(f"{answer} on 2 of 2 pairs of encoder and dataset." in item.text, item.strong) for item in short[1]] == [
        (True, False)
    ]


def test_rows_with_unequal_search_budgets_are_not_compared():
    (one,) = known(compare(better(UP, TEN)))
    other = dataclasses.replace(one, first=dataclasses.replace(one.first, settings_tried=20, search_seeds=3))
    assert rows("Q2", [other])[0] == ("This study", "Undecided: not comparable (search budgets differ).")


def test_the_tokens_and_what_their_choice_changes():
    assert rows("Q3")[:2] == [
        ("Tokens", NO_PROFILE),
        ("Effect", "Undecided: the study has no row L3 shuffled, which masks other tokens equally often."),
    ]
    cells = [*better(UP, TEN), seeded("l3_shuffled", TEN)]
    family = DeclaredFamily((_turned(compare([cells[1], cells[2]])[0]),), ("accuracy",))
    said = rows("Q3", known(compare(cells, family=family)), profile=["arc: FW, NNS most"])
    assert said[0] == ("Tokens", "arc: FW, NNS most")
    asked = "Better than L3 shuffled, which masks other tokens equally often?"
    assert said[1] == ("Effect", f"{asked} Yes, on bert / arc, by accuracy.")
    exploratory = rows("Q3", known(compare(cells)))
    assert exploratory[1] == ("Effect", f"{asked} Undecided: its comparisons are exploratory.")


FRESH = "exploratory; to confirm on fresh seeds"


@pytest.mark.parametrize(
    ("by", "answer"),
    [
        (-2.0, f"Fewer epochs on 1 of 1 comparison (epochs to the best value, {FRESH})."),
        (2.0, f"More epochs on 1 of 1 comparison (epochs to the best value, {FRESH})."),
        (0.0, "Undecided (epochs to the best value, exploratory)."),
    ],
)
def test_the_epochs(by: float, answer: str):
    cells = better(UP, TEN)
    took = [5.0 + seed / 10 for seed in range(10)]
    efforts = {
        one.key: {
            seed: Effort(took[seed] + shift * (1 + seed / 20), took[seed] + 9, 100.0, 60.0, "cpu") for seed in range(10)
        }
        for one, shift in zip(cells, (0.0, by), strict=True)
    }
    said = rows("Q4", effort=compare_effort(cells, efforts))
    assert said[0] == ("This study", answer)
    turned = rows("Q4", effort=compare_effort(cells, efforts, [Question(Arm("rtm"), Arm("l3masking"))]))
    assert turned == said, "whichever way round it was declared"
    waiting = [dataclasses.replace(one, wanted=11) for one in cells]
    unfinished = rows("Q4", effort=compare_effort(waiting, efforts))
    said_now = "Open until all planned comparisons are complete on 1 of 1 comparison"
    assert unfinished[0] == ("This study", f"{said_now} (epochs to the best value, exploratory).")
    assert said[1][0] == "bert / arc"
    assert rows("Q4")[0] == ("This study", "Undecided: the study does not have both L3Masking and RTM.")


def test_epochs_that_nobody_has_trained_are_not_called_absent():
    cells = [seeded("rtm", []), seeded("l3masking", [])]
    said = rows("Q4", effort=compare_effort(cells, {}))
    assert said[0] == ("This study", "Undecided: no seed has finished in both rows.")
    assert rows("Q4")[0][1].startswith("Undecided: the study does not have both")


def test_the_summary_names_every_confirmatory_question_and_no_other():
    cells = [seeded("stl", TEN), *better(UP, TEN), seeded("tapt", TEN)]
    (short, (_, cautions)) = summary(cells, known(compare(cells)), ["a caution"])
    assert short[0] == "In short"
    assert [item.strong for item in short[1]] == [True, True, False]
    assert short[1][0].text.startswith("bert / arc, accuracy: L3Masking is 2.05 points above RTM")
    assert not any("TAPT" in item.text for item in short[1])
    assert [item.text for item in cautions] == ["a caution"]


def test_the_summary_fits_a_screen():
    cells = [one for number in range(8) for one in better(UP if number % 2 else MIXED, TEN, dataset=f"d{number}")]
    ((_, short), (_, cautions)) = summary(cells, known(compare(cells)), [f"caution {number}" for number in range(9)])
    (item,) = short
    assert item.text == (
        "L3Masking against RTM, accuracy (confirmatory): better on 4, undecided on 4 of 8 pairs of encoder and dataset."
    )
    assert item.strong
    assert len(cautions) == MOST_LINES
    assert cautions[-1].text == "4 further lines stand below."
    assert summary([cell("tapt", 0.7)], [])[0] == ("In short", [(UNDECLARED, False)])
