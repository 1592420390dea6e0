"""Which settings of a study an arm reads: the others are no part of its key, so changing them recomputes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from l3masking.methods import Method

OF_SCORES = {"scoring": ("metric", "word_source"), "masking": ("weighting", "redistribute", "floor")}


def relevant(settings: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Of a study's settings those that may change the results of `method`."""
    dropped: dict[str, tuple[str, ...]] = {} if method.needs_scores else OF_SCORES
    kept = {
        section: {name: value for name, value in values.items() if name not in dropped.get(section, ())}
        if isinstance(values, Mapping)
        else values
        for section, values in settings.items()
    }
    if not method.masks:
        del kept["masking"]
    if not method.learns_weights:
        del kept["meta"]
    if not kept["final"]["enabled"]:
        kept["final"] = {"enabled": False}
    return kept
