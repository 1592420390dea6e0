"""What the seeds of a study can decide: its own deviations, its planned tests, and what few seeds leave open."""

from __future__ import annotations

import json
import statistics
from dataclasses import replace

import numpy as np
import pytest
from compared_cells import better, seeded
from plans import KNOWN, records_of, space
from scipy import stats

from l3masking.errors import InputError
from study.plan.grid import make_plan
from study.report.power_text import power_lines, power_text
from study.results.compare import family_of
from study.results.planned_power import (
    Aim,
    check_aim,
    given_power,
    planned_cells,
    planned_tests,
    std_interval,
    study_power,
)
from study.results.power import seeds_needed, smallest_effect
from study.store.briefs import all_brief

BY = [0.012, 0.02, -0.005, 0.017, 0.009, 0.014, 0.001, 0.022, 0.011, 0.006]  # L3Masking minus RTM by seed
THAN = [0.71, 0.70, 0.73, 0.69, 0.72, 0.70, 0.71, 0.69, 0.70, 0.72]


def test_a_row_is_about_the_deviation_of_its_own_pairs() -> None:
    found = study_power(better(BY, THAN), aim=Aim(tests=8))
    (row,) = found.rows
    std = statistics.stdev(BY)
    assert (row.question, row.pairs, row.seeds) == ("l3masking vs rtm", 10, 10)
    assert row.std == pytest.approx(std)
    assert row.smallest == pytest.approx(std * smallest_effect(10, alpha=0.05 / 8))  # type: ignore[operator]
    assert row.needed == seeds_needed(0.01 / std, alpha=0.05 / 8)
    assert found.alpha == 0.05 / 8
    assert json.loads(json.dumps(found.as_dict()))["rows"][0]["encoder"] == "bert"
    assert study_power(better(BY, THAN), aim=Aim(tests=8), seeds=15).rows[0].smallest < row.smallest  # type: ignore[operator]


def test_the_interval_of_a_deviation_covers() -> None:
    rows = np.random.default_rng(11).normal(0, 2, (4000, 5)).std(axis=1, ddof=1)
    covered = np.mean([low <= 2 <= high for low, high in (std_interval(float(s), 5) for s in rows)])
    assert covered == pytest.approx(0.95, abs=5 * np.sqrt(0.05 * 0.95 / 4000))
    assert std_interval(1.0, 10) == pytest.approx(
        (3 / stats.chi2.ppf(0.975, 9) ** 0.5, 3 / stats.chi2.ppf(0.025, 9) ** 0.5)
    )


def test_three_seeds_can_decide_nothing_and_the_text_says_how_many_could() -> None:
    cells = [replace(cell, wanted=3) for cell in better(BY[:3], THAN[:3])]
    found = study_power(cells, aim=Aim())
    assert (found.rows[0].smallest, found.least_seeds) == (None, 6)
    assert found.rows[0].needed is not None
    text = power_text(found, "mine")
    assert (
        "No study of n=3 can be decisive at level 0.05 with 1 planned test, however large the difference: n=6 is"
        in text
    )


@pytest.mark.parametrize("count", [0, 1])
def test_one_seed_or_none_says_what_can_be_said(count: int) -> None:
    found = study_power(better(BY[:count], THAN[:count]), aim=Aim())
    (row,) = found.rows
    assert (row.pairs, row.std, row.smallest, row.needed) == (count, None, None, None)
    text = power_text(found)
    assert "fewer than two seeds have finished in both rows" in text
    assert f"10 seeds decide a true difference of {smallest_effect(10, alpha=0.05):.2f} deviations." in text
    assert "no deviation is known yet" in "\n".join(power_lines(found))


def test_differences_that_do_not_vary_say_nothing() -> None:
    found = study_power(better([0.01] * 10, THAN), aim=Aim())
    assert (found.rows[0].std, found.rows[0].smallest, found.rows[0].needed) == (0.0, None, None)
    assert "further seeds may still differ" in power_text(found)


def test_the_planned_family_is_that_of_the_paper_on_the_first_objective() -> None:
    cells = [
        seeded(method, THAN, encoder=encoder, objective=objective)
        for encoder in ("bert", "scibert")
        for method in ("stl", "rtm", "l3masking", "mtl_static")
        for objective in ("accuracy", "macro_f1")
        if (encoder, method) != ("scibert", "stl")
    ]
    family = family_of(cells)
    assert [str(question) for question in family.questions] == ["l3masking vs rtm", "l3masking vs stl", "rtm vs stl"]
    assert family.objectives == ("accuracy",)
    assert planned_tests(cells, family) == 2 + 1 + 1
    assert planned_tests([], family_of([])) == 1


def test_a_plan_and_its_records_give_the_cells() -> None:
    spec = space(seeds=3, methods=["rtm", "l3masking"])
    trials = make_plan(spec, KNOWN)
    made = [entry | {"test": {"accuracy": 0.7, "macro_f1": 0.5}} for entry in records_of(trials[0])]
    cells = planned_cells(trials, all_brief(made))
    assert [(cell.method, cell.objective, cell.n, cell.wanted) for cell in cells] == [
        ("rtm", "accuracy", 1, 3),
        ("rtm", "macro_f1", 1, 3),
        ("l3masking", "accuracy", 0, 3),
        ("l3masking", "macro_f1", 0, 3),
    ]
    assert cells[0].values == {0: 0.7}
    assert planned_cells(trials, all_brief(records_of(trials[1])))[0].n == 0, "a record without a test value"


def test_a_given_deviation() -> None:
    found = given_power(0.008, aim=Aim(), seeds=10)
    assert found.rows[0].smallest == pytest.approx(0.008 * smallest_effect(10, alpha=0.05))  # type: ignore[operator]
    text = power_text(found)
    assert "With a deviation of 0.80 points, 10 seeds decide a true difference of 0.8" in text
    assert f"A true difference of 1.00 points needs {seeds_needed(1.25, alpha=0.05)} seeds." in text
    assert "n=6 is the fewest" in power_text(given_power(0.008, aim=Aim(), seeds=1))
    assert "needs more than 1000 seeds" in power_text(given_power(0.5, aim=Aim(), seeds=10))


def test_splits_of_each_seed_are_said_to_decide_less() -> None:
    cells = better(BY, THAN)
    found = study_power(cells, aim=Aim(), anew=["arc", "other"])
    assert [note.partition(":")[0] for note in found.notes] == ["arc"]
    assert power_text(found).endswith("differences must be larger, and seeds may not be enough.")
    assert power_lines(found)[-1].startswith("  arc: each seed has its own splits, which share texts.")
    assert study_power(cells, aim=Aim()).notes == ()


def test_the_block_of_a_plan_has_a_line_per_question() -> None:
    cells = [*better(BY, THAN), *better([2 * by for by in BY], THAN, encoder="scibert")]
    lines = power_lines(study_power(cells, aim=Aim(tests=2)))
    assert lines[0].startswith(
        "power: 80 % at level 0.05 over 2 planned tests, each at 0.025 in the worst case of Holm's"
    )
    (line,) = lines[1:]
    assert line.startswith("  l3masking vs rtm, accuracy: 10 seeds decide 0.")
    assert " points; 1.00 points need " in line


@pytest.mark.parametrize(
    ("aim", "said"),
    [
        (Aim(level=0.0), "--level 0"),
        (Aim(power=1.0), "--power 1"),
        (Aim(power=0.04), "--power 0.04"),
        (Aim(tests=0), "--tests 0"),
        (Aim(difference=1.5), "--difference 1.5"),
    ],
)
def test_a_wrong_aim_is_one_line(aim: Aim, said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        check_aim(aim)
    assert str(caught.value).count("\n") == 0
