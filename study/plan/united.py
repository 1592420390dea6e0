"""Datasets whose splits are cut anew with each seed of a study: the content of each cut, and the texts of all."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from l3masking.data.pairs import Text, parts_of
from l3masking.data.spec import DataSpec
from l3masking.data.table import TextData, load_data
from l3masking.data.textdata import hash_of
from l3masking.errors import InputError
from study.space.spec import StudySpec
from study.store.whole_files import content_key


@dataclass(frozen=True, kw_only=True)
class DataIdentity:
    """What names a dataset, or all its splits."""

    content_hash: str
    evaluations: Mapping[str, str]  # evaluation set -> content hash
    mlm_units: int | None  # masked-LM texts, where they are not as many as those of train
    splits: Mapping[str, str] = field(default_factory=dict)  # seed -> content hash, where each seed has its own cut
    united: str | None = None  # hash of the texts that all these splits mask


@dataclass(frozen=True, kw_only=True)
class UnitedSource:
    """All texts that the masked LM of a dataset may read, whatever the split: they are scored once for all splits."""

    name: str
    spec: DataSpec
    content_hash: str

    def __hash__(self) -> int:
        return hash((self.name, self.content_hash))

    def texts(self) -> tuple[Text, ...]:
        """Distinct ones, sorted. InputError where the content has changed since it was pinned."""
        return _held_texts(self)


@lru_cache(maxsize=1)
def _held_texts(source: UnitedSource) -> tuple[Text, ...]:
    found = united_texts(source.spec, source.name)
    if hash_of([found]) != source.content_hash:
        raise InputError(f"dataset {source.name}: its content has changed since the study was planned; run it again")
    return found


def evaluation_hashes(data: TextData) -> dict[str, str]:
    """The content hash of each evaluation set of a dataset."""
    return {name: one.content_hash for name, one in data.evaluations.items()}


def facts_of(data: TextData) -> DataIdentity:
    """What names a dataset of one split."""
    units = len(data.mlm_texts)
    return DataIdentity(
        content_hash=data.content_hash,
        evaluations=evaluation_hashes(data),
        mlm_units=None if units == len(data.train) else units,
    )


def facts_by_seed(
    spec: DataSpec, name: str, seeds: Iterable[int], *, offline: bool = False
) -> tuple[TextData, DataIdentity]:
    """The split of seed 0, and what names those of all `seeds`. InputError where they have other classes."""
    first = load_data(spec.of_seed(0), name=name, offline=offline)
    splits = {}
    for seed in seeds:
        data = first if seed == 0 else load_data(spec.of_seed(seed), name=name, offline=offline)
        if data.labels != first.labels:
            raise InputError(
                f"dataset {name}: split_seed is per_seed, and the cut of seed {seed} leaves train with other classes "
                f"than that of seed 0 (overlap: {spec.overlap}): give a number"
            )
        splits[str(seed)] = data.content_hash
    whole = content_key({"split_seed": "per_seed", "cut of seed 0": first.content_hash})
    texts = hash_of([united_texts(spec, name, offline=offline)])
    return first, dataclasses.replace(facts_of(first), content_hash=whole, splits=splits, united=texts)


def united_texts(spec: DataSpec, name: str, *, offline: bool = False) -> tuple[Text, ...]:
    """The distinct texts that masked LM may read under any seed, sorted.

    They are the units that `mlm` names, or all rows of which train and the cut splits are made.
    """
    whole = dataclasses.replace(spec.of_seed(0), overlap="keep", evaluation_sets={})
    data = load_data(whole, name=name, offline=offline)
    parts = [data.mlm_texts]
    if spec.mlm == "instance":
        parts += [getattr(data, part).texts for part in spec.cut]
    return tuple(sorted({text for part in parts for text in part}, key=parts_of))


def seeds_of(spec: StudySpec) -> list[int]:
    """Every seed of a study: those of the grid, and those of its search."""
    return [*spec.seeds, *(spec.search.seed_list if spec.search is not None else ())]
