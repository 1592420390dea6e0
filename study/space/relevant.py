"""Which settings of a study an arm reads: the others are no part of its key, so changing them recomputes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from l3masking.masking.policies.base import LIKELIHOOD
from l3masking.methods import Method
from l3masking.stages import MaskTune

EQUAL = "uniform"  # the policy that reads neither words nor the shape of probabilities
# Settings that came after the first records, each at the value at which all is as it was before. There they are no part
# of a key or a record, so that earlier records keep their keys.
LATER: Mapping[str, Any] = {
    "scoring.normalise": "none",
    "scoring.context": "truncated",
    "masking.random_exclude_special": True,
    "model.attend_padding": False,
    "train.max_updates": None,
    "train.sampling": "auto",
    "train.on_nonfinite": "fail",
}
# The same of settings whose default is a new value: a record tells which of the two was computed, and only a key leaves
# out the value of the time before. `meta.dev_mode`, whose words have changed, is in study/plan/trials.py.
FORMER: Mapping[str, Any] = {"model.forward": "own"}
# sections that a classifier reads, which tells which tokens matter
OF_CLASSIFIER = ("optim", "train", "evaluate", "stop", "final", "model")


def relevant(settings: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Of a study's settings those that may change the results of `method`."""
    read = {
        "masking": method.masks or bool(method.adapts) or (method.tunes_masks and bool({*method.policies} - {EQUAL})),
        "meta": method.learns_weights,
        "adapt": bool(method.adapts),
        "selective": method.needs_importance,
        "mask_tuning": method.tunes_masks,
    }
    unread = unread_settings(method)
    kept = {
        section: {name: value for name, value in values.items() if f"{section}.{name}" not in unread}
        if isinstance(values, Mapping)
        else values
        for section, values in settings.items()
        if read.get(section, True)
    }
    if not kept["final"]["enabled"]:
        kept["final"] = {"enabled": False}
    if kept["train"].get("sampling") == ("random" if method.masks else "shuffle"):  # what auto stands for
        kept["train"] = {**kept["train"], "sampling": "auto"}
    if settings["precision"] == "float32" and "on_nonfinite" in kept["train"]:  # there is nothing to make again
        kept["train"] = {**kept["train"], "on_nonfinite": "fail"}
    return without_later(kept)


def without_later(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings without those of LATER that are at the value given there."""
    return _without(LATER, settings)


def as_keyed(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings as keys hold them: without those of LATER and FORMER that are at the value given there."""
    return _without({**LATER, **FORMER}, settings)


def _without(left_out: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        section: {
            name: value
            for name, value in values.items()
            if f"{section}.{name}" not in left_out or value != left_out[f"{section}.{name}"]
        }
        if isinstance(values, Mapping)
        else values
        for section, values in settings.items()
    }


def reads(settings: Mapping[str, Any], method: Method, key: str) -> bool:
    """Whether `method` reads the setting of a dotted key. settings: nested, a study's or those that `relevant` gave."""
    section, _, name = key.partition(".")
    part = relevant(settings, method).get(section)
    return isinstance(part, Mapping) and (name in part or (key in LATER and key not in unread_settings(method)))


def unread_settings(method: Method) -> set[str]:
    """Dotted settings that `method` does not read, in sections of which it reads others."""
    shaped = {*method.policies} - {EQUAL}
    unread: set[str] = set()
    if not method.needs_scores:
        unread |= {"scoring.metric", "scoring.context"}
    if not method.rewrites:
        unread.add("scoring.normalise")
    if not shaped and not method.selects:
        unread.add("scoring.word_source")
    if LIKELIHOOD not in method.needs and not method.own_policies:
        unread.add("masking.weighting")
    if not shaped:
        unread |= {"masking.redistribute", "masking.floor"}
    if not method.policies:
        unread |= {"masking.mean", "masking.selection"}
    if not method.selects:
        unread.add("selective.max_rate")
    if all(stage.text == "task" for stage in method.adapts):
        unread.add("adapt.corpus")
    last = method.last
    if isinstance(last, MaskTune):
        if not (last.mlm_loss and last.rounds == 1):
            unread.add("mask_tuning.alpha")
        if not method.adapts:  # it masks at its own rate, in its own way
            of_draws = ("mean", "floor", "selection", "mask_share", "random_share", "random_exclude_special")
            unread |= {f"masking.{name}" for name in of_draws}
    return unread


def artefact_sections(arms: Iterable[Method]) -> set[str]:
    """Sections that the scores and the importance of some arms depend on."""
    importance = any(arm.needs_importance for arm in arms)
    return {"scoring", *(("selective", *OF_CLASSIFIER) if importance else ())}
