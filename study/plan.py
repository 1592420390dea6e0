"""A study as a list of trials, each named by the content of everything that may change its result.

What cannot move a method's numbers is no part of its keys: STL does not read mask settings, random masking does not
read scores, nothing reads `resources`. So changing such a setting recomputes nothing, and a variant that changes
nothing else for a method is no further row of it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from l3masking.errors import InputError
from l3masking.regimes import METHODS, Method
from l3masking.weighting import WEIGHTINGS, MetaConfig
from study.checked import nearest
from study.spec import StudySpec
from study.store import SCHEMA, content_key

FILTERS = ("encoder", "dataset", "method", "variant", "seed")
OF_SCORES = {"scoring": ("metric", "word_source"), "masking": ("weighting", "redistribute", "floor")}


@dataclass(frozen=True, kw_only=True)
class Identities:
    """What encoders and datasets are, by their names in the space; what is not at hand is left out."""

    encoders: Mapping[str, str] = field(default_factory=dict)  # Hub commit, or hash of a folder
    datasets: Mapping[str, str] = field(default_factory=dict)  # content hash


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a cell and a seed. It yields one record per objective."""

    encoder: str
    dataset: str
    method: str
    variant: str | None  # None: the plain row
    seed: int
    mask_mean: float | None  # None for a method that masks nothing
    settings: Mapping[str, Any]  # nested; those alone that may change this trial's results
    revision: str | None  # of the encoder; None where it is not at hand, and then nothing of this trial can be done
    data_hash: str | None  # the same, of the dataset
    trajectory: str  # key of the training
    keys: Mapping[str, str]  # objective -> key of its record

    @property
    def objectives(self) -> tuple[str, ...]:
        """Those that are wanted of this training."""
        return tuple(self.keys)

    @property
    def cell(self) -> tuple[str, str, str, str | None]:
        """Encoder, dataset, method and variant: what the seeds are averaged over."""
        return self.encoder, self.dataset, self.method, self.variant


def make_plan(spec: StudySpec, identities: Identities) -> list[Trial]:
    """All trials of a study, seed by seed: `--limit N` takes whole seeds first. A run starts the longest ones first.

    Of several rows of a method that differ in nothing that it reads, the first one stays.
    """
    rows: list[tuple[str, str | None, dict[str, Any]]] = []
    for method in spec.methods:
        seen: list[dict[str, Any]] = []
        for variant in (None, *spec.variants):
            settings = relevant(spec.variant(variant).settings(), METHODS[method])
            if settings not in seen:
                seen.append(settings)
                rows.append((method, variant, settings))
    return [
        _trial(spec, identities, pair.encoder, pair.dataset, method, variant, seed, settings)
        for seed in spec.seeds
        for pair in spec.pairs
        for method, variant, settings in rows
    ]


def relevant(settings: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Of a study's settings those that may change the results of `method`."""
    dropped: dict[str, tuple[str, ...]] = {} if method.needs_scores else OF_SCORES
    kept = {
        section: {name: value for name, value in values.items() if name not in dropped.get(section, ())}
        if isinstance(values, Mapping)
        else values
        for section, values in settings.items()
    }
    if method.policy is None:
        del kept["masking"]
    if method.policy is None or not WEIGHTINGS[method.weighting](2, MetaConfig()).learns:
        del kept["meta"]
    if not kept["final"]["enabled"]:
        kept["final"] = {"enabled": False}
    return kept


def _trial(
    spec: StudySpec,
    identities: Identities,
    encoder: str,
    dataset: str,
    method: str,
    variant: str | None,
    seed: int,
    settings: Mapping[str, Any],
) -> Trial:
    revision, data_hash = identities.encoders.get(encoder), identities.datasets.get(dataset)
    identity = {
        "schema": SCHEMA,
        "encoder": encoder,
        "revision": revision,
        "dataset": dataset,
        "data_hash": data_hash,
        "method": method,
        "policy": METHODS[method].policy,
        "weighting": METHODS[method].weighting,
        "seed": seed,
        "settings": settings,
    }
    trajectory = content_key(identity)
    return Trial(
        encoder=encoder,
        dataset=dataset,
        method=method,
        variant=variant,
        seed=seed,
        mask_mean=settings["masking"]["mean"] if "masking" in settings else None,
        settings=settings,
        revision=revision,
        data_hash=data_hash,
        trajectory=trajectory,
        keys={o: content_key({"trajectory": trajectory, "objective": o}) for o in spec.objectives},
    )


def left(trials: Iterable[Trial], done: Container[str]) -> list[Trial]:
    """The trials that still lack a record, with the objectives that lack one. `done`: keys of records."""
    open_trials = []
    for trial in trials:
        keys = {objective: key for objective, key in trial.keys.items() if key not in done}
        if keys:
            open_trials.append(trial if len(keys) == len(trial.keys) else dataclasses.replace(trial, keys=keys))
    return open_trials


def of_plan(records: Iterable[Mapping[str, Any]], trials: Iterable[Trial]) -> list[dict[str, Any]]:
    """The records that belong to `trials`, under the variant that the plan has them under now.

    A record is kept when its variant is renamed, or becomes the plain row: its content does not change. A study folder
    also keeps the records of earlier settings, which belong to no plan any more.
    """
    variants = {key: trial.variant for trial in trials for key in trial.keys.values()}
    return [{**record, "variant": variants[record["key"]]} for record in records if record["key"] in variants]


def narrow(trials: Sequence[Trial], only: Sequence[str] = (), limit: int | None = None) -> list[Trial]:
    """The trials that every filter lets through, and of those the first `limit`.

    `only`: texts such as "encoder=bert-base,seed=0"; the same name again allows a further value, and `variant=plain`
    means the rows without one. InputError for a name that is none of FILTERS, or a value that no trial has.
    """
    wanted: dict[str, list[str]] = {}
    for part in (part.strip() for text in only for part in text.split(",")):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in FILTERS or not equals:
            raise InputError(f"--only {part!r}: expected name=value; {nearest(name, FILTERS)}")
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
