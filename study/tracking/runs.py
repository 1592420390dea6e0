"""What MLflow shows of the records: one `RunView` per record. Pure mapping: nothing here imports mlflow.

Levels: study run (role `study`) -> cell runs (role `cell`, key `cell_name`) -> seed runs (role `seed`, record key), and
beside the cells, for the searches: role `search-study` (key `search_name`) -> role `search`, one run per training of a
search, which no cell ever averages. A trajectory gives one record per objective, and each record its own seed run with
the objective as a tag: the two stop, and are read, at different points, so that one run could not hold both.
"""

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, NamedTuple

from study.report.layout import plain
from study.results.aggregate import first_best
from study.store.record import CurvePoint, Failure, Record, Row
from study.tracking.datasets import DIGEST, DatasetView
from study.version import DISTRIBUTION

MAX_PARAM = 6000
"""Characters MLflow keeps of a param value; what is longer is cut here, so that a server's setting does not decide."""
MAX_REASON = 1000
"""Characters of a failure's reason that go into its tag (MLflow takes 8000)."""
OPTIMISTIC = "the best of many noisy means, so too high; tables/search.csv holds the mean over fresh seeds"
"""Tag of a search's run beside its metric `validation_best`."""
NONE = "none"
"""Tag value of a null: MLflow groups by tags that exist, and an absent tag would hide the plain rows."""
CURRENT = "current"
"""Tag of cell and seed runs: `yes`, or `no` for what belongs to earlier settings and no longer to the plan."""
IDENTITY = ("encoder", "dataset", "method", "variant", "mask_mean")


class Point(NamedTuple):
    """One value of a curve."""

    key: str
    value: float
    step: int  # optimizer update of the evaluation


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One MLflow run, as it should stand when whole."""

    role: str
    """seed | cell | search | search-study."""
    key: str
    """Identity within its role: the record key, `cell_name` or `search_name`."""
    name: str
    """Run name shown in the table."""
    tags: dict[str, str]
    """Plain names to filter and group by; `role`, `cell` and, for a record, `trial_key` are among them."""
    status: str
    """RUNNING | FINISHED | FAILED | KILLED."""
    params: dict[str, str] = field(default_factory=dict)
    """Identity and flattened settings; write-once in MLflow. Its parallel coordinates take params and no tags."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Finite values without a step. Empty for a failed trial."""
    curve: tuple[Point, ...] = ()
    """Per-evaluation values, in the order of the record."""
    dataset: DatasetView | None = None
    start: int | None = None
    """Milliseconds since the epoch; None: now."""
    end: int | None = None
    """Milliseconds since the epoch; None: now. Metrics carry it as timestamp: MLflow drops a value logged twice only
    when the timestamps agree, so a clock reading would double the points of a batch that is sent again."""


class MirrorEntry(NamedTuple):
    """Something to be mirrored: a record or a failure, not yet mapped."""

    role: str  # seed | search
    record: Record | Failure
    make: Callable[[Any], RunView]


def seed_view(record: Record) -> RunView:
    """The seed run of one record: test values and those on evaluation sets once, validation values by update."""
    once = {f"test_{name}": value for name, value in record["test"].items()}
    once["validation_best"] = record["validation"][record["objective"]]
    for name, result in record.get("evaluations", {}).items():
        for metric, value in result["metrics"].items():
            once[set_metric(name, metric)] = value
            once[set_metric(name, f"{metric}_gap")] = record["test"][metric] - value
    return _finished("seed", record, once, "")


def search_view(record: Record) -> RunView:
    """The run of one training of a search: validation values at the chosen weights, once; its curves as `curve_...`."""
    once = {f"validation_{name}": value for name, value in record["validation"].items()}
    return _finished("search", record, once, "curve_")


def failure_view(failure: Failure, role: str = "seed") -> RunView:
    """The run of a failed trial: a status and a reason, never a number."""
    reason = " ".join(plain(str(failure["reason"])).split())[:MAX_REASON]
    tags = {**_trial_tags(role, failure), "reason": reason, "attempts": _text(failure.get("attempts"))}
    return RunView(role=role, key=failure["key"], name=_trial_name(role, failure), tags=tags, status="FAILED")


def failed_search_view(failure: Failure) -> RunView:
    """The run of a training of a search that failed."""
    return failure_view(failure, "search")


def parent_view(view: RunView) -> RunView:
    """The run that a seed or search run hangs under, as it is when it is made: no values yet."""
    identity = {name: view.tags[name] for name in IDENTITY}
    row = _of_tags(identity)
    if view.role == "search":
        return search_study_view(row["encoder"], row["dataset"], row["method"])
    tags = {"role": "cell", "cell": view.tags["cell"], CURRENT: view.tags.get(CURRENT, "yes"), **identity}
    name = view.tags["cell"]
    return RunView(role="cell", key=name, name=name, tags=tags, status="RUNNING", params=identity_params(row))


def search_study_view(encoder: str, dataset: str, method: str) -> RunView:
    """The run that the trainings of one search hang under."""
    name = search_name(encoder, dataset, method)
    shared = {"encoder": encoder, "dataset": dataset, "method": method}
    return RunView(
        role="search-study",
        key=name,
        name=name,
        tags={"role": "search-study", "cell": name, **shared},
        status="RUNNING",
        params=shared,
    )


def finding_view(finding: Mapping[str, Any]) -> RunView:
    """The same run once the search has found something, as a `study.search.stage.Finding` has it."""
    view = search_study_view(finding["encoder"], finding["dataset"], finding["method"])
    best = {f"best_{_legal(name)}": v for name, v in finding["values"].items() if isinstance(v, int | float)}
    values = {"validation_best": finding["validation"], "settings_tried": finding["trials"], **best}
    found = ", ".join(f"{name}={_text(value)}" for name, value in finding["values"].items())
    tags = {**view.tags, "found": found[:MAX_PARAM], "validation_best": OPTIMISTIC}
    return replace(view, tags=tags, metrics=finite(values), status="FINISHED")


def cell_name(identity: Row) -> str:
    """`encoder/dataset/method[/variant][/mean=0.15]`: the tag `cell` of a cell run and of its seed runs."""
    parts = [identity["encoder"], identity["dataset"], identity["method"], identity.get("variant")]
    mean = identity.get("mask_mean")
    parts.append(None if mean is None else f"mean={float(mean)!r}")
    return "/".join(part for part in parts if part is not None)


def search_name(encoder: str, dataset: str, method: str) -> str:
    """`search/encoder/dataset/method`: the tag `cell` of the runs of a search."""
    return "/".join(("search", encoder, dataset, method))


def cell_tags(identity: Row) -> dict[str, str]:
    """Tags that a cell run shares with its seed runs; a null becomes `none`."""
    return {"cell": cell_name(identity), **{name: _text(identity.get(name)) for name in IDENTITY}}


def identity_params(identity: Row) -> dict[str, str]:
    """The identity as params, for charts; `mask_mean` is a number there, 0 for a method that masks nothing."""
    params = {name: _text(identity.get(name)) for name in IDENTITY}
    return {**params, "mask_mean": repr(float(identity.get("mask_mean") or 0.0))}


def set_metric(evaluation: str, rest: str) -> str:
    """`ood.<set>.<rest>`: the name of a metric on an evaluation set."""
    return f"ood.{evaluation}.{rest}"  # MLflow allows every character that the name of a set may have


def flatten(settings: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested settings -> dotted names and stable text: strings as they are, everything else as JSON."""
    flat: dict[str, str] = {}
    for key, value in settings.items():
        name = f"{prefix}{_legal(str(key))}"
        if isinstance(value, Mapping) and value:
            flat |= flatten(value, f"{name}.")
        else:
            flat[name] = (value if isinstance(value, str) else json.dumps(value, sort_keys=True))[:MAX_PARAM]
    return flat


def finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """Without nulls and non-finite values: MLflow stores inf as 1.8e308, which poisons every mean it then takes."""
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def _finished(role: str, record: Record, once: dict[str, Any], prefix: str) -> RunView:
    """The run of a record; `prefix` stands before the names of its curves."""
    run = record["run"]
    start = _milliseconds(run["started"])
    for name in ("epochs_to_best", "epochs_to_stop", "updates", "primary_examples", "mlm_passes"):
        once[name] = record.get(name)
    once["epochs_to_first_best"] = first_best(record)
    once["seconds"] = run["seconds"]
    identity = identity_params(record) | {"objective": record["objective"], "seed": str(record["seed"])}
    kind = {"revision": record["revision"], "data_hash": record["data_hash"]}
    tags = {**_trial_tags(role, record), "commit": _text(run.get("commit")), "device": _text(run.get("device"))}
    tags["version"] = _text(run.get("versions", {}).get(DISTRIBUTION))
    if "retried_in_float32" in record:
        tags["retried_in_float32"] = record["retried_in_float32"][:MAX_PARAM]
    return RunView(
        role=role,
        key=record["key"],
        name=_trial_name(role, record),
        tags=tags | {"host": _text(run.get("host")), "attempts": _text(run.get("attempts"))},
        status="FINISHED",
        params=flatten(record["settings"]) | identity | kind,
        metrics=finite(once),
        curve=tuple(_points(record["curve"], prefix)),
        dataset=DatasetView(record["dataset"], record["data_hash"][:DIGEST]),
        start=start,
        end=start + round(1000 * run["seconds"]),
    )


def _of_tags(tags: Mapping[str, str]) -> Row:
    return {
        "encoder": tags["encoder"],
        "dataset": tags["dataset"],
        "method": tags["method"],
        "variant": None if tags["variant"] == NONE else tags["variant"],
        "mask_mean": None if tags["mask_mean"] == NONE else float(tags["mask_mean"]),
    }


def _trial_tags(role: str, trial: Record | Failure) -> dict[str, str]:
    tags = {"role": role, "trial_key": trial["key"], "trajectory": _text(trial.get("trajectory"))}
    tags |= {"objective": trial["objective"], "seed": str(trial["seed"]), **cell_tags(trial)}
    return tags if role == "seed" else {**tags, "cell": _search_name(trial)}


def _trial_name(role: str, trial: Record | Failure) -> str:
    """What tells neighbours apart stands first: the UI cuts names at the end."""
    if role == "seed":
        return f"seed {trial['seed']} {trial['objective']} {cell_name(trial)}"
    mean = "" if trial["mask_mean"] is None else f"mean={float(trial['mask_mean'])!r} "
    return f"{mean}seed {trial['seed']} {_search_name(trial).removeprefix('search/')}"


def _search_name(trial: Row) -> str:
    return search_name(trial["encoder"], trial["dataset"], trial["method"])


def _points(curve: Iterable[CurvePoint], prefix: str) -> Iterable[Point]:
    """`validation_<metric>`, `train_loss_<task>`, `task_weight_<task>` and `epoch` of every evaluation."""
    for evaluation in curve:
        values: dict[str, float | None] = {f"{prefix}epoch": evaluation["epoch"]}
        parts = {
            "validation": evaluation["validation"],
            "train_loss": evaluation["train_loss"],
            "task_weight": evaluation["task_weights"],
        }
        for start, numbers in parts.items():
            values |= {f"{prefix}{start}_{_legal(name)}": value for name, value in numbers.items()}
        yield from (Point(name, value, int(evaluation["update"])) for name, value in finite(values).items())


def _legal(name: str) -> str:
    """`name` with each character MLflow refuses in a key turned into `_`."""
    return re.sub(r"[^\w\-.:/ ]", "_", name, flags=re.ASCII)


def _text(value: object) -> str:
    return NONE if value is None else plain(str(value))


def _milliseconds(moment: str) -> int:
    return round(1000 * datetime.fromisoformat(moment).timestamp())
