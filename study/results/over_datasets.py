"""What several encoder and dataset pairs say together of two rows, and of several rows at once.

A pair counts once, with the mean over its seeds, however many seeds it has. The tests are over pairs: they ask whether
a row would also be better on further pairs like these. The pairs of one study are few and share encoders and data, so
that they are no random sample of anything: CAUTION goes with every number from here.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from study.results.aggregate import Cell
from study.results.compare import questions
from study.results.comparison import Arm, Question
from study.results.matched import matched
from study.results.paired import TIE, sign_flip
from study.results.power import LEVEL
from study.results.spread import spread

LEAST_PAIRS = 2  # of encoder and dataset, below which there is nothing to aggregate
FEW_PAIRS = 20  # below which a caution names the number
CAUTION = (
    "Each encoder and dataset pair counts once. The pairs share encoders and datasets and were not drawn at random, so "
    "the tests over them show a tendency and no more; the verdicts are those of the single comparisons."
)


@dataclass(frozen=True, kw_only=True)
class Overall:
    """One question over all encoder and dataset pairs that have both rows. What cannot be said is None."""

    question: str
    objective: str
    pairs: int  # with a mean on both sides, LEAST_PAIRS and up
    wanted: int  # pairs that the study plans
    first_mean: float  # mean over the pairs of the row's means, fraction
    second_mean: float
    difference: float  # mean over the pairs of first minus second, fraction; each pair counts once
    std: float | None  # sample standard deviation of the pairs' differences
    ci_low: float | None  # 95 % t interval over pairs
    ci_high: float | None
    better: int  # pairs on which the first row's mean is higher
    equal: int
    worse: int
    p: float | None  # two-sided, exact Wilcoxon signed-rank test over the pairs; None if no pair differs
    floor: float | None  # the least p that so many differing pairs can give


@dataclass(frozen=True, kw_only=True)
class Rank:
    """One row among all that every pair of the ranking has."""

    method: str
    variant: str | None
    mean_rank: float  # over the pairs, 1 is best; equal means share their ranks
    mean: float  # of its means over the pairs, fraction


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """All rows that have a mean on all pairs, best first, under one objective."""

    objective: str
    pairs: int
    wanted: int  # pairs that the study plans
    ranks: tuple[Rank, ...]
    friedman_p: float | None  # that all rows are equally good; None for fewer than three rows, and if nothing differs
    critical_difference: float | None  # of two mean ranks (Nemenyi) at LEVEL; None for fewer than three rows


def overall(cells: Sequence[Cell], asked: Sequence[Question] | None = None) -> list[Overall]:
    """Each question over its encoder and dataset pairs, where there are LEAST_PAIRS or more."""
    found = []
    for question in questions(cells) if asked is None else asked:
        for objective, rows in matched(cells, question).items():
            done = [(a.mean, b.mean) for _, a, b in rows if a.mean is not None and b.mean is not None]
            if len(done) >= LEAST_PAIRS:
                found.append(_overall(str(question), objective, done, len(rows)))
    return found


def signed_rank_p(differences: Sequence[float]) -> tuple[float, float] | None:
    """Exact two-sided p of Wilcoxon's signed-rank test, and the least p of such ranks; None if no difference is left.

    Zeros are dropped (Wilcoxon 1945) and equal sizes share their ranks. The statistic's distribution is that of the
    signed ranks under all flips of signs, which holds with shared ranks too.
    """
    from scipy.stats import rankdata

    left = [value for value in differences if abs(value) > TIE]
    if not left:
        return None
    sizes = rankdata([round(abs(value) / TIE) for value in left])
    ranks = [math.copysign(float(size), value) for size, value in zip(sizes, left, strict=True)]
    return sign_flip(ranks).p, sign_flip([abs(rank) for rank in ranks]).p


def rankings(cells: Sequence[Cell]) -> list[Ranking]:
    """For each objective the rows that have a mean on every pair where any row has one; two rows and pairs or more."""
    found = []
    for objective in dict.fromkeys(cell.objective for cell in cells):
        here = [cell for cell in cells if cell.objective == objective]
        means: dict[Arm, dict[tuple[str, str], float]] = {}
        for cell in here:
            if cell.mean is not None:
                means.setdefault(Arm(cell.method, cell.variant), {})[cell.encoder, cell.dataset] = cell.mean
        places = list(dict.fromkeys((cell.encoder, cell.dataset) for cell in here if cell.mean is not None))
        whole = [arm for arm, by_place in means.items() if len(by_place) == len(places)]
        if len(whole) >= 2 and len(places) >= LEAST_PAIRS:
            wanted = len({(cell.encoder, cell.dataset) for cell in here})
            table = [[means[arm][place] for arm in whole] for place in places]
            found.append(_ranking(objective, whole, table, wanted))
    return found


def critical_difference(rows: int, pairs: int, *, level: float = LEVEL) -> float:
    """Nemenyi's least difference of two mean ranks: q / sqrt(2) sqrt(k (k + 1) / (6 N)) (Demsar 2006, section 3.2.2).

    q: upper `level` quantile of the studentized range of k = `rows` groups with infinite degrees of freedom.
    """
    from scipy.stats import studentized_range

    quantile = float(studentized_range.ppf(1 - level, rows, math.inf))
    return quantile / math.sqrt(2) * math.sqrt(rows * (rows + 1) / (6 * pairs))


def cautions(found: Collection[Overall | Ranking]) -> list[str]:
    """What to keep in mind, in lines; empty if nothing was aggregated."""
    if not found:
        return []
    lines = [CAUTION]
    few = sorted({entry.pairs for entry in found if entry.pairs < FEW_PAIRS})
    if few:
        lines.append(f"{' and '.join(map(str, few))} pairs are few: a real tendency can go unseen, and p is coarse.")
    partial = sorted({(entry.pairs, entry.wanted) for entry in found if entry.pairs < entry.wanted})
    lines += [f"Only {pairs} of {wanted} planned pairs have a mean so far." for pairs, wanted in partial]
    return lines


def _overall(question: str, objective: str, done: Sequence[tuple[float, float]], wanted: int) -> Overall:
    differences = [first - second for first, second in done]
    mean, std, low, high = spread(differences)
    assert mean is not None, "there are pairs"
    tested = signed_rank_p(differences)
    return Overall(
        question=question,
        objective=objective,
        pairs=len(done),
        wanted=wanted,
        first_mean=statistics.mean(first for first, _ in done),
        second_mean=statistics.mean(second for _, second in done),
        difference=mean,
        std=std,
        ci_low=low,
        ci_high=high,
        better=sum(value > TIE for value in differences),
        equal=sum(abs(value) <= TIE for value in differences),
        worse=sum(value < -TIE for value in differences),
        p=None if tested is None else tested[0],
        floor=None if tested is None else tested[1],
    )


def _ranking(objective: str, arms: Sequence[Arm], table: Sequence[Sequence[float]], wanted: int) -> Ranking:
    """`table`: pairs × arms, means."""
    from scipy.stats import friedmanchisquare, rankdata

    ranks = [rankdata([-round(value / TIE) for value in row]) for row in table]
    columns = list(zip(*ranks, strict=True))
    made = [
        Rank(
            method=arm.method,
            variant=arm.variant,
            mean_rank=statistics.mean(map(float, columns[place])),
            mean=statistics.mean(row[place] for row in table),
        )
        for place, arm in enumerate(arms)
    ]
    several = len(arms) > 2
    differ = any(len(set(row)) > 1 for row in ranks)
    return Ranking(
        objective=objective,
        pairs=len(table),
        wanted=wanted,
        ranks=tuple(sorted(made, key=lambda rank: rank.mean_rank)),
        friedman_p=float(friedmanchisquare(*columns).pvalue) if several and differ else None,
        critical_difference=critical_difference(len(arms), len(table)) if several else None,
    )
