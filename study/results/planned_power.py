"""What the seeds of a study can decide: its own paired deviations, its planned tests and `study.results.power`.

Values are fractions. The deviation of a pair of rows is estimated from its finished seeds, as few as two, so that it is
uncertain itself: its interval stands beside it.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from l3masking.errors import InputError
from study.plan.trials import Trial
from study.results.aggregate import Cell, CellKey
from study.results.compare import questions
from study.results.comparison import Question
from study.results.families import DeclaredFamily
from study.results.matched import Match, matched
from study.results.paired import TIE
from study.results.power import LEVEL, least_seeds, seeds_needed, smallest_effect
from study.results.spread import CONFIDENCE, spread
from study.store.briefs import Brief

WANTED_DIFFERENCE = 0.01  # one percentage point: the difference that seeds are counted for, if nobody names one

SHARED_TEXTS = (
    "each seed has its own splits, which share texts. The interval is wider for that, by a part that more seeds do not "
    "lower, and the numbers leave it out: differences must be larger, and seeds may not be enough."
)


class Aim(NamedTuple):
    """What a study is to decide, and how surely."""

    level: float = LEVEL  # of all planned tests together
    tests: int = 1  # planned tests; Holm's method gives each at least level / tests
    power: float = 0.8  # probability of deciding a true difference
    difference: float = WANTED_DIFFERENCE  # true difference that seeds are counted for, fraction

    @property
    def alpha(self) -> float:
        """The level of one test in the worst case."""
        return self.level / self.tests


@dataclass(frozen=True, kw_only=True)
class PowerRow:
    """Two rows on one encoder and dataset. What cannot be said is None."""

    question: str | None  # None: a deviation that somebody gave
    encoder: str | None
    dataset: str | None
    objective: str | None
    pairs: int  # seeds that both rows have finished, from which the deviation is
    std: float | None  # sample standard deviation of the paired differences, fraction; None below two pairs
    std_low: float | None  # 95 % interval of the true deviation under normal differences
    std_high: float | None
    seeds: int  # for which `smallest` holds
    smallest: float | None  # smallest true difference that `seeds` decide with the wanted power, fraction
    needed: int | None  # seeds that decide the wanted difference; None if more than MOST_SEEDS, or not known


@dataclass(frozen=True, kw_only=True)
class Power:
    """What the seeds of a study can decide."""

    level: float
    tests: int
    alpha: float  # level / tests
    power: float
    difference: float  # wanted, fraction
    least_seeds: int | None  # with fewer nothing is ever decisive, however large the difference
    effects: dict[int, float | None]  # seeds -> smallest effect, in units of the deviation; None: can decide nothing
    rows: tuple[PowerRow, ...]
    notes: tuple[str, ...] = ()  # where the numbers do not hold

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return dataclasses.asdict(self)


def study_power(
    cells: Sequence[Cell],
    *,
    aim: Aim,
    seeds: int | None = None,
    asked: Iterable[Question] | None = None,
    objectives: Collection[str] | None = None,
    anew: Iterable[str] = (),
) -> Power:
    """What the study decides with `seeds` (default: those that it plans for each pair of rows).

    `asked`: default: all questions of `compare`; `objectives`: default: all. `anew`: datasets whose test split each
    seed cuts anew; what their splits share is no part of these numbers, and a note says so.
    """
    rows = [
        _row(match, aim, match.wanted if seeds is None else seeds)
        for question in (questions(cells) if asked is None else asked)
        for objective, found in matched(cells, question).items()
        for match in found
        if objectives is None or objective in objectives
    ]
    found = _power(rows, aim, [row.seeds for row in rows] or ([] if seeds is None else [seeds]))
    notes = (f"{name}: {SHARED_TEXTS}" for name in anew if any(row.dataset == name for row in rows))
    return dataclasses.replace(found, notes=tuple(notes))


def given_power(std: float, *, aim: Aim, seeds: int | None = None) -> Power:
    """The same for a standard deviation of paired differences (fraction) that somebody knows or guesses."""
    needed = seeds_needed(aim.difference / std, alpha=aim.alpha, power=aim.power)
    count = seeds if seeds is not None else needed or 0
    effect = smallest_effect(count, alpha=aim.alpha, power=aim.power)
    row = PowerRow(
        question=None,
        encoder=None,
        dataset=None,
        objective=None,
        pairs=0,
        std=std,
        std_low=None,
        std_high=None,
        seeds=count,
        smallest=None if effect is None else effect * std,
        needed=needed,
    )
    return _power([row], aim, [count])


def planned_tests(cells: Sequence[Cell], family: DeclaredFamily) -> int:
    """Tests of the family, finished or not; 1 if it has none."""
    found = (matched(cells, question) for question in family.questions)
    return max(1, sum(len(rows.get(objective, ())) for rows in found for objective in family.objectives))


def planned_cells(trials: Iterable[Trial], records: Iterable[Brief]) -> list[Cell]:
    """The cells of a plan with the test values that there are, in the plan's order; all else in them is left empty."""
    known = {record.key: record.test for record in records if record.test is not None}
    wanted: Counter[CellKey] = Counter()
    values: dict[CellKey, dict[int, float]] = {}
    for trial in trials:
        for objective, key in trial.keys.items():
            cell = CellKey(trial.encoder, trial.dataset, trial.method, trial.variant, trial.mask_mean, objective)
            wanted[cell] += 1
            found = values.setdefault(cell, {})
            if key in known:
                found[trial.seed] = known[key]
    made = []
    for cell, by_seed in values.items():
        mean, std, low, high = spread(by_seed.values())
        made.append(
            Cell(
                **cell._asdict(),
                n=len(by_seed),
                failed=0,
                wanted=wanted[cell],
                mean=mean,
                std=std,
                ci_low=low,
                ci_high=high,
                validation_mean=None,
                epochs_to_best_mean=None,
                epochs_to_stop_mean=None,
                values=by_seed,
            )
        )
    return made


def std_interval(std: float, n: int) -> tuple[float, float]:
    """95 % interval of a normal standard deviation: (n - 1) s^2 over chi-square quantiles, s of n >= 2 values."""
    from scipy.special import chdtri

    tail = (1 - CONFIDENCE) / 2
    low, high = (std * math.sqrt((n - 1) / float(chdtri(n - 1, share))) for share in (tail, 1 - tail))
    return low, high


def check_aim(aim: Aim) -> Aim:
    """The aim itself; InputError with one line for what the user can fix."""
    if not 0 < aim.level < 1:
        raise InputError(f"--level {aim.level:g}: expected a number between 0 and 1, such as 0.05")
    if not aim.level < aim.power < 1:
        raise InputError(
            f"--power {aim.power:g}: expected a number between the level, {aim.level:g}, and 1, such as 0.8"
        )
    if aim.tests < 1:
        raise InputError(f"--tests {aim.tests}: expected 1 or more planned tests")
    if not 0 < aim.difference < 1:
        raise InputError(f"--difference {aim.difference:g}: expected a fraction, such as 0.01 for one percentage point")
    return aim


def _row(match: Match, aim: Aim, seeds: int) -> PowerRow:
    differences = match.differences
    std = statistics.stdev(differences) if len(differences) > 1 else None
    low = high = smallest = needed = None
    if std is not None and std <= TIE:
        std = 0.0
    elif std is not None:
        low, high = std_interval(std, len(differences))
        effect = smallest_effect(seeds, alpha=aim.alpha, power=aim.power)
        smallest = None if effect is None else effect * std
        needed = seeds_needed(aim.difference / std, alpha=aim.alpha, power=aim.power)
    return PowerRow(
        question=str(match.question),
        encoder=match.first.encoder,
        dataset=match.first.dataset,
        objective=match.first.objective,
        pairs=len(differences),
        std=std,
        std_low=low,
        std_high=high,
        seeds=seeds,
        smallest=smallest,
        needed=needed,
    )


def _power(rows: Sequence[PowerRow], aim: Aim, counts: Iterable[int]) -> Power:
    return Power(
        level=aim.level,
        tests=aim.tests,
        alpha=aim.alpha,
        power=aim.power,
        difference=aim.difference,
        least_seeds=least_seeds(aim.alpha),
        effects={n: smallest_effect(n, alpha=aim.alpha, power=aim.power) for n in sorted(set(counts))},
        rows=tuple(rows),
    )
