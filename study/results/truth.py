"""The true labels of a study's test texts, where the data is available. Records do not hold them.

Nothing is fetched or made: a dataset that is not available, or is another one by now, has a reason instead.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from l3masking.data.table import load_data
from l3masking.errors import EnvironmentFault, InputError
from study.plan.inputs import concrete_data
from study.plan.resolved import Resolved
from study.results.texts import Truth
from study.space.spec import Generated
from study.toyworld.world import find_world


def true_labels(resolved: Resolved, datasets: Iterable[str]) -> tuple[dict[str, Truth], dict[str, str]]:
    """By name: the labels of each dataset, or why there are none."""
    found: dict[str, Truth] = {}
    missing: dict[str, str] = {}
    for name in datasets:
        spec, wanted = resolved.spec.datasets[name], resolved.identities.datasets.get(name)
        if isinstance(spec, Generated) and find_world() is None:
            missing[name] = "its generated texts are not on this machine"
            continue
        try:
            data = load_data(concrete_data(spec), name=name, offline=True)
        except (InputError, EnvironmentFault) as fault:
            missing[name] = str(fault).splitlines()[0]
            continue
        if data.content_hash != wanted:
            missing[name] = "its content has changed since the study ran"
        else:
            found[name] = Truth(np.asarray(data.test.labels, dtype=np.int32), len(data.labels))
    return found, missing
