"""One training, named by the content of everything that may change its result.

What cannot move a method's numbers is no part of its key: STL does not read mask settings, random masking does not
read scores, nothing reads `resources`. So changing such a setting recomputes nothing.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from l3masking.masking.policies.kept import FilePolicy
from l3masking.methods import Method
from l3masking.stages import Adapt, Finetune, Stage
from study.space.relevant import as_keyed
from study.store.record import SCHEMA
from study.store.store import content_key


@dataclass(frozen=True, kw_only=True)
class Identities:
    """What encoders and datasets are, by their names in the space; what is not available is left out."""

    encoders: Mapping[str, str] = field(default_factory=dict)  # Hub commit, or hash of a folder
    datasets: Mapping[str, str] = field(default_factory=dict)  # content hash
    evaluations: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # dataset -> set -> content hash
    corpora: Mapping[str, str] = field(default_factory=dict)  # content hash
    corpus_units: Mapping[str, int] = field(default_factory=dict)  # units of text
    # dataset -> masked-LM texts, where these are not as many as those of train: epochs of all arms are passes over them
    mlm_units: Mapping[str, int] = field(default_factory=dict)
    # of datasets whose splits are cut anew with each seed
    splits: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # dataset -> seed -> content hash
    united: Mapping[str, str] = field(default_factory=dict)  # dataset -> hash of the texts that all its splits mask

    def data_hash(self, dataset: str, seed: int | None) -> str | None:
        """The content of a dataset as trainings with `seed` read it; None: under any seed."""
        if seed is None or dataset not in self.splits:
            return self.datasets.get(dataset)
        return self.splits[dataset].get(str(seed))


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training: a cell and a seed. It yields one record per objective."""

    encoder: str
    dataset: str
    method: str
    arm: Method  # what that name stands for in the study
    variant: str | None  # None: the plain row
    seed: int
    mask_mean: float | None  # None for a method that masks nothing
    settings: Mapping[str, Any]  # nested; those alone that may change this trial's results
    pending: bool = False  # its settings are still to be found by a search; those here are the plain row's
    revision: str | None  # of the encoder; None if it is not available, and then nothing of this trial can be done
    data_hash: str | None  # the same, of the dataset
    trajectory: str  # key of the training
    keys: Mapping[str, str]  # objective -> key of its record
    whole_hash: str | None = None  # of the dataset under any seed, where its splits are cut anew with each

    @property
    def objectives(self) -> tuple[str, ...]:
        """Those that are wanted of this training."""
        return tuple(self.keys)

    @property
    def cell(self) -> tuple[str, str, str, str | None]:
        """Encoder, dataset, method and variant: what the seeds are averaged over."""
        return self.encoder, self.dataset, self.method, self.variant

    @property
    def name(self) -> str:
        """What it is, in words."""
        return " / ".join(part for part in (*self.cell, f"seed {self.seed}") if part)


def identity_of(
    identities: Identities,
    encoder: str,
    dataset: str,
    method: str,
    arm: Method,
    settings: Mapping[str, Any],
    seed: int | None = None,
) -> dict[str, Any]:
    """All but the seed that may change what a training gives; the splits are those of `seed`, or (None) of all."""
    last = arm.last
    identity = {
        "schema": SCHEMA,
        "encoder": encoder,
        "revision": identities.encoders.get(encoder),
        "dataset": dataset,
        "data_hash": identities.data_hash(dataset, seed),
        "method": method,
        "policy": last.policy,
        "weighting": last.weighting if isinstance(last, Finetune) else None,
        "settings": keyed(settings),
    }
    if len(arm.stages) > 1 or not isinstance(last, Finetune) or arm.own_policies:
        identity["stages"] = [stage_identity(arm, stage) for stage in arm.stages]
    if last.update_factor != 1:
        identity["update_factor"] = last.update_factor
    if not arm.masks and dataset in identities.mlm_units:  # for arms that mask it follows from the data
        identity["epoch_texts"] = identities.mlm_units[dataset]
    if (corpus := corpus_of(arm, settings)) is not None:
        identity["corpus_hash"] = identities.corpora.get(corpus)
    return identity


def keyed(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Settings as a key holds them.

    `meta.dev_mode: once` is what `train` was before 2026-12. It keeps the keys of that time, and `train` has others.
    """
    settings = as_keyed(settings)
    meta = settings.get("meta", {})
    word = {"once": "train", "train": "train, drawn in each step"}.get(meta.get("dev_mode"))
    return settings if word is None else {**settings, "meta": {**meta, "dev_mode": word}}


def stage_identity(arm: Method, stage: Stage) -> dict[str, Any]:
    """All of a stage that may change what it gives; of a user's own policy its text and its settings."""
    own = arm.own_policies.get(stage.policy or "")
    more = {"policy_file": [own.content_hash, dict(own.settings)]} if isinstance(own, FilePolicy) else {}
    fields = dataclasses.asdict(stage)
    if fields.get("update_factor") == 1:  # younger than the keys of records
        del fields["update_factor"]
    return {"stage": stage.name, **fields, **more}


def corpus_of(arm: Method, settings: Mapping[str, Any]) -> str | None:
    """The corpus that an arm reads before fine-tuning; None if that is the text of the task, or nothing."""
    named = (corpus_of_stage(stage, settings) for stage in arm.stages)
    return next((name for name in named if name is not None), None)


def corpus_of_stage(stage: Stage, settings: Mapping[str, Any]) -> str | None:
    """The corpus whose texts a stage reads; None: those of the dataset."""
    if not isinstance(stage, Adapt) or stage.text == "task":
        return None
    name: str | None = settings["adapt"]["corpus"]
    return name


def mask_mean(arm: Method, settings: Mapping[str, Any]) -> float | None:
    """The average mask probability of an arm; None for one that masks nothing, or by another rule."""
    if arm.tunes_masks:
        rate: float = settings["mask_tuning"]["rate"]
        return rate
    mean: float | None = settings["masking"]["mean"] if arm.policies else None
    return mean


def new_trial(
    identities: Identities,
    cell: tuple[str, str, str, str | None],
    seed: int,
    arm: Method,
    settings: Mapping[str, Any],
    objectives: Sequence[str],
    *,
    awaits: str | None = None,
    with_test: bool = True,
) -> Trial:
    """The trial of one cell and seed. `awaits`: the key of the search that is still to find its settings.

    with_test: False for a training that reads no test split, and no evaluation set either.
    """
    encoder, dataset, method, variant = cell
    identity = identity_of(identities, encoder, dataset, method, arm, settings, seed) | {"seed": seed}
    if with_test and (sets := identities.evaluations.get(dataset)):
        identity["evaluations"] = dict(sets)
    trajectory = content_key(identity if awaits is None else identity | {"awaits": awaits})
    return Trial(
        encoder=encoder,
        dataset=dataset,
        method=method,
        arm=arm,
        variant=variant,
        seed=seed,
        mask_mean=mask_mean(arm, settings) if awaits is None else None,
        settings=settings,
        pending=awaits is not None,
        revision=identities.encoders.get(encoder),
        data_hash=identities.data_hash(dataset, seed),
        whole_hash=identities.datasets.get(dataset) if dataset in identities.splits else None,
        trajectory=trajectory,
        keys={o: content_key({"trajectory": trajectory, "objective": o}) for o in objectives},
    )
