"""Cells: statistics against hand computation, what is counted, what is left out, order, cost."""

from __future__ import annotations

import math
import random
import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3masking.errors import InputError
from study.results.aggregate import Cell, CellKey, Order, cell_key, cells, timing_rows
from study.results.spread import t_interval

RTM = CellKey("bert", "arc", "rtm", None, 0.15, "accuracy")


def record(
    seed: int, accuracy: float, macro_f1: float = 0.5, *, of: CellKey = RTM, key: str | None = None, **more
) -> dict:
    key = key or f"{'/'.join(map(str, of))}/{seed}"
    run = {"seconds": 10.0 + seed, "host": "here", "device": "cpu", "threads": 1, "attempts": 1}
    return (
        {"key": key, "trajectory": f"t{seed}", "seed": seed, "run": run, "epochs_to_best": 1.0, "epochs_to_stop": 2.0}
        | {"test": {"accuracy": accuracy, "macro_f1": macro_f1}, "validation": {"accuracy": 0.9, "macro_f1": 0.8}}
        | of._asdict()
        | more
    )


def failure(seed: int, *, of: CellKey = RTM, key: str | None = None) -> dict:
    return {"key": key or f"{'/'.join(map(str, of))}/{seed}", "seed": seed, "reason": "out of memory"} | of._asdict()


def one(records: list[dict], failures: list[dict] | None = None, wanted: int = 3) -> Cell:
    [cell] = cells(records, failures or [], wanted)
    return cell


# ---- statistics


def test_three_values_by_hand():
    """Mean .74, deviations -.04, 0, .04: sample variance .0032 / 2; t(.975; 2) = 4.30265 from the printed table."""
    cell = one([record(0, 0.70), record(1, 0.74), record(2, 0.78)])
    assert (cell.n, cell.failed, cell.wanted) == (3, 0, 3)
    assert cell.mean == pytest.approx(0.74, abs=1e-15)
    assert cell.std == pytest.approx(0.04, abs=1e-15)
    half = 4.30265 * 0.04 / math.sqrt(3)
    assert cell.ci_low == pytest.approx(0.74 - half, abs=1e-6)
    assert cell.ci_high == pytest.approx(0.74 + half, abs=1e-6)
    assert cell.values == {0: 0.70, 1: 0.74, 2: 0.78}
    assert (cell.validation_mean, cell.epochs_to_best_mean, cell.epochs_to_stop_mean) == (0.9, 1.0, 2.0)


# closed forms for one and two degrees of freedom; the others from the table of Fisher and Yates
QUANTILES = {2: math.tan(0.475 * math.pi), 3: 0.95 * math.sqrt(2 / (1 - 0.95**2)), 5: 2.776, 10: 2.262, 31: 2.042}


@pytest.mark.parametrize("n", QUANTILES)
def test_t_quantiles_are_the_printed_ones(n: int):
    low, high = t_interval(0.5, math.sqrt(n), n)  # then the half width is the quantile itself
    assert high - 0.5 == pytest.approx(QUANTILES[n], abs=1e-9 if n < 4 else 5e-4)
    assert low + high == pytest.approx(1.0, abs=1e-12)


def test_the_interval_covers_the_true_mean_in_95_of_100_cases():
    rng = np.random.default_rng(7)
    draws = 4000
    hits = 0
    for sample in rng.normal(0.7, 0.02, size=(draws, 5)):
        low, high = t_interval(float(sample.mean()), float(sample.std(ddof=1)), 5)
        hits += low <= 0.7 <= high
    assert abs(hits / draws - 0.95) < 5 * math.sqrt(0.95 * 0.05 / draws)


fractions = st.lists(st.floats(0, 1), min_size=2, max_size=12)


@given(fractions, st.randoms(use_true_random=False))
def test_statistics_agree_with_numpy_in_any_order(values: list[float], shuffler: random.Random):
    records = [record(seed, value) for seed, value in enumerate(values)]
    cell = one(records)
    assert cell.mean == pytest.approx(np.mean(values), abs=1e-12)
    assert cell.std == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    shuffler.shuffle(records)
    assert one(records) == cell


def test_equal_values_have_that_mean_and_no_spread():
    cell = one([record(seed, 0.1) for seed in range(3)])  # a running sum gives .10000000000000002
    assert (cell.mean, cell.std, cell.ci_low, cell.ci_high) == (0.1, 0.0, 0.1, 0.1)


def test_one_value_has_no_spread_and_none_has_no_mean():
    single = one([record(0, 0.7)])
    assert (single.n, single.mean, single.std, single.ci_low, single.ci_high) == (1, 0.7, None, None, None)
    empty = one([], [failure(0), failure(1), failure(2)])
    assert (empty.n, empty.failed, empty.wanted, empty.mean, empty.std) == (0, 3, 3, None, None)
    assert (empty.validation_mean, empty.epochs_to_best_mean, empty.epochs_to_stop_mean) == (None, None, None)
    assert empty.values == {}


# ---- what belongs to a cell


def test_each_objective_reads_its_own_records_and_metric():
    f1 = RTM._replace(objective="macro_f1")
    records = [record(0, 0.7, 0.1), record(1, 0.8, 0.2), record(0, 0.3, 0.5, of=f1), record(1, 0.4, 0.7, of=f1)]
    accuracy, macro = cells(records, [], 2)
    assert (accuracy.objective, accuracy.mean, accuracy.validation_mean) == ("accuracy", pytest.approx(0.75), 0.9)
    assert (macro.objective, macro.mean, macro.validation_mean) == ("macro_f1", pytest.approx(0.6), 0.8)


@pytest.mark.parametrize(
    "change", [{"encoder": "b"}, {"dataset": "b"}, {"method": "b"}, {"variant": "b"}, {"mask_mean": 0.3}]
)
def test_cells_are_told_apart_by_every_part_of_their_key(change: dict):
    two = cells([record(0, 0.7), record(0, 0.9, of=RTM._replace(**change))], [], 1)
    assert sorted(cell.mean for cell in two) == [0.7, 0.9]


def test_a_mask_mean_of_one_is_the_same_cell_as_an_integer_and_as_a_float():
    cell = one([record(0, 0.7, of=RTM._replace(mask_mean=1)), record(1, 0.7, of=RTM._replace(mask_mean=1.0))])
    assert cell.n == 2
    assert isinstance(cell.mask_mean, float)


def test_failed_and_missing_seeds_are_counted_and_never_averaged():
    cell = one([record(0, 0.6), record(3, 0.8)], [failure(1), failure(3, key="older")], wanted=5)
    assert (cell.n, cell.failed, cell.wanted) == (2, 1, 5)  # seed 3 failed once and has finished since
    assert cell.mean == pytest.approx(0.7)


def test_more_seeds_than_wanted_are_all_counted():
    cell = one([record(seed, 0.5) for seed in range(4)], [failure(9)], wanted=3)
    assert (cell.n, cell.failed, cell.wanted) == (4, 1, 5)


def test_a_wanted_cell_without_any_record_appears():
    stl = RTM._replace(method="stl", mask_mean=None)
    found = cells([record(0, 0.7)], [], {RTM: 2, stl: 3})
    assert [(cell.method, cell.n, cell.failed, cell.wanted) for cell in found] == [("rtm", 1, 0, 2), ("stl", 0, 0, 3)]


def test_only_the_keys_of_the_plan_count():
    records = [record(0, 0.7), record(0, 0.1, key="older"), record(1, 0.9)]
    failures = [failure(2), failure(5, key="older failure")]
    [cell] = cells(records, failures, 3, keys=[entry["key"] for entry in (records[0], records[2], failures[0])])
    assert (cell.values, cell.failed, cell.wanted) == ({0: 0.7, 1: 0.9}, 1, 3)
    with pytest.raises(InputError, match=r"records .*/0 and older both give seed 0 of bert/arc/rtm"):
        cells(records, failures, 3)


@pytest.mark.parametrize("place", ["test", "validation"])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_value_that_is_no_number_is_refused(place: str, value: float):
    with pytest.raises(InputError, match=f"bad holds the value {value}"):
        one([record(0, 0.5), record(1, 0.5, key="bad", **{place: {"accuracy": value, "macro_f1": 0.5}})])


# ---- order, wall times, cost


def test_order_is_the_given_one_and_then_the_alphabet():
    parts = [
        ("bert", "b", "l3", None, 0.15),
        ("bert", "b", "l3", None, 0.3),
        ("bert", "b", "l3", "w", 0.15),
        ("bert", "b", "l3", "a", 0.15),
        ("bert", "b", "rtm", None, 0.15),
        ("bert", "a", "stl", None, None),
        ("albert", "a", "stl", None, None),
    ]
    keys = [CellKey(*part, objective) for part in parts for objective in ("macro_f1", "accuracy")]
    given_order = Order(encoder=["bert"], dataset=["b"], method=["l3"], variant=["w"], objective=["macro_f1"])
    shuffled = random.Random(3).sample(keys, len(keys))
    found = cells([record(0, 0.5, of=key) for key in shuffled], [], 1, order=given_order)
    assert [cell.key for cell in found] == keys
    by_alphabet = cells([record(0, 0.5, of=key) for key in shuffled], [], 1)
    assert [cell.key[:3] for cell in by_alphabet[:4:2]] == [("albert", "a", "stl"), ("bert", "a", "stl")]


def test_timing_rows_follow_the_cells_and_the_seeds():
    stl = RTM._replace(method="stl", mask_mean=None)
    records = [record(11, 0.5), record(2, 0.5), record(0, 0.5, of=stl), record(0, 0.5, key="older")]
    rows = timing_rows(records, keys={entry["key"] for entry in records[:3]}, order=Order(method=["stl", "rtm"]))
    assert [(row.method, row.seed, row.seconds) for row in rows] == [
        ("stl", 0, 10.0),
        ("rtm", 2, 12.0),
        ("rtm", 11, 21.0),
    ]
    assert (rows[1].trajectory, rows[1].key, rows[1].device) == ("t2", records[1]["key"], "cpu")
    assert CellKey(*rows[1][:6]) == cell_key(records[1])


def test_ten_thousand_records_take_little_time():
    keys = [RTM._replace(dataset=f"d{number}") for number in range(1000)]
    records = [record(seed, seed / 10, of=key) for key in keys for seed in range(10)]
    start = time.process_time()
    assert len(cells(records, [], 10)) == 1000
    assert time.process_time() - start < 5  # 0.4 s of CPU time on a busy machine (measured)


def test_the_size_of_the_test_set_is_that_of_the_predictions():
    assert one([record(0, 0.5)]).test_texts is None
    assert one([record(0, 0.5), record(1, 0.5, test_predictions=[0, 1, 1])]).test_texts == 3


@pytest.mark.parametrize(
    "module",
    [
        "study.results.aggregate",
        "study.report.tables",
        "study.results.compare",
        "study.results.published",
        "study.results.against",
        "study.results.texts",
    ],
)
def test_importing_brings_no_heavy_library(module: str):
    heavy = ["torch", "ray", "mlflow", "transformers", "datasets", "optuna", "matplotlib", "scipy", "pandas"]
    script = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
