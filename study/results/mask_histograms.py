"""How mask probabilities are spread over the tokens of the masked-LM texts, for each row that masks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from study.results.aggregate import Cell, CellKey
from study.results.courses import Course

COLUMNS_OF_BINS = (*CellKey._fields[:-1], "seeds", "low", "high", "tokens", "share_below_high")


@dataclass(frozen=True, kw_only=True)
class MaskDistribution:
    """Eligible tokens of one row by their mask probability, the texts of all its seeds together."""

    key: CellKey  # under the first objective of the row, which plays no part here
    seeds: int
    counts: tuple[int, ...]
    """[B] tokens with a probability in [b / B, (b + 1) / B); the last bin includes 1."""

    @property
    def edges(self) -> list[float]:
        """[B + 1] ends of the bins, from 0 to 1."""
        return [b / len(self.counts) for b in range(len(self.counts) + 1)]

    @property
    def share_below(self) -> list[float]:
        """[B + 1] share of the tokens with a probability below each edge; at the last edge, 1, all of them."""
        total = sum(self.counts)
        return [float(part) / total for part in np.cumsum([0, *self.counts])]


def mask_distributions(cells: Sequence[Cell], courses: Iterable[Course]) -> list[MaskDistribution]:
    """One for each row whose records hold a histogram with tokens in it, in the order of the cells.

    The objectives of a training share its masks, so each training counts once.
    """
    found: dict[tuple[object, ...], dict[tuple[str, int], Course]] = {}
    for one in courses:
        if one.mask_histogram is not None and one.mask_histogram.sum():
            found.setdefault(one.key[:-1], {})[one.trajectory, one.seed] = one
    first = {cell.key[:-1]: cell.key for cell in reversed(cells)}
    out = []
    for row in dict.fromkeys(cell.key[:-1] for cell in cells):
        own = [one.mask_histogram for one in found.get(row, {}).values() if one.mask_histogram is not None]
        if own:
            counts = tuple(int(count) for count in np.sum(own, axis=0))
            out.append(MaskDistribution(key=first[row], seeds=len(own), counts=counts))
    return out


def bin_rows(found: Iterable[MaskDistribution]) -> list[list[object]]:
    """A line for each bin of COLUMNS_OF_BINS, empty ones included."""
    return [
        [*one.key[:-1], one.seeds, low, high, tokens, share]
        for one in found
        for low, high, tokens, share in zip(one.edges[:-1], one.edges[1:], one.counts, one.share_below[1:], strict=True)
    ]
