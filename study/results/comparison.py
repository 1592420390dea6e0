"""One comparison as data: two rows of a study on one encoder, dataset and objective. Fractions only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from study.results.aggregate import CellKey
from study.results.equivalence import Concluded

Pairing = Literal["batches", "head"]  # what a seed fixes for both rows: head, splits and (batches) their order too


class Arm(NamedTuple):
    """A row of the result table: what stays the same over encoders and datasets."""

    method: str
    variant: str | None = None

    def __str__(self) -> str:
        return f"{self.method} @ {self.variant}" if self.variant else self.method

    @classmethod
    def named(cls, text: str) -> Arm:
        """The row called "method" or "method @ variant"."""
        method, _, variant = (part.strip() for part in text.partition("@"))
        return cls(method, variant or None)


class Question(NamedTuple):
    """Is the first row better than the second?"""

    first: Arm
    second: Arm

    def __str__(self) -> str:
        return f"{self.first} vs {self.second}"

    @property
    def turned(self) -> Question:
        """The same question with its rows in the other order."""
        return Question(self.second, self.first)


class Budget(NamedTuple):
    """What a search has spent on a row."""

    settings: int  # tried, 1 and up
    seeds: int  # trainings of each of them, 1 and up


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
    settings_tried: int | None = None  # by the search that found the setting of the row; None: it was declared
    search_seeds: int | None = None  # trainings of each of them


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One difference, first minus second, and how sure it is. What cannot be said is None."""

    question: str  # the two rows, as "l3masking vs rtm"
    encoder: str
    dataset: str
    objective: str
    first: Side
    second: Side
    n: int  # pairs of seeds; 0 where nothing is paired
    wanted: int  # seeds that the study asks for on both sides
    finished: bool  # every wanted seed of both sides has finished, or has failed for good
    pairing: Pairing | None
    test: Literal["sign_flip", "sign_flip_sampled", "welch"] | None
    difference: float | None  # of the means, fraction
    ci_low: float | None  # 95 % interval over seeds: t of the paired differences, or Welch's
    ci_high: float | None
    joint_low: float | None = None  # 95 % interval over seeds and test texts; None if the labels are not known
    joint_high: float | None = None
    effect_size: float | None  # Cohen's d_z; None if unpaired
    p: float | None  # two-sided
    confirmatory: bool = False  # of the family that the space declares; else exploratory
    family: int = 0  # comparisons that are planned in its family, itself included
    complete: int = 0  # those of them that are finished
    p_holm: float | None = None  # adjusted within its family
    floor: float | None  # the least p that differences of these sizes can give
    floor_holm: float | None = None  # the same after adjustment, if every test of the family were at its floor
    test_texts: int | None  # in the test set
    standard_error: float | None  # binomial, of one accuracy on that test set, fraction; None for other metrics
    superiority: float | None = None  # share of the seeds on which the first is better, a tie counting half
    superiority_low: float | None = None  # its exact 95 % interval
    superiority_high: float | None = None
    effect_size_unbiased: float | None = None  # d_z with Hedges' correction
    margin: float | None = None  # largest difference that does not matter, fraction; None: nobody named one
    p_equivalence: float | None = None  # of two one-sided tests of a difference within the margin
    conclusion: Concluded | None = None  # None if the verdict gives another reason
    seeds_needed: int | None = None  # that would decide what is undecided; None if nobody can tell
    assumed: float | None = None  # true difference for which they are enough, fraction
    only_first: int | None = None  # test texts that the vote of the first's seeds alone gets right
    only_second: int | None = None
    p_mcnemar: float | None = None  # mid-p of these two counts
    notes: tuple[str, ...] = ()


def compared_cell(entry: Comparison, side: Side) -> CellKey:
    """The cell that stands on one side of a comparison within a study."""
    return CellKey(entry.encoder, entry.dataset, side.method, side.variant, side.mask_mean, entry.objective)
