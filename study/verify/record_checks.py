"""One record: its checksum, layout and key, and its predictions against probabilities, labels and values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from l3masking.methods import METHODS
from l3masking.metrics import METRICS
from study.plan.trials import Identities, new_trial
from study.store.packed import unpacked
from study.store.record import SCHEMA, Probabilities, Record
from study.store.seal import DamagedError, unseal
from study.store.whole_files import content_key
from study.verify.plan_checks import Claimed
from study.verify.schema_checks import layout_problems

METRIC_TOLERANCE = 1e-9  # between a recorded value and the same metric computed again
ROW_TOLERANCE = 2e-3  # of a sum of probabilities in half precision, each of which is rounded by 2^-11 of itself
MEANS = {  # what `unseal` says -> what has happened
    "its checksum does not match its content": ": it was changed after it was written",
    "not whole JSON": ": it is cut off or overwritten",
    "holds the key": ": it is another record under this name",
}


class TrueLabels(NamedTuple):
    """The true classes of the texts of a test split or an evaluation set."""

    labels: NDArray[np.integer]  # [E] indices into `classes`
    classes: list[str]


class JudgedSet(NamedTuple):
    """The predictions of one record on one set of texts, and what the record says of them."""

    where: str  # in the record, such as "test"
    predictions: NDArray[np.integer]  # [E] indices into `classes`
    classes: list[str]
    metrics: Mapping[str, float]
    probabilities: Probabilities | None
    content: str | None = None  # hash of an evaluation set; None: the test split
    merged: bool = False  # whether a class stands for several of the task's: the likeliest one may be another then


def opened_record(raw: bytes, key: str) -> Record:
    """The record in `raw`. DamagedError where its checksum, schema or layout is not right, or it has another key."""
    try:
        record = unseal(raw, key)
    except DamagedError as damage:
        raise DamagedError(f"{damage}{_meaning(str(damage))}") from damage
    problem = next(layout_problems(record, Record), None)
    if problem is not None:
        raise DamagedError(f"{problem}: not the layout of a record")
    return record


def _meaning(damage: str) -> str:
    if damage.startswith("schema "):
        newer = damage.split()[1].rstrip(",")
        return ": a newer l3study wrote it, which can check it" if newer.isdigit() and int(newer) > SCHEMA else ""
    return next((text for start, text in MEANS.items() if damage.startswith(start)), "")


def key_problem(record: Record, claimed: Claimed, *, with_test: bool = True) -> tuple[str | None, bool]:
    """What is wrong with the key of a record (None: nothing), and whether it could be computed from its settings."""
    own = content_key({"trajectory": record["trajectory"], "objective": record["objective"]})
    if own != record["key"]:
        return "its key does not follow from its training and objective: it was changed and sealed again", True
    known = _trajectories(record, claimed, with_test=with_test)
    if known is None:
        return None, False
    if record["trajectory"] in known:
        return None, True
    wanted = "its key does not follow from its settings, seed, data and encoder: one of them was changed"
    return wanted, True


def _trajectories(record: Record, claimed: Claimed, *, with_test: bool) -> set[str] | None:
    """The keys that a training of these settings may have; None if the study does not say enough.

    There is one, but for a record made before 2026-12, in which `meta.dev_mode: train` means what `once` means now.
    """
    spec, known = claimed.resolved.spec, claimed.resolved.identities
    encoder, dataset, method = record["encoder"], record["dataset"], record["method"]
    if method not in METHODS and method not in spec.arms:
        return None
    arm = spec.arm(method)
    now = known.data_hash(dataset, record["seed"])
    if now != record["data_hash"] and dataset in known.mlm_units and not arm.masks:
        return None  # the length of an epoch on other data is not written down
    identities = dataclasses.replace(
        known,
        encoders={encoder: record["revision"]},
        datasets={dataset: record["data_hash"]},
        splits={},
        evaluations={dataset: {name: one["data_hash"] for name, one in record.get("evaluations", {}).items()}},
    )
    return {
        _trajectory(record, identities, settings, with_test=with_test, claimed=claimed)
        for settings in _readings(record["settings"])
    }


def _trajectory(
    record: Record, identities: Identities, settings: Mapping[str, Any], *, with_test: bool, claimed: Claimed
) -> str:
    cell = (record["encoder"], record["dataset"], record["method"], record["variant"])
    arm = claimed.resolved.spec.arm(record["method"])
    objectives = (record["objective"],)
    try:
        return new_trial(identities, cell, record["seed"], arm, settings, objectives, with_test=with_test).trajectory
    except (KeyError, TypeError, AttributeError, ValueError, RecursionError):
        return ""  # a setting that every training of this arm has is missing, or is no value of a setting


def _readings(settings: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield settings
    meta = settings.get("meta")
    if isinstance(meta, dict) and meta.get("dev_mode") == "train":
        yield {**settings, "meta": {**meta, "dev_mode": "once"}}


def judged(record: Record) -> list[JudgedSet]:
    """All predictions that a record holds; none in a search."""
    found = []
    if "test" in record:
        predictions, chances = _indices(record.get("test_predictions", [])), record.get("test_probabilities")
        found.append(JudgedSet("test", predictions, record["labels"], record["test"], chances))
    for name, one in record.get("evaluations", {}).items():
        predictions = _indices(one["predictions"])
        merged = len(one["labels"]) < len(record["labels"])
        chances = one.get("probabilities")
        found.append(JudgedSet(name, predictions, one["labels"], one["metrics"], chances, one["data_hash"], merged))
    return found


def _indices(classes: Any) -> NDArray[np.integer]:
    """As an array; a class far beyond any is one that no data have."""
    try:
        return np.asarray(classes, dtype=np.int64)
    except OverflowError:
        return np.full(len(classes), -1, dtype=np.int64)


def own_problem(one: JudgedSet) -> str | None:
    """What is wrong with predictions by themselves: out of range, or not those that the probabilities give."""
    many = len(one.classes)
    if not len(one.predictions):
        return f"{one.where}: it has values and no predictions"
    if one.predictions.min() < 0 or one.predictions.max() >= many:
        return f"{one.where}: a prediction is none of its {many} classes"
    if one.probabilities is None:
        return None
    if one.probabilities["shape"] != [len(one.predictions), many]:
        return f"{one.where}: its probabilities are not of {len(one.predictions)} texts and {many} classes"
    try:
        table = unpacked(one.probabilities)
    except ValueError:
        return f"{one.where}: its probabilities cannot be unpacked"
    if not (table >= 0).all() or np.abs(table.sum(axis=1) - 1).max() > ROW_TOLERANCE:
        return f"{one.where}: the probabilities of a text do not sum to 1"
    picked = table[np.arange(len(table)), one.predictions]
    less = 0 if one.merged else int((picked < table.max(axis=1)).sum())
    if less:
        return f"{one.where}: {less} predictions are not the most probable class"
    return None


def value_problem(one: JudgedSet, truth: TrueLabels) -> str | None:
    """What is wrong between predictions, the true labels, and the recorded values; None if these give them."""
    if truth.classes != one.classes:
        return f"{one.where}: its classes are not those of the data file"
    if len(truth.labels) != len(one.predictions):
        return f"{one.where}: {len(one.predictions)} predictions for {len(truth.labels)} labels"
    for name, value in one.metrics.items():
        if name not in METRICS:
            return f"{one.where}: {name} is no metric"
        again = METRICS[name](one.predictions, truth.labels, len(one.classes))
        if abs(again - value) > METRIC_TOLERANCE:
            return f"{one.where}: predictions and labels give {name} {again:.6g}, recorded is {value:.6g}"
    return None
