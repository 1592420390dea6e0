"""What MLflow shows of the records: one `RunView` per seed and per cell. Pure mapping: nothing here imports mlflow.

Levels: study run (role `study`) -> cell runs (role `cell`, key `cell_name`) -> seed runs (role `seed`, record key).
A trajectory gives one record per objective, and each record gives its own seed run with the objective as a tag: the two
stop, and are read, at different points, so that one run could not hold both without doubling every metric name.
"""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from study.aggregate import Cell

MAX_PARAM = 6000
"""Characters MLflow keeps of a param value; what is longer is cut here, so that a server's setting does not decide."""
MAX_REASON = 1000
"""Characters of a failure's reason that go into its tag (MLflow takes 8000)."""
NONE = "none"
"""Tag value of a null: MLflow groups by tags that exist, and an absent tag would hide the plain rows."""


class Point(NamedTuple):
    """One value of a validation curve."""

    key: str
    value: float
    step: int  # optimizer update of the evaluation


@dataclass(frozen=True, kw_only=True)
class RunView:
    """One MLflow run, as it should stand when whole."""

    role: str
    """seed | cell."""
    key: str
    """Identity within its role: the record key of a seed run, `cell_name` of a cell run."""
    name: str
    """Run name shown in the table."""
    tags: dict[str, str]
    """Plain names to filter and group by; `role`, `cell` and, for a seed, `trial_key` are among them."""
    status: str
    """FINISHED | FAILED | KILLED."""
    params: dict[str, str] = field(default_factory=dict)
    """Flattened settings; write-once in MLflow."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Finite values without a step. Empty for a failed trial."""
    curve: tuple[Point, ...] = ()
    """Per-evaluation values, in the order of the record."""
    start: int | None = None
    """Milliseconds since the epoch; None: now."""
    end: int | None = None
    """Milliseconds since the epoch; None: now. Metrics carry it as timestamp: MLflow drops a value logged twice only
    when the timestamps agree, so a clock reading would double the points of a batch that is sent again."""


def seed_view(record: Mapping[str, Any]) -> RunView:
    """The seed run of one record: test values once, validation values by update."""
    run = record["run"]
    start = _milliseconds(run["started"])
    once = {f"test_{name}": value for name, value in record["test"].items()}
    once["validation_best"] = record["validation"][record["objective"]]
    for name in ("epochs_to_best", "epochs_to_stop", "updates", "primary_examples", "mlm_passes"):
        once[name] = record.get(name)
    once["seconds"] = run["seconds"]
    params = {**flatten(record["settings"]), "revision": record["revision"], "data_hash": record["data_hash"]}
    tags = {**_seed_tags(record), "commit": _text(run.get("commit")), "device": _text(run.get("device"))}
    tags |= {"host": _text(run.get("host")), "attempts": _text(run.get("attempts"))}
    return RunView(
        role="seed",
        key=record["key"],
        name=_seed_name(record),
        tags=tags,
        status="FINISHED",
        params=params,
        metrics=_finite(once),
        curve=tuple(_points(record["curve"])),
        start=start,
        end=start + round(1000 * run["seconds"]),
    )


def failure_view(failure: Mapping[str, Any]) -> RunView:
    """The seed run of a failed trial: a status and a reason, never a number."""
    reason = " ".join(str(failure["reason"]).split())[:MAX_REASON]
    tags = {**_seed_tags(failure), "reason": reason, "attempts": _text(failure.get("attempts"))}
    return RunView(role="seed", key=failure["key"], name=_seed_name(failure), tags=tags, status="FAILED")


def cell_views(cells: Iterable["Cell"]) -> list[RunView]:
    """One view per encoder × dataset × method × variant × mean; the objectives of a cell share its run.

    Metrics: `test_<objective>_mean|_std|_n|_failed|_wanted|_ci_low|_ci_high` (fractions; sample standard deviation;
    95 % interval) and `<objective>_epochs_to_best_mean|_epochs_to_stop_mean`. The bare `epochs_to_best_mean`,
    `epochs_to_stop_mean` and `epochs_mean` (epochs trained: to the stop) are those of the first objective given.
    """
    grouped: dict[str, list[Cell]] = {}
    for cell in cells:
        grouped.setdefault(cell_name(_identity(cell)), []).append(cell)
    return [_cell_view(name, group) for name, group in grouped.items()]


def cell_name(identity: Mapping[str, Any]) -> str:
    """`encoder/dataset/method[/variant][/mean=0.15]`: the tag `cell` of a cell run and of its seed runs."""
    parts = [identity["encoder"], identity["dataset"], identity["method"], identity.get("variant")]
    mean = identity.get("mask_mean")
    parts.append(None if mean is None else f"mean={float(mean)!r}")
    return "/".join(part for part in parts if part is not None)


def cell_tags(identity: Mapping[str, Any]) -> dict[str, str]:
    """Tags that a cell run shares with its seed runs; a null becomes `none`."""
    names = ("encoder", "dataset", "method", "variant", "mask_mean")
    return {"cell": cell_name(identity), **{name: _text(identity.get(name)) for name in names}}


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


def _cell_view(name: str, group: Sequence["Cell"]) -> RunView:
    """Of one or more objectives of the same cell."""
    metrics: dict[str, float | None] = {}
    for cell in group:
        for stat in ("mean", "std", "n", "failed", "wanted", "ci_low", "ci_high"):
            metrics[f"test_{cell.objective}_{stat}"] = getattr(cell, stat)
        metrics[f"{cell.objective}_epochs_to_best_mean"] = cell.epochs_to_best_mean
        metrics[f"{cell.objective}_epochs_to_stop_mean"] = cell.epochs_to_stop_mean
    first = group[0]
    metrics |= {"epochs_to_best_mean": first.epochs_to_best_mean, "epochs_to_stop_mean": first.epochs_to_stop_mean}
    metrics["epochs_mean"] = first.epochs_to_stop_mean
    if any(cell.n + cell.failed < cell.wanted for cell in group):
        status = "KILLED"  # stopped before the end; the next start goes on
    else:
        status = "FAILED" if any(cell.failed for cell in group) else "FINISHED"
    tags = {"role": "cell", **cell_tags(_identity(first))}
    return RunView(role="cell", key=name, name=name, tags=tags, status=status, metrics=_finite(metrics))


def _identity(cell: "Cell") -> dict[str, Any]:
    return {name: getattr(cell, name) for name in ("encoder", "dataset", "method", "variant", "mask_mean")}


def _seed_tags(trial: Mapping[str, Any]) -> dict[str, str]:
    tags = {"role": "seed", "trial_key": trial["key"], "trajectory": _text(trial.get("trajectory"))}
    return {**tags, "objective": trial["objective"], "seed": str(trial["seed"]), **cell_tags(trial)}


def _seed_name(trial: Mapping[str, Any]) -> str:
    return f"{cell_name(trial)} seed {trial['seed']} {trial['objective']}"


def _points(curve: Iterable[Mapping[str, Any]]) -> Iterable[Point]:
    """`validation_<metric>`, `train_loss_<task>`, `task_weight_<task>` and `epoch` of every evaluation."""
    for evaluation in curve:
        values = {"epoch": evaluation.get("epoch")}
        for part, prefix in (
            ("validation", "validation"),
            ("train_loss", "train_loss"),
            ("task_weights", "task_weight"),
        ):
            values |= {f"{prefix}_{_legal(name)}": value for name, value in (evaluation.get(part) or {}).items()}
        yield from (Point(name, value, int(evaluation["update"])) for name, value in _finite(values).items())


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    """Without nulls and non-finite values: MLflow stores inf as 1.8e308, which poisons every mean it then takes."""
    return {name: float(value) for name, value in values.items() if value is not None and math.isfinite(value)}


def _legal(name: str) -> str:
    """`name` with each character MLflow refuses in a key turned into `_`."""
    return re.sub(r"[^\w\-.:/ ]", "_", name, flags=re.ASCII)


def _text(value: object) -> str:
    return NONE if value is None else str(value)


def _milliseconds(moment: str) -> int:
    return round(1000 * datetime.fromisoformat(moment).timestamp())
