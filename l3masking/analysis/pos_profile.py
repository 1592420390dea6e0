"""Mean mask probability of each part of speech (Kimura et al. 2024, Tables 4 and 5). Numbers alone, without torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError

MIN_COUNT = 10  # tokens of a tag, below which the paper drops it
NUM_RANKED = 5  # tags in Tables 4 and 5


@dataclass(frozen=True)
class TagRow:
    """One part of speech."""

    tag: str
    count: int  # tokens
    mean: float  # mask probability, in [0, 1]
    std: float | None  # sample standard deviation over the tokens; None for one token


@dataclass(frozen=True, kw_only=True)
class TagProfile:
    """The mask probabilities of the tokens of some texts, by part of speech."""

    wanted: float  # average mask probability that was asked for: what random masking gives every tag
    tokens: int  # eligible tokens
    untagged: int  # of them, those in no word of the tagger
    rows: tuple[TagRow, ...]  # tags with enough tokens, highest mean first, equal ones by name
    rare: tuple[TagRow, ...]  # the others, by name

    def highest(self, count: int = NUM_RANKED) -> tuple[TagRow, ...]:
        """The tags that are masked most often (Table 4)."""
        return self.rows[:count]

    def lowest(self, count: int = NUM_RANKED) -> tuple[TagRow, ...]:
        """The tags that are masked least often, the least first, equal ones by name (Table 5)."""
        return tuple(sorted(self.rows, key=lambda row: (row.mean, row.tag))[:count])


def tag_profile(
    probabilities: Iterable[NDArray[np.float64]],
    tags: Iterable[Sequence[str | None]],
    *,
    wanted: float,
    min_count: int = MIN_COUNT,
) -> TagProfile:
    """The profile of some texts.

    probabilities: [n] per text, of its eligible tokens. tags: n per text, None for a token without one. wanted: the
    average mask probability, in [0, 1]. min_count: tokens that a tag must have to be shown, at least 1. Means are taken
    as `wanted` plus the mean deviation from it, so that equal probabilities give exactly that number. Raises InputError
    for another min_count, or where probabilities and tags do not belong to the same texts.
    """
    if min_count < 1:
        raise InputError(f"min_count is {min_count}: at least 1 token")
    names: dict[str | None, int] = {None: 0}
    numbers: list[int] = []
    values: list[NDArray[np.float64]] = []
    for text, of_text in zip(probabilities, tags, strict=True):
        if len(text) != len(of_text):
            raise InputError(f"text {len(values)} has {len(text)} probabilities and {len(of_text)} tags: one per token")
        values.append(np.asarray(text, dtype=np.float64))
        numbers += [names.setdefault(tag, len(names)) for tag in of_text]
    deviations = np.concatenate([np.zeros(0), *values]) - wanted
    tag_of = np.asarray(numbers, dtype=np.int64)
    rows = [
        _row(tag, deviations[tag_of == number], wanted)
        for tag, number in sorted((tag, number) for tag, number in names.items() if tag is not None)
    ]
    return TagProfile(
        wanted=wanted,
        tokens=len(deviations),
        untagged=int(np.count_nonzero(tag_of == 0)),
        rows=tuple(sorted((row for row in rows if row.count >= min_count), key=lambda row: (-row.mean, row.tag))),
        rare=tuple(row for row in rows if row.count < min_count),
    )


def _row(tag: str, deviations: NDArray[np.float64], wanted: float) -> TagRow:
    mean = math.fsum(deviations) / len(deviations)
    std = float(np.std(deviations, ddof=1)) if len(deviations) > 1 else None
    return TagRow(tag, len(deviations), wanted + mean, std)
