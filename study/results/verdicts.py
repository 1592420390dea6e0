"""What a comparison says in the end, as one word. `study.report.wording` puts it into sentences.

Only a confirmatory comparison can be decisive: one that the space declares, in a family that is complete, with equal
search budgets on both sides, an adjusted p below LEVEL, and intervals over seeds and over seeds and texts that both
leave zero out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from l3masking.methods import REFERENCE
from study.results.aggregate import CellKey
from study.results.comparison import Comparison, Side, compared_cell
from study.results.power import LEVEL as LEVEL

Verdict = Literal[
    "nothing",  # no seed, or none in common
    "untested",  # one seed, or nothing varies
    "incomplete",  # planned comparisons of its family have seeds left to run
    "undecided",  # the seeds do not agree enough
    "to_confirm",  # exploratory: a finding for fresh seeds
    "unequal_search",  # one row was searched, the other was not, or not as much
    "on_this_test_set",  # the seeds agree, but other test texts might not, or their labels are not known
    "decisive",
]


def verdict(comparison: Comparison) -> Verdict:
    """The verdict on one comparison, from its own fields alone."""
    if comparison.difference is None:
        return "nothing"
    if comparison.p is None or comparison.p_holm is None or comparison.ci_low is None:
        return "untested"
    if comparison.complete < comparison.family:
        return "incomplete"
    if comparison.p_holm >= LEVEL or not leaves_zero_out(comparison.ci_low, comparison.ci_high):
        return "undecided"
    if not comparison.confirmatory:
        return "to_confirm"
    if not equally_searched(comparison):
        return "unequal_search"
    return "decisive" if leaves_zero_out(comparison.joint_low, comparison.joint_high) else "on_this_test_set"


def leaves_zero_out(low: float | None, high: float | None) -> bool:
    """Whether an interval is known and lies on one side of zero."""
    return low is not None and high is not None and (low > 0 or high < 0)


def equally_searched(comparison: Comparison) -> bool:
    """Whether both rows had the same search budget, or none."""
    return _budget(comparison.first) == _budget(comparison.second)


def better_than_random(comparisons: Iterable[Comparison]) -> frozenset[CellKey]:
    """The cells that are decisively above REFERENCE, random masking, which is what the tables mark.

    A question may have been declared either way round.
    """
    marked = set()
    for entry in comparisons:
        above, below = (entry.first, entry.second) if (entry.difference or 0) > 0 else (entry.second, entry.first)
        if below.method == REFERENCE != above.method and verdict(entry) == "decisive":
            marked.add(compared_cell(entry, above))
    return frozenset(marked)


def _budget(side: Side) -> tuple[int | None, int | None]:
    return side.settings_tried, side.search_seeds
