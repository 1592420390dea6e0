"""The true labels of a study's test texts: as the study keeps them beside its records, else from the data.

Nothing is fetched or made: a dataset that is not available, or is another one by now, has a reason instead.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from l3masking.data.table import DataSpec, load_data
from l3masking.errors import EnvironmentFault, InputError
from study.plan.inputs import concrete_data
from study.plan.resolved import Resolved
from study.results.texts import Truth
from study.space.spec import Generated
from study.store.data_facts import SplitFacts, read_facts
from study.toyworld.world import find_world


class Truths(NamedTuple):
    """The labels of what a study's models were tested on."""

    test: dict[str, Truth]  # dataset -> its test split
    sets: dict[str, dict[str, Truth]]  # evaluation set -> dataset -> the set
    missing: dict[str, str]  # dataset, or dataset and set -> why there are no labels of it


def true_labels(resolved: Resolved, datasets: Iterable[str], root: Path | None = None) -> Truths:
    """The labels of each dataset and its evaluation sets, or why there are none.

    `root`: the study's folder; where it keeps all labels of a dataset (study.store.data_facts), its data are not read.
    """
    found = Truths({}, {}, {})
    for name in datasets:
        if root is not None and _kept(resolved, name, root, found):
            continue
        spec, seed = resolved.spec.datasets[name], resolved.spec.seeds[0]
        wanted = resolved.identities.data_hash(name, seed)
        if isinstance(spec, Generated) and find_world() is None:
            found.missing[name] = "its generated texts are not on this machine"
            continue
        try:
            data = load_data(concrete_data(spec, seed), name=name, offline=True)
        except (InputError, EnvironmentFault) as fault:
            found.missing[name] = str(fault).splitlines()[0]
            continue
        if data.content_hash != wanted:
            found.missing[name] = "its content has changed since the study ran"
            continue
        if not _test_of_each_seed(spec, name, found):
            found.test[name] = Truth(np.asarray(data.test.labels, dtype=np.int32), len(data.labels))
        known = resolved.identities.evaluations.get(name, {})
        for further, one in data.evaluations.items():
            if one.content_hash == known.get(further):
                labels = np.asarray(one.labels, dtype=np.int32)
                found.sets.setdefault(further, {})[name] = Truth(labels, len(one.classes))
            elif further in known:
                found.missing[f"{name}, {further}"] = "its content has changed since the study ran"
    return found


def _test_of_each_seed(spec: DataSpec | Generated, name: str, found: Truths) -> bool:
    """Whether the test split is cut anew with each seed, in which case `found` is told why there are no labels."""
    if not (isinstance(spec, DataSpec) and spec.per_seed and "test" in spec.cut):
        return False
    found.missing[name] = "each seed has its own test texts, so the interval over seeds holds them already"
    return True


def _kept(resolved: Resolved, name: str, root: Path, found: Truths) -> bool:
    """Add to `found` what the study's folder holds of a dataset; whether that is all."""
    spec, seed = resolved.spec.datasets[name], resolved.spec.seeds[0]
    facts = read_facts(root, resolved.identities.data_hash(name, seed))
    if facts is None:
        return False
    if not _test_of_each_seed(spec, name, found):
        found.test[name] = _truth(facts["splits"]["test"])
    sets = resolved.identities.evaluations.get(name, {})
    for further, content in sets.items():
        if content in facts["evaluations"]:
            found.sets.setdefault(further, {})[name] = _truth(facts["evaluations"][content])
    return all(content in facts["evaluations"] for content in sets.values())


def _truth(split: SplitFacts) -> Truth:
    return Truth(np.asarray(split["labels"], dtype=np.int32), len(split["classes"]))
