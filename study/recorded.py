"""The record of a training: what its outcome says of one objective."""

from __future__ import annotations

from typing import cast

from l3masking.data.table import EvaluationSet, TextData
from l3masking.metrics import METRICS
from l3masking.training.evaluation import Measurement, check_finite
from l3masking.training.outcome import Outcome
from study.assignment import Assignment
from study.plan.trials import Trial
from study.store.packed import packed
from study.store.record import (
    SCHEMA,
    Adaptation,
    CurvePoint,
    EvaluationResult,
    FinalStage,
    Identity,
    MaskProbabilities,
    NewRecord,
    Run,
)


def identity(trial: Trial, objective: str, key: str) -> Identity:
    """What names a record among the others of its study."""
    return {
        "key": key,
        "encoder": trial.encoder,
        "dataset": trial.dataset,
        "method": trial.method,
        "variant": trial.variant,
        "mask_mean": trial.mask_mean,
        "objective": objective,
        "seed": trial.seed,
    }


def record_of(
    assignment: Assignment,
    objective: str,
    outcome: Outcome,
    *,
    data: TextData,
    masks: dict[str, float] | None,
    mask_histogram: list[int] | None,
    adaptation: Adaptation | None,
    run: Run,
    diverged: str | None = None,
) -> NewRecord:
    """The record of one objective: all of its outcome but the weights, which no record holds."""
    trial = assignment.trial
    _check_metrics(outcome)
    assert trial.revision is not None, "a trial runs only where its encoder is available"
    assert trial.data_hash is not None, "a trial runs only where its dataset is available"
    record: NewRecord = {
        "schema": SCHEMA,
        # ignored: mypy says that an Identity might hold a field `test` of another type
        **identity(trial, objective, trial.keys[objective]),  # type: ignore[typeddict-item]
        "trajectory": trial.trajectory,
        "study": assignment.study,
        "revision": trial.revision,
        "data_hash": trial.data_hash,
        "settings": trial.settings,
        "labels": list(data.labels),
        "overlap": data.overlap,
        "mask_probability": cast(MaskProbabilities | None, masks),
        "mask_histogram": mask_histogram,
        "validation": outcome.validation,
        "epochs_to_best": outcome.epochs_to_best,
        "epochs_to_first_best": outcome.epochs_to_first_best,
        "epochs_to_stop": outcome.epochs_to_stop,
        "updates": outcome.updates,
        "planned_updates": outcome.planned_updates,
        "primary_examples": outcome.primary_examples,
        "mlm_passes": outcome.mlm_passes,
        "empty_mlm_batches": outcome.empty_mlm_batches,
        "final_stage": cast(FinalStage, outcome.final_stage),
        "curve": cast(list[CurvePoint], outcome.curve),
        "run": run,
    }
    if diverged is not None:
        record["retried_in_float32"] = diverged
    if adaptation is not None:
        record["adaptation"] = adaptation
    if outcome.test is not None:
        record["test"] = outcome.test
    if outcome.test_predictions is not None:
        record["test_predictions"] = outcome.test_predictions
    if outcome.test_probabilities is not None:
        record["test_probabilities"] = packed(outcome.test_probabilities)
    if outcome.evaluations:
        record["evaluations"] = {
            name: _judged(found, data.evaluations[name]) for name, found in outcome.evaluations.items()
        }
    return record


def _check_metrics(outcome: Outcome) -> None:
    """Raise ValueError for a metric that is missing or unknown, NonFiniteLoss for one that is no number."""
    for split, values in {"validation": outcome.validation, "test": outcome.test or outcome.validation}.items():
        if values.keys() != METRICS.keys():
            raise ValueError(f"metrics on {split} are {sorted(values)}: expected {sorted(METRICS)}")
        check_finite(split, values)


def _judged(found: Measurement, read: EvaluationSet) -> EvaluationResult:
    return EvaluationResult(
        metrics=found.metrics,
        labels=list(read.classes),
        absent=list(read.absent),
        predictions=found.predictions,
        probabilities=packed(found.probabilities),
        data_hash=read.content_hash,
    )
