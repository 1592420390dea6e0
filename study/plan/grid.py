"""A study as a list of trials: what is declared, what a search has found, what is left.

A variant that changes nothing that a method reads is no further row of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Sequence
from typing import Any, cast

from l3masking.errors import InputError
from l3masking.methods import Method
from study.plan.searches import Findings, found_setting, searches
from study.plan.trials import Identities, Trial, new_trial
from study.space.relevant import relevant
from study.space.search_section import BEST
from study.space.spec import StudySpec
from study.space.validation import nearest
from study.store.record import Entry

FILTERS = ("encoder", "dataset", "method", "variant", "seed")


def make_plan(spec: StudySpec, identities: Identities, findings: Findings | None = None) -> list[Trial]:
    """All trials of a study, seed by seed: `--limit N` takes whole seeds first. A run starts the longest ones first.

    Of several rows of a method that differ in nothing that it reads, the first one stays; but what a search finds is
    always a row, even where it finds the plain one.
    """
    rows: list[tuple[str, Method, str | None, dict[str, Any]]] = []
    for method in spec.methods:
        arm = spec.arm(method)
        seen: list[dict[str, Any]] = []
        for variant in (None, *spec.variants):
            settings = relevant(spec.variant(variant).settings(), arm)
            if settings not in seen:
                seen.append(settings)
                rows.append((method, arm, variant, settings))
    best = {(s.encoder, s.dataset, s.method): (s, found_setting(s, findings or {})) for s in searches(spec, identities)}
    trials = []
    for seed in spec.seeds:
        for pair in spec.pairs:
            here = pair.encoder, pair.dataset
            for method, arm, variant, settings in rows:
                cell = (*here, method, variant)
                trials.append(new_trial(identities, cell, seed, arm, settings, spec.objectives))
            for method in spec.search_methods:
                search, found = best[*here, method]
                cell = (*here, method, BEST)
                awaits = search.key if found is None else None
                chosen = found or search.settings
                trials.append(new_trial(identities, cell, seed, search.arm, chosen, spec.objectives, awaits=awaits))
    return trials


def left(trials: Iterable[Trial], done: Container[str]) -> list[Trial]:
    """The trials that still lack a record, with the objectives that lack one. `done`: keys of records."""
    open_trials = []
    for trial in trials:
        keys = {objective: key for objective, key in trial.keys.items() if key not in done}
        if keys:
            open_trials.append(trial if len(keys) == len(trial.keys) else dataclasses.replace(trial, keys=keys))
    return open_trials


def of_plan(records: Iterable[Entry], trials: Iterable[Trial]) -> list[Entry]:
    """The records that belong to `trials`, under each variant that the plan has them under now.

    A record is kept when its variant is renamed, or becomes the plain row: its content does not change. A study folder
    also keeps the records of earlier settings, which belong to no plan any more.
    """
    variants: dict[str, list[str | None]] = {}
    for trial in trials:
        for key in trial.keys.values():
            variants.setdefault(key, []).append(trial.variant)
    return [cast(Entry, {**record, "variant": v}) for record in records for v in variants.get(record["key"], ())]


def narrow(trials: Sequence[Trial], only: Sequence[str] = (), limit: int | None = None) -> list[Trial]:
    """The trials that every filter lets through, and of those the first `limit`.

    `only`: texts such as "encoder=bert-base,seed=0"; the same name again allows a further value, and `variant=plain`
    means the rows without one. InputError for a name that is none of FILTERS, or a value that no trial has.
    """
    wanted: dict[str, list[str]] = {}
    for part in (part.strip() for text in only for part in text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals:
            raise InputError(f"--only {part!r}: expected name=value, such as method=stl; names: {', '.join(FILTERS)}")
        if name not in FILTERS:
            raise InputError(f"--only {part!r}: {name!r} is not known; {nearest(name, FILTERS)}")
        there = list(dict.fromkeys(_value(trial, name) for trial in trials))
        if value not in there:
            raise InputError(f"--only {part!r}: no trial has this {name}; {nearest(value, there)}")
        wanted.setdefault(name, []).append(value)
    if limit is not None and limit < 1:
        raise InputError(f"--limit {limit}: expected a number of trials, 1 or more")
    kept = [trial for trial in trials if all(_value(trial, name) in values for name, values in wanted.items())]
    return kept[:limit]


def _value(trial: Trial, name: str) -> str:
    value = getattr(trial, name)
    return "plain" if value is None else str(value)
