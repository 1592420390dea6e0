"""Values on evaluation sets and the gap to them: by hand, against a slow oracle, and what is left out."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import pytest
from evaluated_cells import CLASSES, evaluated, record, records
from hypothesis import given
from hypothesis import strategies as st

from l3masking.errors import InputError
from study.results.aggregate import Cell, cells

T_TWO = 0.95 * math.sqrt(2 / (1 - 0.95**2))  # t(.975) with two degrees of freedom, a closed form


def planted(seed: int, test: float, **values: float | None) -> dict:
    """A record of RTM with these values of accuracy; a set whose value is None is not in it."""
    found = {
        name: {"metrics": {"accuracy": value, "macro_f1": 0.1}, "labels": ["no", "yes"], "predictions": [0, 1, 1]}
        for name, value in values.items()
        if value is not None
    }
    more = {"evaluations": found} if found else {}
    return record("rtm", seed, sets=(), test={"accuracy": test, "macro_f1": 0.5}, **more)


def one(found: list[dict], failures: list[dict] | None = None, wanted: int = 3) -> Cell:
    [cell] = cells(found, failures or [], wanted)
    return cell


def test_three_seeds_by_hand():
    """Set .60, .62, .64: mean .62, deviation .02. Gaps .20, .21, .19 (mean .20, deviation .01) under test values."""
    cell = one([planted(0, 0.80, hans=0.60), planted(1, 0.83, hans=0.62), planted(2, 0.83, hans=0.64)])
    on_set = cell.evaluations["hans"]
    assert (on_set.n, on_set.texts, on_set.classes, on_set.merged) == (3, 3, ("no", "yes"), True)
    assert on_set.values == {0: 0.60, 1: 0.62, 2: 0.64}
    assert on_set.gaps == pytest.approx({0: 0.20, 1: 0.21, 2: 0.19}, abs=1e-15)
    assert (on_set.mean, on_set.std) == (pytest.approx(0.62), pytest.approx(0.02))
    assert (on_set.gap_mean, on_set.gap_std) == (pytest.approx(0.20), pytest.approx(0.01))
    half = T_TWO * 0.01 / math.sqrt(3)
    assert on_set.gap_ci_low == pytest.approx(0.20 - half, abs=1e-9)
    assert on_set.gap_ci_high == pytest.approx(0.20 + half, abs=1e-9)
    assert on_set.ci_high == pytest.approx(0.62 + 2 * half, abs=1e-9)


eighths = st.integers(0, 8).map(lambda number: number / 8)  # exact in binary: fractions can be checked exactly


@given(st.lists(st.tuples(eighths, eighths), min_size=2, max_size=8))
def test_statistics_are_those_of_a_loop_over_fractions(pairs: list[tuple[float, float]]):
    on_set = one([planted(seed, test, hans=value) for seed, (test, value) in enumerate(pairs)]).evaluations["hans"]
    found = {"": (on_set.mean, on_set.std), "gap": (on_set.gap_mean, on_set.gap_std)}
    for name, (mean, std) in found.items():
        total = Fraction(0)
        for test, value in pairs:
            total += Fraction(test) - Fraction(value) if name else Fraction(value)
        expected = total / len(pairs)
        squares = Fraction(0)
        for test, value in pairs:
            squares += ((Fraction(test) - Fraction(value) if name else Fraction(value)) - expected) ** 2
        assert mean == pytest.approx(float(expected), abs=1e-15)
        assert std == pytest.approx(math.sqrt(squares / (len(pairs) - 1)), abs=1e-12)


def test_the_metric_is_that_of_the_objective():
    found = evaluated()
    for cell in found:
        for name, on_set in cell.evaluations.items():
            for seed, value in on_set.values.items():
                entry = record(cell.method, seed, cell.objective)
                assert value == entry["evaluations"][name]["metrics"][cell.objective]
                assert on_set.gaps[seed] == entry["test"][cell.objective] - value
    assert {tuple(cell.evaluations) for cell in found} == {("hans", "anli")}
    assert {(name, on_set.merged) for cell in found for name, on_set in cell.evaluations.items()} == {
        *(("hans", True), ("anli", False))
    }
    assert found[0].evaluations["anli"].classes == CLASSES


def test_a_set_that_a_finished_seed_lacks_has_a_count_and_no_mean():
    """The mean of the test values is one of three seeds: a mean of two on the set would be one of other trainings."""
    cell = one([planted(0, 0.8, hans=0.6, anli=0.5), planted(1, 0.8, hans=None, anli=0.4), planted(2, 0.8, hans=0.5)])
    for name, seeds in {"hans": [0, 2], "anli": [0, 1]}.items():
        on_set = cell.evaluations[name]
        assert (on_set.n, list(on_set.values), list(on_set.gaps)) == (2, seeds, seeds)
        numbers = dataclasses.asdict(on_set)
        assert {numbers[part] for part in numbers if part.endswith(("mean", "std", "low", "high"))} == {None}


def test_a_seed_without_a_record_is_in_neither_mean():
    failure = {name: value for name, value in planted(2, 0.8).items() if name not in ("test", "validation")}
    cell = one([planted(0, 0.8, hans=0.6), planted(1, 0.9, hans=0.5)], [failure])
    on_set = cell.evaluations["hans"]
    assert (cell.n, cell.failed, on_set.n) == (2, 1, 2)
    assert (on_set.mean, on_set.gap_mean) == (pytest.approx(0.55), pytest.approx(0.3))


def test_one_seed_has_a_gap_and_no_deviation():
    on_set = one([planted(0, 0.8, hans=0.6)]).evaluations["hans"]
    assert (on_set.mean, on_set.std, on_set.gap_std, on_set.ci_low) == (0.6, None, None, None)
    assert on_set.gap_mean == pytest.approx(0.2)


def test_cells_without_evaluation_sets_are_what_they_were():
    with_sets, without = evaluated(), evaluated(records(sets=()))
    assert {len(cell.evaluations) for cell in without} == {0}
    assert [dataclasses.replace(cell, evaluations={}) for cell in with_sets] == without


def test_records_of_two_sets_under_one_name_are_not_averaged():
    other = planted(1, 0.8, hans=0.5)
    other["evaluations"]["hans"]["predictions"] = [0, 1]
    with pytest.raises(InputError, match=r"rtm-0-accuracy and rtm-1-accuracy .* evaluation set 'hans'"):
        one([planted(0, 0.8, hans=0.6), other])
    other["evaluations"]["hans"] |= {"predictions": [0, 1, 1], "labels": ["no", "perhaps"]}
    with pytest.raises(InputError, match="evaluation set 'hans'"):
        one([planted(0, 0.8, hans=0.6), other])


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused(value: float):
    with pytest.raises(InputError, match=f"record rtm-0-accuracy holds the value {value}"):
        one([planted(0, 0.8, hans=value)])
