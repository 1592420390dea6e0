"""looks.json: how far the confirmatory family was each time that somebody saw its results.

To look, and then to add seeds, gives chance a further turn. Each state is written down once; where a look with fewer
seeds came before, `compare` says so and names the level that makes up for it (Bonferroni over the looks).
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from study.results.comparison import Comparison
from study.results.verdicts import LEVEL, verdict
from study.store.hints import read_hint
from study.store.seal import with_checksum
from study.store.store import Store, write_atomic

LOOKS_FILE = "looks.json"


class Look(NamedTuple):
    """The state of the confirmatory family when its results were shown."""

    seeds: int  # most seeds that a comparison of it had on both sides, 1 and up
    of: int  # most seeds that were planned
    complete: int  # its comparisons that were finished
    planned: int  # its comparisons


def state(comparisons: Iterable[Comparison]) -> Look | None:
    """The state that these comparisons show; None if the family has no result yet."""
    family = [entry for entry in comparisons if entry.confirmatory]
    seeds = max((entry.n for entry in family), default=0)
    if not seeds:
        return None
    return Look(seeds, max(entry.wanted for entry in family), family[0].complete, family[0].family)


def record_look(root: Path, comparisons: Iterable[Comparison]) -> list[Look]:
    """Write down that these were shown, unless the same state was before; returns all looks, the present one last.

    A folder that cannot be written keeps the looks that it has. A file that cannot be read is moved to quarantine/.
    """
    looks, now = read_looks(root), state(comparisons)
    if not looks and (root / LOOKS_FILE).is_file():
        so = "and whether results were looked at before is not known"
        Store(root).quarantine(root / LOOKS_FILE, "damaged", so)
    if now is None:
        return looks
    if now in looks:
        return [*(look for look in looks if look != now), now]
    looks.append(now)
    data: dict[str, Any] = {"looks": [look._asdict() for look in looks]}
    with contextlib.suppress(OSError):  # a study for reading alone: what is shown does not depend on it
        write_atomic(root / LOOKS_FILE, (json.dumps(with_checksum(data), indent=1) + "\n").encode())
    return looks


def read_looks(root: Path) -> list[Look]:
    """The looks that were written down, in their order."""

    def looks(value: Any) -> list[Look]:
        return [Look(*(int(look[name]) for name in Look._fields)) for look in value["looks"]]

    return read_hint(root / LOOKS_FILE, looks) or []


def warnings_of(looks: Sequence[Look], comparisons: Iterable[Comparison]) -> list[str]:
    """What a reader must know of earlier looks; nothing where none of them saw a test with fewer seeds than now."""
    if not looks:
        return []
    now = looks[-1]
    earlier = [look for look in looks if 2 <= look.seeds < now.seeds]  # with one seed there is no test
    if not earlier:
        return []
    turns = len({look.seeds for look in earlier}) + 1
    level = LEVEL / turns
    decisive = [entry for entry in comparisons if verdict(entry) == "decisive"]
    kept = sum(entry.p_holm is not None and entry.p_holm < level for entry in decisive)
    seen = ", ".join(f"{look.seeds} of {look.of}" for look in earlier)
    added = any(look.of < now.of for look in earlier)
    why = "Seeds were added after that, so" if added else "If the number of seeds was chosen after such a look,"
    return [
        f"Warning: results of the confirmatory family were looked at with {seen} seeds, and now with {now.seeds} of "
        f"{now.of}. {why} hold the adjusted p against {LEVEL:g} / {turns} looks = {level:.3g} (Bonferroni); "
        f"{kept} of {len(decisive)} decisive comparisons are below it."
    ]
