"""The parts of a verification by themselves: layouts, tables of another version, plans with code in them."""

# No `from __future__ import annotations` here: with it, Python cannot tell which fields are not required.

import json
from typing import Any, NotRequired, TypedDict

import numpy as np
import pytest

from study.store.packed import packed
from study.verify.record_checks import JudgedSet, TrueLabels, own_problem, value_problem
from study.verify.schema_checks import layout_problems
from study.verify.table_values import differ_by_rounding, first_difference, shared_difference


class Inner(TypedDict):
    """Part of Outer."""

    values: list[int]


class Outer(TypedDict):
    """A layout."""

    name: str
    share: float | None
    inner: dict[str, Inner]
    more: NotRequired[list[Inner]]


WHOLE: dict[str, Any] = {"name": "a", "share": 1, "inner": {"x": {"values": [1, 2]}}}


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({}, None),
        ({"share": None, "more": [{"values": []}]}, None),
        ({"name": 3}, "name is not a text"),
        ({"share": "0.5"}, "share is not a number"),
        ({"share": True}, "share is not a number"),
        ({"share": float("nan")}, "share is not a number"),
        ({"inner": []}, "inner is not an object"),
        ({"inner": {"x": {}}}, "lacks the field inner.x.values"),
        ({"inner": {"x": {"values": [1, 2.5]}}}, "inner.x.values holds something else than a whole number"),
        ({"inner": {"x": {"values": [True]}}}, "inner.x.values holds something else than a whole number"),
        ({"more": [{"values": 3}]}, "more[0].values is not a list"),
        ({"added": 1}, "has the field added, which this program does not know"),
    ],
)
def test_a_layout_is_held_to_its_type(change: dict[str, Any], problem: str | None) -> None:
    assert next(layout_problems(WHOLE | change, Outer), None) == problem


def test_a_file_that_is_no_object_has_no_layout() -> None:
    assert [*layout_problems([1], Outer)] == ["the file is not an object"]


@pytest.mark.parametrize(
    ("first", "second", "rounding"),
    [
        (b"a,0.25", b"a,0.2500000000001", True),
        (b"a,1e-05", b"a,1.0000000000001e-05", True),
        (b"a,0.25", b"a,0.2500001", False),
        (b"a,0.25", b"b,0.25", False),
        (b"a,0.25", b"a,0.25,0.1", False),
    ],
)
def test_rounding_is_told_from_a_change(first: bytes, second: bytes, rounding: bool) -> None:
    assert differ_by_rounding(first, second) is rounding


def test_the_first_difference_is_in_words() -> None:
    assert first_difference(b"a\nb 1\n", b"a\nb 2\n") == "line 2 has 'b 1', where they give 'b 2'"
    assert first_difference(b"a\n", b"a\nb\n") == "it has 1 lines, they give 2"


@pytest.mark.parametrize(
    ("found", "wanted", "problem"),
    [
        (b"method,mean\nstl,0.5\n", b"method,mean,new\nstl,0.5,1\n", None),
        (b"method,mean,verdict\nstl,0.5,even\n", b"method,mean,verdict\nstl,0.5,undecided\n", None),
        (b"method,mean\nstl,0.6\n", b"method,mean,new\nstl,0.5,1\n", "line 2, mean: '0.6', where they give '0.5'"),
        (b"method,mean\nrtm,0.5\n", b"method,mean,n\nstl,0.5,1\n", "line 2, method: 'rtm', where they give 'stl'"),
        (b"method,mean\nstl,0.5\n", b"method,mean\n", "it has 1 rows, they give 0"),
        (b"method,mean\nstl,\n", b"method,mean,n\nstl,0.5,1\n", "line 2, mean: '', where they give '0.5'"),
    ],
)
def test_a_table_of_another_version_is_compared_by_what_both_hold(
    found: bytes, wanted: bytes, problem: str | None
) -> None:
    assert shared_difference("csv", found, wanted) == problem


def test_the_same_for_json() -> None:
    wanted = {"cells": [{"method": "stl", "mean": 0.5, "remarks": ["one"], "new": 1}]}
    worded = {"cells": [{"method": "stl", "mean": 0.5, "remarks": ["one", "two"], "old": 1}]}
    changed = {"cells": [{"method": "stl", "mean": 0.6}]}
    texts = [json.dumps(value).encode() for value in (worded, changed, wanted)]
    assert shared_difference("json", texts[0], texts[2]) is None
    assert shared_difference("json", texts[1], texts[2]) == "cells[0].mean: 0.6, where they give 0.5"
    assert shared_difference("json", b"{", texts[2]) == "it cannot be read"
    assert shared_difference("md", b"any", b"thing") is None


def judged(predictions: list[int], rows: list[list[float]] | None, **metrics: float) -> JudgedSet:
    return JudgedSet(
        "test", np.asarray(predictions, dtype=np.int64), ["a", "b"], metrics, None if rows is None else packed(rows)
    )


@pytest.mark.parametrize(
    ("one", "problem"),
    [
        (judged([0, 1], None), None),
        (judged([0, 1], [[0.7, 0.3], [0.5, 0.5]]), None),
        (judged([], None), "test: it has values and no predictions"),
        (judged([0, 2], None), "test: a prediction is none of its 2 classes"),
        (judged([0, -1], None), "test: a prediction is none of its 2 classes"),
        (judged([0], [[0.7, 0.3], [0.5, 0.5]]), "test: its probabilities are not of 1 texts and 2 classes"),
        (judged([0, 1], [[0.7, 0.3], [0.5, 0.4]]), "test: the probabilities of a text do not sum to 1"),
        (judged([0, 0], [[0.7, 0.3], [0.4, 0.6]]), "test: 1 predictions are not the most probable class"),
    ],
)
def test_predictions_are_held_against_their_probabilities(one: JudgedSet, problem: str | None) -> None:
    assert own_problem(one) == problem


def test_a_class_that_stands_for_several_need_not_be_the_most_probable() -> None:
    one = judged([0, 0], [[0.7, 0.3], [0.4, 0.6]])
    assert own_problem(one._replace(merged=True)) is None


def test_probabilities_that_are_no_base64_are_a_problem() -> None:
    one = JudgedSet("test", np.zeros(1, dtype=np.int64), ["a", "b"], {}, {"shape": [1, 2], "float16": "!"})
    assert own_problem(one) == "test: its probabilities cannot be unpacked"


def test_values_are_computed_again_from_predictions_and_labels() -> None:
    """By hand: 3 of 4 right; F1 of a = 2 / 3, of b = 4 / 5, their mean 11 / 15."""
    truth = TrueLabels(np.array([0, 1, 1, 0]), ["a", "b"])
    assert value_problem(judged([0, 1, 1, 1], None, accuracy=0.75, macro_f1=11 / 15), truth) is None
    wrong = value_problem(judged([0, 1, 1, 1], None, accuracy=0.75, macro_f1=0.7), truth)
    assert wrong == "test: predictions and labels give macro_f1 0.733333, recorded is 0.7"
    assert value_problem(judged([0], None), truth) == "test: 1 predictions for 4 labels"
    other = value_problem(judged([0, 1, 1, 1], None), TrueLabels(np.array([0, 1, 1, 0]), ["a", "c"]))
    assert other == "test: its classes are not those of the data file"
    assert value_problem(judged([0, 1, 1, 1], None, auc=1.0), truth) == "test: auc is no metric"
