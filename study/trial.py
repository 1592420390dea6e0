"""What one trial does: load, mask, fine-tune, and write one record per objective. No Ray here."""

from __future__ import annotations

import dataclasses
import datetime
import platform
import socket
import traceback
from functools import lru_cache, partial
from typing import cast

import torch

from l3masking.data.table import TextData
from l3masking.encoders.export import save_tuned
from l3masking.encoders.load import Encoder
from l3masking.errors import InputError, Interrupted
from l3masking.graphs import record_work
from l3masking.masking.policies.base import ENTROPY, IMPORTANCE, LIKELIHOOD
from l3masking.regimes import Training, encode_inputs, prepare
from l3masking.training.evaluation import NonFiniteLoss
from l3masking.training.outcome import Outcome
from study.adapted import ROOM, adapted_encoder, adapted_key, importance_of_texts
from study.assignment import Assignment
from study.checkpoints import TrialCheckpoints
from study.gpu import device_name, limit_share, loss_of
from study.plan.inputs import held_data, held_encoder
from study.plan.trials import Trial
from study.recorded import identity, record_of
from study.score import held_scores
from study.space.spec import configs
from study.store.free_disk import check_free
from study.store.places import CHECKPOINTS, fetched, open_store
from study.store.record import Failure, NewRecord, Run
from study.store.seal import checksum
from study.store.store import MODELS, Store
from study.version import DISTRIBUTION, program_version
from study.work.pulse import NO_PULSE, Pulse

RECORDED_PACKAGES = ("torch", "transformers", "tokenizers", "numpy")


def execute(assignment: Assignment, pulse: Pulse = NO_PULSE, *, diverged: str | None = None) -> str | None:
    """Run one trial and write its records, or its failure; returns the reason of a failure, None if it finished.

    This is the one place where any exception is caught: a trial that fails costs itself alone. Where a training that
    serves several objectives diverges, one of them may have stopped before: each is then trained by itself, with the
    result that it has in the shared training. One that diverges under bf16 is made again once where the setting
    `train.on_nonfinite` says so. diverged: why it is made again, all of it in float32. pulse: hears of every step;
    where it ends the trial, Interrupted is raised, and neither records nor a failure are written. Raises GpuLost where
    this process can train nothing more.
    """
    store = open_store(assignment.root)
    attempts = 1 + max(attempts_of(store, key) for key in assignment.trial.keys.values())
    try:
        check_free(store.root)
        for record in run_trial(assignment, attempts=attempts, pulse=pulse, diverged=diverged):
            store.commit(record)
        if assignment.trial.arm.adapts and not assignment.keep_adapted:
            for one in [assignment] if diverged is None else [assignment, in_float32(assignment)]:
                store.discard(ROOM, adapted_key(one))
        store.discard(CHECKPOINTS, assignment.trial.trajectory)
    except Interrupted:
        raise
    except (Exception, SystemExit) as error:  # a policy or a library may call sys.exit
        lost = loss_of(error)
        if lost is not None:
            raise lost from error
        if isinstance(error, NonFiniteLoss) and len(assignment.trial.keys) > 1:
            return _each_alone(assignment, pulse)
        said = (str(error).strip() or "no message").splitlines()[0]
        if isinstance(error, NonFiniteLoss):
            if diverged is None and retries_in_float32(assignment.trial):
                return execute(assignment, pulse, diverged=said)
            store.discard(CHECKPOINTS, assignment.trial.trajectory)  # it would end so again
        reason = f"{type(error).__name__}: {said}"
        if diverged is not None:
            reason += f"; in float32, after bf16: {diverged}"
        fail(store, assignment.trial, reason, traceback.format_exc(), attempts)
        return reason
    return None


def _each_alone(assignment: Assignment, pulse: Pulse) -> str | None:
    """As `execute`, one objective after the other; the first reason of a failure."""
    trials = [dataclasses.replace(assignment.trial, keys={name: key}) for name, key in assignment.trial.keys.items()]
    reasons = [execute(dataclasses.replace(assignment, trial=trial), pulse) for trial in trials]
    return next((reason for reason in reasons if reason is not None), None)


def retries_in_float32(trial: Trial) -> bool:
    """Whether a training that diverges is made again in float32."""
    settings = configs(trial.settings).finetune
    return settings.train.on_nonfinite == "retry_float32" and settings.precision != "float32"


def in_float32(assignment: Assignment) -> Assignment:
    """The same with all stages of the training in float32. The scores that it reads stay those of its settings."""
    settings = {**assignment.trial.settings, "precision": "float32"}
    return dataclasses.replace(assignment, trial=dataclasses.replace(assignment.trial, settings=settings))


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


def run_trial(
    assignment: Assignment, *, attempts: int = 1, pulse: Pulse = NO_PULSE, diverged: str | None = None
) -> list[NewRecord]:
    """Fine-tune once, keep the models where that is asked for, and return a record per objective.

    diverged: as in `execute`.
    """
    if assignment.lost is not None:
        raise InputError(assignment.lost)
    started = datetime.datetime.now(datetime.UTC)
    trial, resources = assignment.trial, assignment.resources
    torch.set_num_threads(resources.threads)  # whatever Ray put into the environment: threads change rounding
    device = resources.device
    limit_share(resources.num_gpus)
    record_work(resources.cuda_graphs)
    made = assignment if diverged is None else in_float32(assignment)
    kept = kept_of(made, pulse, "" if diverged is None else "float32")
    encoder, adaptation = held_encoder(assignment.encoder, device), None
    pulse.beat("loading")
    data = held_data(assignment.data)
    pulse.beat("loading")
    if trial.arm.adapts:
        encoder, adaptation = adapted_encoder(made, encoder, kept)
    training = prepared(made, encoder, data)
    pulse.beat("loading")
    outcomes = training.run(trial.objectives, None, kept.stage("training"))
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
    if halved := [size for size in (kept.micro_batch, *(o.micro_batch for o in outcomes.values())) if size is not None]:
        run["micro_batch"] = min(halved)
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
            diverged=diverged,
        )
        for objective in trial.keys
    ]
    if resources.save_models:
        store = open_store(assignment.root)
        for record in records:
            pulse.beat("saving")
            _keep_model(store, record, encoder, outcomes[record["objective"]])
    return records


def kept_of(assignment: Assignment, pulse: Pulse = NO_PULSE, apart: str = "") -> TrialCheckpoints:
    """The checkpoints of a trial. apart: a folder for those of a training that is made again."""
    trial, resources, store = assignment.trial, assignment.resources, open_store(assignment.root)
    return TrialCheckpoints(
        fetched(store.artefact_place(CHECKPOINTS, trial.trajectory)) / apart,
        send=partial(store.send, CHECKPOINTS, trial.trajectory),
        minutes=resources.checkpoint_minutes,
        objectives=trial.objectives,
        made_with={
            "trajectory": trial.trajectory,
            "device": device_name(resources.device),
            "threads": resources.threads,
            "versions": versions(),
            "commit": assignment.commit,
        },
        pulse=pulse,
    )


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


@lru_cache(maxsize=1)
def versions() -> dict[str, str]:
    """Return the versions of this program, of Python and of the packages that compute."""
    from importlib.metadata import version

    own = {DISTRIBUTION: program_version() or "unknown", "python": platform.python_version()}
    return own | {name: version(name) for name in RECORDED_PACKAGES}
