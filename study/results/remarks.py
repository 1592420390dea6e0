"""What a reader of a dataset's results must know of how its trainings are made, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from l3masking.data.spec import DataSpec
from study.results.generalisation import Judged
from study.space.spec import Generated
from study.store.record import Run


def remarks_of(name: str, spec: DataSpec | Generated) -> tuple[str, ...]:
    """A sentence for each choice of the dataset `name` that makes its trainings other than those of most datasets."""
    if isinstance(spec, Generated):
        return ()
    found = []
    if spec.mlm != "instance":
        found.append(
            f"{name}: an epoch of the settings is a pass over its masked-LM texts, not those of train, for every "
            "method: all plan the same number of updates and are evaluated after the same updates."
        )
    if spec.per_seed:
        what = " and ".join(spec.cut)
        held = "The deviation over seeds holds the choice of test texts too" if "test" in spec.cut else "Test is given"
        found.append(f"{name}: {what} {'are' if len(spec.cut) > 1 else 'is'} cut anew with each seed. {held}.")
    return tuple(found)


def mixed(name: str, runs: Iterable[Run]) -> tuple[str, ...]:
    """A sentence if records of the dataset `name` were not all made with the same program, packages and device."""
    found: dict[str, Counter[str]] = {}
    for run in runs:
        made = {"commit": run.get("commit") or "unknown", "device": run.get("device", "unknown")}
        for what, value in {**made, **run.get("versions", {})}.items():
            found.setdefault(what, Counter())[value] += 1
    several = [
        f"{what}: {', '.join(f'{value} ({count})' for value, count in sorted(values.items()))}"
        for what, values in found.items()
        if len(values) > 1
    ]
    return (f"{name}: its records were not all made with the same {'; '.join(several)}.",) if several else ()


def constant(name: str, records: Sequence[Judged]) -> tuple[str, ...]:
    """A sentence if models of the dataset `name` give all test texts one class: such a model has learned nothing."""
    judged = [record for record in records if len(record.get("test_predictions", ())) > 1]
    found = Counter(record["method"] for record in judged if len(np.unique(record["test_predictions"])) == 1)
    if not found:
        return ()
    methods = ", ".join(f"{method} {count}" for method, count in sorted(found.items()))
    return (
        f"{name}: {found.total()} of {len(judged)} models predict one class for all test texts ({methods}): train them "
        "longer, or with another learning rate, before you compare.",
    )
