"""Measure aggregation, export and planning of a large study: python tests/benchmarks/large_study.py [--shape SHAPE].

Prints one JSON object: seconds and peak memory (MiB, of a process that does nothing else) for the export of about ten
thousand records and for the plan of about ten thousand trials. The records are made up, as large as real ones (test
sets of 139, 4,043 and 22,500 texts, 60 evaluations), and written through the Store without syncing the disk.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

from study.estimate.summary import summarize
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, write_resolved
from study.plan.trials import Identities, Trial
from study.report.publish import write_tables
from study.space.reader import make_space
from study.space.spec import StudySpec
from study.store.packed import packed
from study.store.record import Probabilities
from study.store.store import SCHEMA, Store
from study.store.whole_files import content_key

TEST_TEXTS = {"acl-arc": 139, "ohsumed": 4043, "imdb": 22500}
CLASSES = {"acl-arc": 6, "ohsumed": 23, "imdb": 2}
PAIRS = [
    *(("bert-base", dataset) for dataset in TEST_TEXTS),
    *(("roberta-base", dataset) for dataset in TEST_TEXTS),
    ("scibert", "acl-arc"),
    ("clinicalbert", "ohsumed"),
]
SHAPES = {"cells": (31, 10), "seeds": (0, 209)}  # variants of the masking methods, seeds: 10,080 and 10,032 records
EVALUATIONS = 60
GOALS = {"export_seconds": 20, "export_mib": 1024, "plan_seconds": 5}


def space(variants: int, seeds: int) -> StudySpec:
    """The paper's grid with further rows."""
    value = {
        "name": "large",
        "pairs": [{"encoder": encoder, "dataset": dataset} for encoder, dataset in PAIRS],
        "seeds": seeds,
        "variants": {f"mean{number:02d}": {"masking.mean": (number + 2) / 100} for number in range(variants)},
    }
    return make_space(value, source="benchmark", folder=Path(), problems=[])


def identities(spec: StudySpec) -> Identities:
    """Made-up commits and hashes, so that nothing is looked for."""
    return Identities(
        encoders={pair.encoder: f"{pair.encoder}-commit" for pair in spec.pairs},
        datasets={pair.dataset: content_key(pair.dataset) for pair in spec.pairs},
    )


def record(trial: Trial, objective: str, draws: random.Random) -> dict[str, Any]:
    """A record of that trial with made-up values, as large as a real one."""
    texts, classes = TEST_TEXTS[trial.dataset], CLASSES[trial.dataset]
    values = {name: round(draws.gauss(0.75, 0.02), 6) for name in ("accuracy", "macro_f1")}
    point = {"train_loss": {"primary": 1.2345678901, "mlm": 2.3456789012}, "task_weights": {"primary": 0.5, "mlm": 0.5}}
    return {
        "schema": SCHEMA,
        "key": trial.keys[objective],
        "trajectory": trial.trajectory,
        "study": "large",
        **{name: getattr(trial, name) for name in ("encoder", "dataset", "method", "variant", "mask_mean", "seed")},
        **{name: getattr(trial, name) for name in ("revision", "data_hash", "settings")},
        "objective": objective,
        "labels": [f"label {number}" for number in range(classes)],
        "curve": [{"update": 30 * step, "epoch": step / 2, **point, **values} for step in range(EVALUATIONS)],
        "test": values,
        "validation": values,
        "test_predictions": draws.choices(range(classes), k=texts),
        "test_probabilities": probabilities(trial.dataset),
        "epochs_to_best": 10.5,
        "epochs_to_first_best": 9.5,
        "epochs_to_stop": 20.5,
        "mlm_passes": 20.5,
        "updates": 30 * EVALUATIONS,
        "run": {"seconds": 100.0, "host": "here", "device": "cpu", "threads": 1, "attempts": 1},
    }


@lru_cache
def probabilities(dataset: str) -> Probabilities:
    """Of every record of that dataset the same, since only their length matters here."""
    return packed([[1 / CLASSES[dataset]] * CLASSES[dataset]] * TEST_TEXTS[dataset])


def write_study(root: Path, spec: StudySpec) -> int:
    """Every record of the study, two trials failed instead; returns how many there are."""
    resolved, store, draws = Resolved(spec, identities(spec)), Store(root), random.Random(1)
    write_resolved(root, resolved)
    entries = [(trial, objective) for trial in make_plan(*resolved) for objective in trial.keys]
    for number, (trial, objective) in enumerate(entries):
        made = record(trial, objective, draws)
        if number < 2:
            store.fail(made | {"reason": "out of memory", "traceback": "", "attempts": 3})
        else:
            store.commit(made)
    return len(entries) - 2


def measure(root: Path) -> dict[str, float]:
    """Seconds and peak memory of one export in this process."""
    start, cpu = time.perf_counter(), time.process_time()
    write_tables(root)
    return {
        "export_seconds": round(time.perf_counter() - start, 2),
        "export_cpu_seconds": round(time.process_time() - cpu, 2),  # says more on a busy machine
        "export_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def plan_seconds() -> tuple[int, float]:
    """How many trials are planned, and how long that takes: make_plan and summarize, on a folder without a record."""
    spec = space(62, 10)
    start = time.perf_counter()
    trials = make_plan(spec, identities(spec))
    summarize(spec, trials, [])
    return len(trials), round(time.perf_counter() - start, 2)


def main() -> None:
    """Print the numbers; exit 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shape", choices=SHAPES, default="cells")
    parser.add_argument("--measure", type=Path, help="export this study's folder and print what that took")
    parser.add_argument("--keep", type=Path, help="write the study here and leave it")
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measure(given.measure)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        root = given.keep or Path(temporary) / "study"
        root.mkdir(parents=True)
        with mock.patch("os.fsync"):
            records = write_study(root, space(*SHAPES[given.shape]))
        done = subprocess.run([sys.executable, __file__, "--measure", root], capture_output=True, text=True, check=True)
    planned, seconds = plan_seconds()
    found = {"records": records, **json.loads(done.stdout), "planned_trials": planned, "plan_seconds": seconds}
    print(json.dumps(found))
    sys.exit(any(found[name] > goal for name, goal in GOALS.items()))


if __name__ == "__main__":
    main()
