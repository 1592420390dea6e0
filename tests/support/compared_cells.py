"""Cells whose seeds have given values, to compare; no tests here."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence

from result_cells import cell

from study.results.aggregate import Cell


def seeded(method: str, values: Sequence[float] | Mapping[int, float], **more) -> Cell:
    """A cell with these test values, by seed or from seed 0 on; ten seeds are wanted."""
    by_seed = dict(values) if isinstance(values, Mapping) else dict(enumerate(values))
    n = len(by_seed)
    numbers = {"n": n, "failed": 0, "wanted": 10, "values": by_seed, "test_texts": 139}
    std = statistics.stdev(by_seed.values()) if n > 1 else None
    return cell(method, statistics.mean(by_seed.values()) if n else None, **numbers | {"std": std} | more)


def better(by: Sequence[float], than: Sequence[float], **more) -> list[Cell]:
    """RTM at `than` and L3Masking above it by `by`."""
    return [seeded("rtm", than, **more), seeded("l3masking", [t + b for t, b in zip(than, by, strict=True)], **more)]
