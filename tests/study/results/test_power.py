"""Power: the simulated sign-flip test against every flip by itself, and against the closed form of the t test."""

from __future__ import annotations

import math
import time
from itertools import pairwise, product

import numpy as np
import pytest
from scipy import stats

from study.results.paired import EXACT_PAIRS, named_generator, sign_flip
from study.results.power import (
    POWER_DRAWS,
    _allowed,
    _decides,
    _drawn,
    least_seeds,
    seeds_needed,
    smallest_effect,
    t_power,
)
from study.results.spread import t_interval

SIGMA = 0.5 / math.sqrt(POWER_DRAWS)  # most that a simulated share varies


def sign_flip_power(effect: float, n: int, *, alpha: float, draws: int = POWER_DRAWS) -> float:
    """Share of simulated studies of `n` seeds, at most EXACT_PAIRS, that decide a true `effect` with the sign flips."""
    allowed = _allowed(n, alpha)
    if allowed < 1:
        return 0.0
    return float(np.mean(_decides(_drawn(n, draws), effect, allowed, np.arange(draws))))


def decided(differences: np.ndarray, alpha: float) -> bool:
    """As `compare` decides, with the test of study.results.paired and its interval."""
    low, _ = t_interval(float(differences.mean()), float(differences.std(ddof=1)), len(differences))
    return differences.mean() > 0 and sign_flip(differences.tolist()).p < alpha and low > 0


@pytest.mark.parametrize(("n", "alpha"), [(6, 0.05), (7, 0.05), (8, 0.05 / 3), (9, 0.05 / 24), (11, 0.05)])
@pytest.mark.parametrize("effect", [0.6, 1.3])
def test_a_simulated_study_is_decided_as_the_test_itself_decides_it(n: int, alpha: float, effect: float) -> None:
    """The same draws, each study with all of its flips: not one verdict differs."""
    draws = 300
    noise = -named_generator("power", n, draws).standard_normal((draws, n))
    slow = np.mean([decided(effect + row, alpha) for row in noise])
    assert sign_flip_power(effect, n, alpha=alpha, draws=draws) == pytest.approx(slow, abs=1e-12)


def test_other_draws_and_every_flip_written_out_give_the_same_power() -> None:
    n, alpha, effect = 7, 0.05, 1.2
    flips = np.array(list(product([1, -1], repeat=n)))
    rows = np.random.default_rng(5).normal(effect, 1, (POWER_DRAWS, n))
    sums = rows @ flips.T
    p = np.mean(np.abs(sums) >= np.abs(rows.sum(axis=1))[:, None] - 1e-12, axis=1)
    bar = stats.t.ppf(0.975, n - 1) * rows.std(axis=1, ddof=1) / math.sqrt(n)
    share = np.mean((p < alpha) & (rows.mean(axis=1) > bar))
    assert abs(share - sign_flip_power(effect, n, alpha=alpha)) < 5 * math.sqrt(2) * SIGMA


@pytest.mark.parametrize(("effect", "n", "alpha"), [(0.0, 5, 0.05), (0.9, 10, 0.05), (1.4, 10, 0.002), (0.3, 40, 0.01)])
def test_the_closed_form_is_that_of_the_noncentral_t(effect: float, n: int, alpha: float) -> None:
    bar = stats.t.ppf(1 - alpha / 2, n - 1)
    assert t_power(effect, n, alpha=alpha) == pytest.approx(stats.nct.sf(bar, n - 1, effect * math.sqrt(n)), abs=1e-9)
    rows = np.random.default_rng(6).normal(effect, 1, (20_000, n))
    t = rows.mean(axis=1) / rows.std(axis=1, ddof=1) * math.sqrt(n)
    assert abs(np.mean(t > bar) - t_power(effect, n, alpha=alpha)) < 5 * 0.5 / math.sqrt(20_000)


@pytest.mark.parametrize("effect", [0.5, 0.8])
def test_with_many_seeds_the_sign_flip_test_has_the_power_of_the_t_test(effect: float) -> None:
    """At the least number of seeds whose flips are drawn, where the closed form takes over: within a point."""
    simulated = sign_flip_power(effect, EXACT_PAIRS, alpha=0.05, draws=1000)
    assert abs(simulated - t_power(effect, EXACT_PAIRS, alpha=0.05)) < 0.01 + 5 * 0.5 / math.sqrt(1000)


@pytest.mark.parametrize(("n", "alpha"), [(6, 0.05), (10, 0.05), (10, 0.05 / 24), (13, 0.05 / 8)])
def test_the_smallest_effect_has_the_power_that_is_asked_for(n: int, alpha: float) -> None:
    effect = smallest_effect(n, alpha=alpha, power=0.8)
    assert effect is not None
    assert sign_flip_power(effect, n, alpha=alpha) == pytest.approx(0.8, abs=0.001)
    assert sign_flip_power(0.98 * effect, n, alpha=alpha) < 0.8
    assert effect > 0.98 * t_effect(n, alpha), "no test of this kind beats the t test under normal differences"


def t_effect(n: int, alpha: float) -> float:
    grid = np.linspace(0, 6, 6001)
    return float(grid[np.argmax([t_power(effect, n, alpha=alpha) >= 0.8 for effect in grid[::10]]) * 10])


def test_few_seeds_decide_nothing() -> None:
    assert smallest_effect(3, alpha=0.05) is smallest_effect(1, alpha=0.05) is smallest_effect(5, alpha=0.05) is None
    assert sign_flip_power(100, 3, alpha=0.05) == 0
    assert least_seeds(0.05) == 6
    assert [least_seeds(0.05 / tests) for tests in (3, 8, 24, 48)] == [7, 9, 10, 11]
    for tests in range(1, 60):
        n = least_seeds(0.05 / tests)
        assert n is not None
        assert sign_flip([1.0] * n).p < 0.05 / tests <= sign_flip([1.0] * (n - 1)).p
    assert least_seeds(1e-9) is None, "of more pairs than EXACT_PAIRS a sample of the flips is drawn"


def test_a_level_that_the_flips_meet_exactly_is_not_reached() -> None:
    """p below the level, not at it: 2 of 32 flips is .0625."""
    assert smallest_effect(5, alpha=0.0625) is None
    assert smallest_effect(5, alpha=0.0626) is not None


def test_the_wrong_row_is_no_power() -> None:
    assert sign_flip_power(0.0, 10, alpha=0.05) == pytest.approx(0.025, abs=5 * math.sqrt(0.025 / POWER_DRAWS))
    assert sign_flip_power(-1.0, 10, alpha=0.05) < 0.002


def test_seeds_for_a_wanted_effect() -> None:
    for effect, alpha in ((1.0, 0.05), (1.6, 0.05 / 24), (3.0, 0.05 / 8)):
        n = seeds_needed(effect, alpha=alpha)
        assert n is not None
        assert n <= EXACT_PAIRS
        assert sign_flip_power(effect, n, alpha=alpha) >= 0.8 - 0.001
        assert smallest_effect(n - 1, alpha=alpha) is None or smallest_effect(n - 1, alpha=alpha) > effect
        assert seeds_needed(-effect, alpha=alpha) == n
    many = seeds_needed(0.2, alpha=0.05)
    assert many == 199, "the textbook value of a t test (G*Power, dz .2, power .8)"
    assert t_power(0.2, many, alpha=0.05) >= 0.8 > t_power(0.2, many - 1, alpha=0.05)
    assert seeds_needed(0.01, alpha=0.05) is seeds_needed(0.0, alpha=0.05) is None


def test_twenty_seeds_take_about_a_second() -> None:
    smallest_effect.cache_clear()
    start = time.process_time()
    effect = smallest_effect(EXACT_PAIRS, alpha=0.05 / 8)
    assert time.process_time() - start < 10  # 1 s on a quiet core (measured)
    assert effect == pytest.approx(t_effect(EXACT_PAIRS, 0.05 / 8), rel=0.05)


def test_the_power_of_a_large_effect_is_one() -> None:
    """scipy's noncentral t is nan for some of them, from a noncentrality of 36 on."""
    for n, alpha in product((2, 9, 10, 21, 100, 1000), (0.05, 0.05 / 8, 1e-5)):
        powers = [t_power(effect, n, alpha=alpha) for effect in np.geomspace(0.01, 300, 200).tolist()]
        assert not any(math.isnan(power) for power in powers)
        assert all(later > earlier - 1e-9 for earlier, later in pairwise(powers))
    assert {seeds_needed(effect, alpha=0.05 / 8) for effect in np.linspace(2.5, 6, 200).tolist()} == {9}
