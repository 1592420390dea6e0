"""Which row of a study is better, and may that be chance: cells into paired comparisons.

Two rows are compared on each encoder, dataset and objective that both have, over the seeds that finished in both. The
rows of one question (first against second) and one objective are one family, whose p values Holm's method adjusts.
Values are fractions; only reports speak of percent.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

from l3masking.errors import InputError
from l3masking.methods import METHODS, QUESTIONS, REFERENCE, controls_of
from study.results.aggregate import Cell, CellKey
from study.results.paired import effect_size, holm, least_p, sign_flip, standard_error
from study.results.spread import t_interval

LEVEL = 0.05  # of a decisive difference, after Holm's adjustment


class Arm(NamedTuple):
    """A row of the result table: what stays the same over encoders and datasets."""

    method: str
    variant: str | None = None

    def __str__(self) -> str:
        return f"{self.method} @ {self.variant}" if self.variant else self.method


class Question(NamedTuple):
    """Is the first row better than the second?"""

    first: Arm
    second: Arm

    def __str__(self) -> str:
        return f"{self.first} vs {self.second}"


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two that are compared, over the seeds that the comparison uses."""

    study: str | None = None  # whose numbers these are; None: this study's
    method: str
    variant: str | None
    mask_mean: float | None  # average mask probability; None for stl, or where it is not known
    n: int  # seeds
    mean: float | None  # of their test values, fraction; None if n = 0
    std: float | None  # sample standard deviation, fraction; None if n < 2


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One difference, first minus second, and how sure it is. What cannot be said is None."""

    question: str  # names its family, together with the objective
    encoder: str
    dataset: str
    objective: str
    first: Side
    second: Side
    n: int  # pairs of seeds; 0 where nothing is paired
    wanted: int  # seeds that the study asks for on both sides
    pairing: Literal["batches", "head"] | None  # what a seed fixes for both: head, splits and (batches) their order too
    test: Literal["sign_flip", "sign_flip_sampled", "welch"] | None
    difference: float | None  # of the means, fraction
    ci_low: float | None  # 95 % interval: t of the paired differences, or Welch's
    ci_high: float | None
    effect_size: float | None  # Cohen's d_z; None if unpaired
    p: float | None  # two-sided
    p_holm: float | None  # adjusted within its family
    family: int  # tests in it
    floor: float | None  # the least p that so many pairs can give
    floor_holm: float | None  # the same after adjustment, if every test of the family were at its floor
    decisive: bool  # p_holm < LEVEL, and the interval leaves zero out
    test_texts: int | None  # in the test set
    standard_error: float | None  # binomial, of one accuracy on that test set, fraction; None for other metrics
    bootstrap_low: float | None = None  # 95 % interval over seeds and test texts together
    bootstrap_high: float | None = None
    notes: tuple[str, ...] = ()


Compared = TypeVar("Compared", bound=Comparison)


def questions(cells: Iterable[Cell], baseline: str | None = None) -> list[Question]:
    """What to ask of a study: the three questions of the paper, then every further row against its controls.

    A variant is held against its plain row, and against each control under the same variant, or plain where that has
    no such row. `baseline`: a row, such as "rtm" or "l3masking @ best", against which all others are compared instead;
    InputError where there is none of that name.
    """
    arms = list(dict.fromkeys(Arm(cell.method, cell.variant) for cell in cells))
    if baseline is not None:
        wanted = " @ ".join(part.strip() for part in baseline.split("@"))
        against = next((arm for arm in arms if str(arm) == wanted), None)
        if against is None:
            raise InputError(f"--baseline {baseline!r}: no row of this name; there are {', '.join(map(str, arms))}")
        return [Question(arm, against) for arm in arms if arm != against]
    asked = [Question(Arm(first), Arm(second)) for first, second in QUESTIONS]
    for arm in arms:
        if arm.variant is not None:
            asked.append(Question(arm, Arm(arm.method)))
        for control in controls_of(arm.method):
            like = Arm(control, arm.variant)
            asked.append(Question(arm, like if like in arms else Arm(control)))
    return [question for question in dict.fromkeys(asked) if question.first in arms and question.second in arms]


def compare(
    cells: Sequence[Cell], asked: Iterable[Question] | None = None, *, reordered: Collection[str] = ()
) -> list[Comparison]:
    """The comparisons of a study, question by question; within one objective by objective, in the order of `cells`.

    `asked`: default `questions(cells)`. `reordered`: the variants that change how batches are made, so that a seed
    no longer fixes their order across them.
    """
    found: list[Comparison] = []
    for question in questions(cells) if asked is None else asked:
        for rows in rivals(cells, question):
            pairs = pairing(question, reordered)
            found += adjusted([paired(first, second, str(question), pairs) for first, second in rows])
    return found


def rivals(cells: Sequence[Cell], question: Question) -> list[list[tuple[Cell, Cell]]]:
    """The cells that a question compares: for each objective, those of the encoders and datasets of both rows."""
    by_arm: dict[Arm, dict[tuple[str, str, str], Cell]] = {}
    for cell in cells:
        by_arm.setdefault(Arm(cell.method, cell.variant), {})[cell.objective, cell.encoder, cell.dataset] = cell
    first, second = by_arm[question.first], by_arm[question.second]
    return [
        [(first[place], second[place]) for place in first if place[0] == objective and place in second]
        for objective in dict.fromkeys(cell.objective for cell in cells)
    ]


def paired(
    first: Cell, second: Cell, question: str, pairs: Literal["batches", "head"], *, other: str | None = None
) -> Comparison:
    """Two cells over the seeds that both have. `other`: the study of the second. Holm's part is left to `adjusted`."""
    seeds = [seed for seed in first.values if seed in second.values]
    differences = [first.values[seed] - second.values[seed] for seed in seeds]
    n, test = len(seeds), sign_flip(differences) if len(seeds) > 1 else None
    mean = statistics.mean(differences) if seeds else None
    low, high = (None, None)
    if mean is not None and n > 1:
        low, high = t_interval(mean, statistics.stdev(differences), n)
    return Comparison(
        question=question,
        encoder=first.encoder,
        dataset=first.dataset,
        objective=first.objective,
        first=side(first, seeds),
        second=side(second, seeds, study=other),
        n=n,
        wanted=min(first.wanted, second.wanted),
        pairing=pairs,
        test=None if test is None else "sign_flip" if test.exact else "sign_flip_sampled",
        difference=mean,
        ci_low=low,
        ci_high=high,
        effect_size=effect_size(differences) if seeds else None,
        p=None if test is None else test.p,
        p_holm=None,
        family=0,
        floor=least_p(n) if n > 1 else None,
        floor_holm=None,
        decisive=False,
        test_texts=first.test_texts,
        standard_error=one_test_set(first),
    )


def adjusted(family: Sequence[Compared]) -> list[Compared]:
    """One family with Holm's adjustment, and what follows from it. What could not be tested is not counted."""
    tested = [index for index, comparison in enumerate(family) if comparison.p is not None]
    p_values = dict(zip(tested, holm([family[index].p or 0.0 for index in tested]), strict=True))
    floors = dict(zip(tested, holm([family[index].floor or 0.0 for index in tested]), strict=True))
    return [
        dataclasses.replace(
            comparison,
            family=len(tested),
            p_holm=p_values.get(index),
            floor_holm=floors.get(index) if comparison.floor is not None else None,
            decisive=index in p_values and p_values[index] < LEVEL and leaves_zero_out(comparison),
        )
        for index, comparison in enumerate(family)
    ]


def better_than_random(comparisons: Iterable[Comparison]) -> frozenset[CellKey]:
    """The cells that are decisively above REFERENCE, random masking, which is what the tables mark."""
    return frozenset(
        CellKey(
            entry.encoder,
            entry.dataset,
            entry.first.method,
            entry.first.variant,
            entry.first.mask_mean,
            entry.objective,
        )
        for entry in comparisons
        if entry.decisive and entry.second.method == REFERENCE != entry.first.method and (entry.difference or 0) > 0
    )


def leaves_zero_out(comparison: Comparison) -> bool:
    """Whether the interval of the difference lies on one side of zero."""
    low, high = comparison.ci_low, comparison.ci_high
    return low is not None and high is not None and (low > 0 or high < 0)


def pairing(question: Question, reordered: Collection[str]) -> Literal["batches", "head"]:
    """What a seed fixes for both rows. An arm that masks nothing draws its batches in its own order (design.md 7)."""
    same = question.first.variant == question.second.variant
    moved = not same and {question.first.variant, question.second.variant} & set(reordered)
    own = not all(METHODS[arm.method].masks for arm in question if arm.method in METHODS)
    return "head" if moved or own else "batches"


def side(cell: Cell, seeds: Sequence[int], *, study: str | None = None) -> Side:
    """A cell over some of its seeds."""
    values = [cell.values[seed] for seed in seeds]
    return Side(
        study=study,
        method=cell.method,
        variant=cell.variant,
        mask_mean=cell.mask_mean,
        n=len(values),
        mean=statistics.mean(values) if values else None,
        std=statistics.stdev(values) if len(values) > 1 else None,
    )


def one_test_set(cell: Cell) -> float | None:
    """Binomial standard error of an accuracy, which no number of seeds lowers; None for another metric."""
    if cell.objective != "accuracy" or cell.mean is None or not cell.test_texts:
        return None
    return standard_error(cell.mean, cell.test_texts)
