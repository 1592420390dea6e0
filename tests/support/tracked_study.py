"""Records as a study leaves them, and a whole finished study of them, made up in a moment: nothing is trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study.plan.grid import make_plan
from study.plan.resolved import Resolved, write_resolved
from study.plan.searches import searches
from study.plan.trials import Identities, Trial
from study.space.reader import make_space
from study.store.store import Store

SPACE: dict[str, Any] = {
    "name": "tracked",
    "description": "Two encoders, one dataset, *made-up* numbers",
    "pairs": [{"encoder": "bert-base", "dataset": "acl-arc"}, {"encoder": "scibert", "dataset": "acl-arc"}],
    "methods": ["stl", "rtm", "l3masking"],
    "seeds": 3,
}
SEARCH = {"parameters": {"masking.mean": {"uniform": [0.05, 0.6], "step": 0.01}}, "trials": 4, "seeds": 2}


def make_record(seed=0, objective="accuracy", method="l3masking", **changes):
    """One record; three evaluations."""
    stl = method == "stl"
    loss = {"primary": 0.5} if stl else {"primary": 0.5, "mlm": 2.25}
    curve = [
        {"update": 30 * i, "epoch": 0.5 * i, "train_loss": loss, "task_weights": dict.fromkeys(loss, 0.5)}
        | {"validation": {"accuracy": 0.5 + 0.0625 * i, "macro_f1": 0.25, "loss": 1.5}}
        for i in (1, 2, 3)
    ]
    record = {"schema": 1, "key": "a" * 32, "trajectory": "f" * 32, "study": "tiny", "encoder": "bert"}
    record |= {"dataset": "acl", "method": method, "variant": None, "mask_mean": None if stl else 0.15}
    record |= {"objective": objective, "seed": seed, "revision": "abc", "data_hash": "def"}
    record |= {"settings": {"optim": {"lr": 1e-4, "betas": [0.9, 0.98]}}, "labels": ["a", "b"]}
    record |= {"test": {"accuracy": 0.75 + seed / 16, "macro_f1": 0.5}}
    record |= {"validation": {"accuracy": 0.6875, "macro_f1": 0.25}, "epochs_to_best": 1.5, "epochs_to_stop": 2.0}
    record |= {"updates": 90, "primary_examples": 640, "mlm_passes": 0.0 if stl else 2.0, "curve": curve}
    record["run"] = {"seconds": 12.5, "host": "h", "device": "cpu", "threads": 1, "commit": None, "attempts": 1}
    record["run"]["versions"] = {"l3masking-study": "0.1.0", "torch": "2.13.0"}
    record["run"]["started"] = "2026-01-02T03:04:05+00:00"
    return record | changes


def make_failure(record, reason="loss is\nnan at update 7"):
    """The failure of the trial that `record` would be of."""
    identity = ("key", "encoder", "dataset", "method", "variant", "mask_mean", "objective", "seed")
    return {name: record[name] for name in identity} | {"reason": reason, "traceback": "Traceback ...", "attempts": 2}


def make_search_record(seed=1_000_000, mean=0.3, **changes):
    """The record of one training of a search: no test values."""
    settings = {"masking": {"mean": mean}, "optim": {"lr": 1e-4}}
    changes = {"variant": "search", "mask_mean": mean, "settings": settings, **changes}
    return {name: value for name, value in make_record(seed, **changes).items() if name != "test"}


def trial_records(trial: Trial, *, evaluations: int = 8) -> list[dict[str, Any]]:
    """What a trial might have given: better methods, rising curves, a wobble by seed."""
    lift = {"stl": 0.0, "rtm": 0.02, "l3masking": 0.035}.get(trial.method, 0.01)
    lift += 0.05 * (trial.encoder == "scibert") + 0.006 * math.sin(7 * trial.seed + len(trial.method))
    lift -= 0.3 * ((trial.mask_mean or 0.15) - 0.25) ** 2
    losses = {"primary": 1.0} if trial.method == "stl" else {"primary": 1.0, "mlm": 2.5}
    curve = []
    for step in range(1, evaluations + 1):
        near = 1 - math.exp(-step / 3)
        values = {"accuracy": (0.62 + lift) * near, "macro_f1": (0.55 + lift) * near, "loss": 2 - near}
        loss = {name: value * (1.5 - near) for name, value in losses.items()}
        curve.append({"update": 20 * step, "epoch": step / 2, "train_loss": loss, "validation": values})
        curve[-1]["task_weights"] = dict.fromkeys(losses, 1 / len(losses))
    made = []
    for objective, key in trial.keys.items():
        test = {"accuracy": 0.62 + lift, "macro_f1": 0.55 + 0.9 * lift}
        changes = {"encoder": trial.encoder, "dataset": trial.dataset, "variant": trial.variant, "study": "tracked"}
        changes |= {"key": key, "trajectory": trial.trajectory, "mask_mean": trial.mask_mean, "curve": curve}
        changes |= {"settings": trial.settings, "revision": trial.revision, "data_hash": trial.data_hash, "test": test}
        changes |= {"validation": test, "epochs_to_best": 3.0 + trial.seed / 4, "epochs_to_stop": 4.0}
        made.append(make_record(trial.seed, objective, trial.method, **changes))
    return made


def write_study(root: Path, *, searched: bool = False, failing: Sequence[int] = (), **changes: Any) -> Resolved:
    """A finished study in `root`: resolved.yaml, records, and a failure for each position of the plan in `failing`."""
    space = SPACE | ({"search": SEARCH} if searched else {}) | changes
    spec = make_space(space, source="test", folder=root, problems=[])
    known = Identities(
        encoders={pair.encoder: "e" * 40 for pair in spec.pairs}, datasets={p.dataset: "d" * 32 for p in spec.pairs}
    )
    found = {}
    for search in searches(spec, known):
        for number, mean in enumerate((0.1, 0.2, 0.3, 0.45)):
            for seed in search.config.seed_list:
                (record,) = trial_records(search.trial(known, {"masking.mean": mean}, seed))
                Store(root / "search").commit({name: value for name, value in record.items() if name != "test"})
            found[search.key] = {"encoder": search.encoder, "dataset": search.dataset, "method": search.method}
            found[search.key] |= {"values": {"masking.mean": 0.3}, "validation": 0.7, "trials": number + 1}
            found[search.key] |= {"sampler": "TPESampler", "optuna": "5.0.0"}
    resolved = Resolved(spec, known, found)
    root.mkdir(parents=True, exist_ok=True)
    write_resolved(root, resolved)
    store = Store(root)
    for position, trial in enumerate(make_plan(*resolved)):
        for record in trial_records(trial):
            if position in failing:
                store.fail(make_failure(record, "out of memory"))
            else:
                store.commit(record)
    return resolved
