"""Best weights and early stopping against a slow reading of the rule."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3masking.errors import InputError
from l3masking.training.early_stopping import Selection
from l3masking.training.settings import EvaluateConfig, StopConfig


def follow(values: list[float], *, patience: int, count_warmup: bool = True, warmup: int = 0) -> Selection:
    """Evaluations at updates 10, 20, ...; the first `warmup` of them lie in warm-up."""
    selection = Selection(objective="accuracy", config=StopConfig(patience=patience, count_warmup=count_warmup))
    for index, value in enumerate(values):
        selection.see(value, 10 * (index + 1), warming_up=index < warmup)
    return selection


def slowly(values: list[float], patience: int, count_warmup: bool, warmup: int) -> tuple[int, int | None]:
    """(update of the best, update of the stop), read off whole prefixes."""
    stop = None
    for seen in range(1, len(values) + 1):
        counted = values[:seen] if count_warmup else values[warmup:seen]
        if len(counted) > patience and all(value < max(values[:seen]) for value in counted[-patience:]):
            stop = seen
            break
    considered = values[:stop]
    best = max(index for index, value in enumerate(considered) if value == max(considered))
    return 10 * (best + 1), None if stop is None else 10 * stop


@given(
    values=st.lists(st.integers(0, 5).map(float), min_size=1, max_size=25),
    patience=st.integers(1, 5),
    count_warmup=st.booleans(),
    warmup=st.integers(0, 8),
)
def test_best_and_stop_are_those_of_the_rule(values, patience, count_warmup, warmup) -> None:
    selection = follow(values, patience=patience, count_warmup=count_warmup, warmup=warmup)
    assert (selection.best_update, selection.stop_update) == slowly(values, patience, count_warmup, warmup)
    assert selection.best == max(values[: (selection.stop_update or 10 * len(values)) // 10])


def test_the_stop_by_hand() -> None:
    # patience 2: at 40 the last two (.4, .4) lie below .5; at 30 they were (.5, .4)
    selection = follow([0.3, 0.5, 0.4, 0.4, 0.9], patience=2)
    assert selection.stopped
    assert (selection.stop_update, selection.best_update, selection.best) == (40, 20, 0.5)


def test_patience_evaluations_are_not_yet_more_than_patience() -> None:
    assert not follow([0.9, 0.1], patience=2).stopped
    assert follow([0.9, 0.1, 0.1], patience=2).stopped


def test_a_tie_goes_to_the_latest_and_puts_the_stop_off() -> None:
    selection = follow([0.5, 0.5, 0.5, 0.5], patience=1)
    assert not selection.stopped
    assert selection.best_update == 40


def test_see_says_which_weights_to_keep() -> None:
    selection = Selection(objective="accuracy", config=StopConfig(patience=2))
    kept = [selection.see(v, u, warming_up=False) for u, v in enumerate([0.2, 0.1, 0.2, 0.3, 0.1, 0.1, 0.9], start=1)]
    assert kept == [True, False, True, True, False, False, False]  # stopped at 6: .9 comes too late


def test_warm_up_counts_or_not() -> None:
    values = [0.9, 0.1, 0.1, 0.1, 0.1, 0.1]
    assert follow(values, patience=2, warmup=3).stop_update == 30
    # counted from the fourth on: more than two counted evaluations exist at the sixth
    later = follow(values, patience=2, warmup=3, count_warmup=False)
    assert (later.stop_update, later.best_update) == (60, 10)  # the best of all, warm-up included, is what counts


@pytest.mark.parametrize("make", [lambda: StopConfig(patience=0), lambda: EvaluateConfig(every=0)])
def test_nothing_below_one(make) -> None:
    with pytest.raises(InputError, match="at least 1"):
        make()


def test_an_unknown_unit_is_refused() -> None:
    with pytest.raises(InputError, match=r"evaluate\.unit is 'epoch'"):
        EvaluateConfig(unit="epoch")


def test_the_first_of_equal_best_values_is_known_beside_the_latest() -> None:
    selection = Selection(objective="accuracy", config=StopConfig(patience=10))
    for update, value in enumerate([0.5, 0.7, 0.6, 0.7, 0.7, 0.4], 1):
        selection.see(value, update, warming_up=False)
    assert (selection.first_best_update, selection.best_update) == (2, 5)
