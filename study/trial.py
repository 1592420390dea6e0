"""What one trial does: load, mask, fine-tune, and write one record per objective. No Ray here."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import socket
import traceback
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast

import torch

from l3masking.data.table import EvaluationSet, TextData
from l3masking.encoders.export import save_tuned
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError
from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD
from l3masking.regimes import Training, encode_inputs, prepare
from l3masking.training.evaluation import Measurement, NonFiniteLoss
from l3masking.training.outcome import Outcome
from study.adapted import ROOM, adapted_encoder, adapted_key, importance_of_texts
from study.assignment import Assignment
from study.checkpoints import CHECKPOINTS, TrialCheckpoints
from study.gpu import limit_share
from study.plan.inputs import held_data, held_encoder
from study.plan.trials import Trial
from study.score import held_scores
from study.space.spec import configs
from study.store.free_disk import check_free
from study.store.packed import packed
from study.store.places import open_store
from study.store.record import (
    SCHEMA,
    Adaptation,
    CurvePoint,
    EvaluationResult,
    Failure,
    FinalStage,
    Identity,
    MaskProbabilities,
    NewRecord,
    Run,
)
from study.store.seal import checksum
from study.store.store import MODELS, Store
from study.version import DISTRIBUTION, program_version

RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def execute(assignment: Assignment, on_evaluation: Callable[[dict[str, Any]], None] | None = None) -> str | None:
    """Run one trial and write its records, or its failure; returns the reason of a failure, None if it finished.

    This is the one place where any exception is caught: a trial that fails costs itself alone. Where a training that
    serves several objectives diverges, one of them may have stopped before: each is then trained by itself, with the
    result that it has in the shared training.
    """
    store = open_store(assignment.root)
    attempts = 1 + max(attempts_of(store, key) for key in assignment.trial.keys.values())
    try:
        check_free(store.root)
        for record in run_trial(assignment, attempts=attempts, on_evaluation=on_evaluation):
            store.commit(record)
        if assignment.trial.arm.adapts and not assignment.keep_adapted:
            store.discard(ROOM, adapted_key(assignment))
        store.discard(CHECKPOINTS, assignment.trial.trajectory)
    except (Exception, SystemExit) as error:  # a policy or a library may call sys.exit
        if isinstance(error, NonFiniteLoss) and len(assignment.trial.keys) > 1:
            return _each_alone(assignment, on_evaluation)
        if isinstance(error, NonFiniteLoss):  # it would end so again
            store.discard(CHECKPOINTS, assignment.trial.trajectory)
        reason = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
        fail(store, assignment.trial, reason, traceback.format_exc(), attempts)
        return reason
    return None


def _each_alone(assignment: Assignment, on_evaluation: Callable[[dict[str, Any]], None] | None) -> str | None:
    """As `execute`, one objective after the other; the first reason of a failure."""
    trials = [dataclasses.replace(assignment.trial, keys={name: key}) for name, key in assignment.trial.keys.items()]
    reasons = [execute(dataclasses.replace(assignment, trial=trial), on_evaluation) for trial in trials]
    return next((reason for reason in reasons if reason is not None), None)


def died(assignment: Assignment, reason: str, times: int) -> None:
    """Write down, from outside, that the process of a trial ended `times` times before it could say why."""
    store, trial = open_store(assignment.root), assignment.trial
    fail(store, trial, reason, "", times + max(attempts_of(store, key) for key in trial.keys.values()))


def fail(store: Store, trial: Trial, reason: str, trace: str, attempts: int) -> None:
    """Write down a failure for every objective of a trial; one that has its record stays done."""
    why = {"reason": reason, "traceback": trace, "attempts": attempts}
    for objective, key in trial.keys.items():
        store.fail(cast(Failure, {**identity(trial, objective, key), **why}))


def attempts_of(store: Store, key: str) -> int:
    """Attempts that failed so far."""
    failure = store.failure(key)
    return int(failure["attempts"]) if failure else 0


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


def run_trial(
    assignment: Assignment, *, attempts: int = 1, on_evaluation: Callable[[dict[str, Any]], None] | None = None
) -> list[NewRecord]:
    """Fine-tune once, keep the models where that is asked for, and return a record per objective."""
    if assignment.lost is not None:
        raise InputError(assignment.lost)
    started = datetime.datetime.now(datetime.UTC)
    trial, resources = assignment.trial, assignment.resources
    torch.set_num_threads(resources.threads)  # whatever Ray put into the environment: threads change rounding
    device = resources.device
    limit_share(resources.gpu)
    kept = kept_of(assignment)
    encoder, adaptation = held_encoder(assignment.encoder, device), None
    data = held_data(assignment.data)
    if trial.arm.adapts:
        encoder, adaptation = adapted_encoder(assignment, encoder, kept)
    training = prepared(assignment, encoder, data)
    outcomes = training.run(trial.objectives, on_evaluation, kept.stage("training"))
    run: Run = {
        "seconds": kept.seconds,
        "host": socket.gethostname(),
        "device": device_name(device),
        "threads": resources.threads,
        "versions": versions(),
        "commit": assignment.commit,
        "attempts": attempts,
        "started": started.isoformat(timespec="seconds"),
    }
    if kept.resumed:
        run["resumed"] = kept.resumed
    records = [
        record_of(
            assignment,
            objective,
            outcomes[objective],
            data=data,
            masks=training.masks,
            mask_histogram=training.mask_histogram,
            adaptation=adaptation,
            run=run,
        )
        for objective in trial.keys
    ]
    if resources.save_models:
        store = open_store(assignment.root)
        for record in records:
            _keep_model(store, record, encoder, outcomes[record["objective"]])
    return records


def kept_of(assignment: Assignment) -> TrialCheckpoints:
    """The checkpoints of a trial."""
    trial, resources = assignment.trial, assignment.resources
    return TrialCheckpoints(
        open_store(assignment.root).artefact_dir(CHECKPOINTS, trial.trajectory),
        minutes=resources.checkpoint_minutes,
        objectives=trial.objectives,
        made_with={
            "trajectory": trial.trajectory,
            "device": device_name(resources.device),
            "threads": resources.threads,
            "versions": versions(),
            "commit": assignment.commit,
        },
    )


def device_name(device: str) -> str:
    """Name of the GPU, or architecture of the processor."""
    return torch.cuda.get_device_name() if device == "cuda" else platform.machine()


def _keep_model(store: Store, record: NewRecord, encoder: Encoder, outcome: Outcome) -> None:
    """Keep the model of a record, unless an earlier record of its key has other results: it would be another model."""
    key, present = record["key"], store.read(record["key"])
    if present is None or present["checksum"] == checksum(record):
        if present is None or not store.has_model(key):
            store.discard(MODELS, key)  # what a run left that ended before its record was written
        save_tuned(encoder, outcome.weights, record["labels"], store.root / MODELS / key)
        record["run"] = {**record["run"], "weights": store.weights(key)}
        store.push(f"{MODELS}/{key}")


def prepared(assignment: Assignment, encoder: Encoder, data: TextData) -> Training:
    """The last stage of a trial, with what it reads of the artefacts."""
    trial, setting = assignment.trial, configs(assignment.trial.settings)
    inputs = encode_inputs(trial.arm, encoder, data, setting.scoring, with_test=assignment.with_test)
    needs = trial.arm.needs_of(trial.arm.last)
    scores = assignment.needed.get(("scores", assignment.data.content_hash))
    important = importance_of_texts(assignment, assignment.data, encoder) if IMPORTANCE in needs else None
    return prepare(
        trial.arm,
        encoder,
        inputs,
        masking=setting.masking,
        config=setting.finetune,
        seed=trial.seed,
        scores=held_scores(scores, assignment.data) if scores and needs & {LIKELIHOOD, ENTROPY} else None,
        importance=None if important is None else list(important),
        tuning=setting.mask_tuning,
    )


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
) -> NewRecord:
    """The record of one objective: all of its outcome but the weights, which no record holds."""
    trial = assignment.trial
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


def _judged(found: Measurement, read: EvaluationSet) -> EvaluationResult:
    return EvaluationResult(
        metrics=found.metrics,
        labels=list(read.classes),
        absent=list(read.absent),
        predictions=found.predictions,
        probabilities=packed(found.probabilities),
        data_hash=read.content_hash,
    )


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of this program, of Python and of the packages that compute."""
    from importlib.metadata import version

    own = {DISTRIBUTION: program_version() or "unknown", "python": platform.python_version()}
    return own | {name: version(name) for name in RECORDED_PACKAGES}
