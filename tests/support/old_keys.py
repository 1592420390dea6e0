"""Keys of the shipped space files as they were on 2026-12-01: a later version must find the records of an earlier one.

`python tests/support/old_keys.py` writes old_keys.json again; do it only where new keys are meant, and say so in the
commit.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from study.plan.grid import make_plan
from study.plan.searches import searches
from study.plan.trials import Identities
from study.space.reader import read_space

FILE = Path(__file__).with_suffix(".json")
SPACES = Path(__file__).parents[2] / "search_spaces"
OLD = ("meta.dev_mode=once", "model.forward=own")  # other values are the default since then
NAMES = ("quickstart", "family", "paper", "table2", "mask_probability", "mask_tuning", "selective", "smoke")


def old_keys(name: str) -> dict[str, str]:
    """Method (or `search <method>`) -> a digest of the keys of its trainings, records and searches."""
    spec = read_space(SPACES / f"{name}.yaml", OLD)
    known = Identities(
        encoders={encoder: f"{encoder}-commit" for encoder in spec.encoders},
        datasets={dataset: f"{dataset}-hash" for dataset in spec.datasets},
        corpora={corpus: f"{corpus}-hash" for corpus in spec.corpora},
    )
    keys: dict[str, list[str]] = {}
    for trial in make_plan(spec, known):
        keys.setdefault(trial.method, []).extend([trial.trajectory, *trial.keys.values()])
    for search in searches(spec, known):
        keys.setdefault(f"search {search.method}", []).append(search.key)
    return {method: hashlib.sha256(" ".join(sorted(found)).encode()).hexdigest()[:16] for method, found in keys.items()}


if __name__ == "__main__":
    FILE.write_text(json.dumps({name: old_keys(name) for name in NAMES}, indent=1) + "\n")
