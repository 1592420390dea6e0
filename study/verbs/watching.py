"""The verbs that look at a study's folder while it works or afterwards: status."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from study.verbs.options import Folder

if TYPE_CHECKING:
    from study.spec import Resources


def status(folder: Folder) -> None:
    """Show how far a study is, and why trials failed."""
    from study.plan import left, make_plan
    from study.results import planned
    from study.store import Store
    from study.summary import describe, summarize

    spec, identities = planned(folder)
    store = Store(folder)
    trials = make_plan(spec, identities)
    records = store.records()
    done = {record["key"] for record in records}
    print(describe(summarize(spec, trials, records, slots=slots(spec.resources)), trials, done))
    notice(folder)
    keys = {key for trial in left(trials, done) for key in trial.keys.values()}
    failures = [failure for failure in store.failures() if failure["key"] in keys]
    for failure in failures:
        cell = [str(failure[name]) for name in ("encoder", "dataset", "method", "variant") if failure[name]]
        print(f"FAILED {' / '.join(cell)} / seed {failure['seed']} / {failure['objective']}: {failure['reason']}")
    if failures:
        print("the same `l3study run` tries them again")


def slots(resources: Resources) -> int:
    """Trials that run at a time, as far as this machine tells."""
    fits = max(1, int((os.cpu_count() or 1) // resources.cpu))
    return min(fits, resources.workers or fits)


def notice(root: Path) -> None:
    """Say where something was moved aside, in whichever process that happened."""
    for name, what in (("conflicts", "computed twice with different results"), ("quarantine", "damaged")):
        found = sorted((root / name).glob("*"))
        if found:
            print(f"{len(found)} files were {what}: see {root / name}")
