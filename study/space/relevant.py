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
    read = {
        "masking": method.masks or method.needs_scores or bool(method.adapts),
        "meta": method.learns_weights,
        "adapt": bool(method.adapts),
        "selective": method.needs_importance,
        "mask_tuning": method.tunes_masks,
    }
    for section, is_read in read.items():
        if not is_read:
            kept.pop(section, None)
    if method.tunes_masks and not method.adapts and "masking" in kept:  # it masks at its own rate, in its own way
        kept["masking"] = {name: kept["masking"][name] for name in OF_SCORES["masking"][:2]}
    if not kept["final"]["enabled"]:
        kept["final"] = {"enabled": False}
    return kept
