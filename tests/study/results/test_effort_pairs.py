"""What trainings took, row against row: which are compared, the test, its adjustment, and what cannot be said."""

from __future__ import annotations

import dataclasses
import statistics

import pytest
import scipy.stats
from effort_records import PER_EPOCH, trained

from study.results.compare import Arm, Question
from study.results.effort_pairs import QUANTITIES, compare_effort, without_wall_time
from study.results.paired import holm, named_generator

RTM = [6.0, 7.0, 9.0, 5.0, 8.0, 6.5, 7.5, 9.5, 5.5, 8.5]
SOONER = [value - 1 - 0.1 * seed for seed, value in enumerate(RTM)]


def test_every_quantity_is_compared_for_every_question_and_wall_time_once() -> None:
    found = compare_effort(*trained(stl=RTM, rtm=RTM, l3masking=SOONER))
    told = [(one.question, one.objective, one.quantity) for one in found]
    counted = QUANTITIES[:3]
    assert told == [
        (question, objective, quantity)
        for question in ("l3masking vs rtm", "l3masking vs stl", "rtm vs stl")
        for objective in ("accuracy", "macro_f1")
        for quantity in (*counted, *(QUANTITIES[3:] if objective == "accuracy" else ()))
    ]
    assert {one.family for one in found if one.quantity == "seconds"} == {3}
    assert {one.family for one in without_wall_time(found)} == {6}


def test_a_row_that_always_stops_sooner_has_the_least_p() -> None:
    found = {one.quantity: one for one in compare_effort(*trained(rtm=RTM, l3masking=SOONER)) if one.p is not None}
    stop = found["epochs_to_stop"]
    differences = [-1 - 0.1 * seed for seed in range(10)]
    low, high = scipy.stats.t.interval(
        0.95, 9, statistics.mean(differences), statistics.stdev(differences) / len(differences) ** 0.5
    )
    assert (stop.n, stop.p, stop.floor) == (10, 2 / 2**10, 2 / 2**10)
    assert stop.difference == pytest.approx(-1.45)
    assert (stop.ci_low, stop.ci_high) == (pytest.approx(low), pytest.approx(high))
    assert found["epochs_to_best"].difference == pytest.approx(-1.45)
    assert found["updates"].difference == pytest.approx(-1.45 * PER_EPOCH, abs=0.5)
    assert found["seconds"].difference == pytest.approx(-2.9)
    assert (stop.first, stop.second) == (Arm("l3masking"), Arm("rtm"))
    assert stop.machines == ("cpu, threads: 1",)


def test_the_adjustment_is_holms_over_the_tests_of_a_quantity() -> None:
    found = compare_effort(*trained(stl=[5.0, 9.0, 4.0, 7.0, 6.0], rtm=RTM[:5], l3masking=SOONER[:5]))
    for quantity in QUANTITIES:
        mine = [one for one in found if one.quantity == quantity]
        assert [one.p_adjusted for one in mine] == holm([one.p for one in mine])


def test_the_family_is_what_is_planned_and_every_question_counts() -> None:
    """What has not finished counts as p = 1; what is asked beside changes no planned number and adds its own tests."""
    cells, efforts = trained(stl=RTM, rtm=RTM, l3masking=SOONER)
    one = {key: mine for key, mine in efforts.items() if key.method != "stl"}
    found = [entry for entry in compare_effort(cells, one) if entry.quantity == "updates"]
    assert {entry.family for entry in found} == {6}
    assert {entry.p_adjusted for entry in found if entry.p is not None} == {6 * 2 / 2**10}
    assert {(entry.complete, entry.finished) for entry in found} == {(6, True)}
    asked = [Question(Arm("rtm"), Arm("l3masking"))]
    (back, *_) = compare_effort(cells, efforts, asked)
    there = next(e for e in compare_effort(cells, efforts) if e.question == "l3masking vs rtm")
    assert (back.question, back.difference, back.ci_low) == ("rtm vs l3masking", -there.difference, -there.ci_high)
    assert (back.family, back.p_adjusted) == (there.family, there.p_adjusted)
    waiting = [dataclasses.replace(cell, wanted=11) for cell in cells]
    assert {entry.complete for entry in compare_effort(waiting, efforts)} == {0}


def test_equal_efforts_differ_nowhere_and_their_floor_is_one() -> None:
    cells, efforts = trained(rtm=RTM, l3masking=RTM)
    assert {(one.difference, one.p, one.floor) for one in compare_effort(cells, efforts)} == {(0, 1, 1)}
    tied = [RTM[0] - 1, *RTM[1:]]  # one pair differs: its sign alone can be flipped
    (one,) = {one.floor for one in without_wall_time(compare_effort(*trained(rtm=RTM, l3masking=tied)))}
    assert one == 1


def test_what_is_not_paired_says_nothing() -> None:
    (one, *_) = compare_effort(*trained(rtm=RTM, l3masking=SOONER[:1]))
    assert (one.n, one.difference, one.p, one.p_adjusted, one.family) == (1, -1, None, None, 2)
    cells, efforts = trained(rtm=RTM, l3masking=SOONER)
    (one, *_) = compare_effort(cells, {}, [Question(Arm("rtm"), Arm("l3masking"))])
    assert (one.n, one.difference, one.floor, one.machines) == (0, None, None, ())
    silent = {key: {s: e._replace(updates=None) for s, e in mine.items()} for key, mine in efforts.items()}
    assert {one.n for one in compare_effort(cells, silent) if one.quantity == "updates"} == {0}


def test_without_a_true_difference_few_tests_fall_below_the_level() -> None:
    """P(p <= .05) is at most .05; 400 draws: five standard deviations above it are .105."""
    generator, below = named_generator("effort without a difference"), 0
    for _ in range(400):
        one, other = ((5 + generator.exponential(3, 8)).tolist() for _ in range(2))
        found = compare_effort(*trained(rtm=one, l3masking=other))
        below += next(entry.p for entry in found if entry.quantity == "epochs_to_stop") <= 0.05
    assert below / 400 < 0.105
