"""A short measurement of each kind of training: a few updates of the real trainer, an evaluation, a scoring sample.

It reads no test data and writes no record. What is measured is one training alone on its device: trainings that share
a device, or a memory bus, take longer each.
"""

from __future__ import annotations

import dataclasses
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

import torch

from l3masking import rng
from l3masking.data.pairs import Text
from l3masking.data.table import Split, TextData
from l3masking.encoders.hub import is_cached
from l3masking.encoders.load import Encoder
from l3masking.graphs import record_work
from l3masking.methods import Method
from l3masking.regimes import encode_inputs, prepare
from l3masking.scoring.scoring import score_texts
from l3masking.training.early_stopping import Selection
from l3masking.training.settings import EvaluateConfig, FinetuneConfig
from study.estimate.timing_file import Calibration, Measured
from study.gpu import device_name
from study.plan.inputs import held_data, held_encoder, sources
from study.plan.trials import Identities, Trial
from study.space.spec import Configs, Generated, StudySpec, configs

UPDATES = 3  # measured, after as many for warm-up
SCORED = 8  # texts of the scoring sample, after one for warm-up
LOOKED = 256  # validation texts of the sample, or as many as the dev head takes


class _Enough(Exception):
    """Ends a training that has been measured."""


def calibrate(
    spec: StudySpec, identities: Identities, trials: Iterable[Trial], say: Callable[[str], None]
) -> Calibration:
    """Measure each kind of training among `trials` that is available; `say` is told what was measured, and what not.

    A kind is an encoder, a dataset, a method and its settings. Each takes six updates at the study's own batch size.
    """
    calibration = Calibration(resources=spec.resources_of)
    entries: dict[str, Measured] = {}
    told: set[str] = set()
    threads = torch.get_num_threads()
    try:
        for trial in trials:
            name = " / ".join(part for part in trial.cell if part)
            reason = _why_not(spec, trial)
            if reason is not None:
                if name not in told:
                    say(f"not measured: {name}: {reason}")
            elif (key := calibration.key(trial)) not in entries:
                entries[key] = _measure(spec, identities, trial)
                say(f"measured {name}: {entries[key].update_seconds:.3g} s per update")
            told.add(name)
    finally:
        torch.set_num_threads(threads)
    return dataclasses.replace(calibration, entries=entries)


def _why_not(spec: StudySpec, trial: Trial) -> str | None:
    """Why a training cannot be measured here; None if it can."""
    if trial.pending:
        return "its setting is still to be searched"
    if trial.data_hash is None:
        return f"dataset {trial.dataset} is not available"
    encoder = spec.encoders[trial.encoder]
    if trial.revision is None or (
        not isinstance(encoder, Generated) and encoder.hub is not None and not is_cached(encoder.hub, trial.revision)
    ):
        return f"encoder {trial.encoder} is not available"
    if spec.resources_of(trial.encoder, trial.dataset).gpu and not torch.cuda.is_available():
        return "it is to run on a GPU, and torch finds none here"
    return None


def _measure(spec: StudySpec, identities: Identities, trial: Trial) -> Measured:
    resources = spec.resources_of(trial.encoder, trial.dataset)
    torch.set_num_threads(resources.threads)
    record_work(resources.cuda_graphs)
    device = resources.device
    source, data_source = sources(spec, identities, trial.encoder, trial.dataset, trial.seed)
    encoder, setting = held_encoder(source, device), configs(trial.settings)
    data = sample(held_data(data_source), setting.finetune, UPDATES)
    method = trial.arm
    update, evaluation = time_updates(method, encoder, data, setting, UPDATES)
    plain = time_updates(method.alone(), encoder, data, setting, UPDATES)[0] if method.masks else update
    scoring = time_scoring(encoder, data.mlm_texts, setting, resources.token_budget)
    return Measured(
        update_seconds=update,
        plain_update_seconds=plain,
        evaluation_seconds=evaluation / len(data.validation),
        scoring_seconds=scoring if method.needs_scores else None,
        updates=UPDATES,
        host=socket.gethostname(),
        device=device_name(resources.device),
    )


def sample(data: TextData, config: FinetuneConfig, updates: int) -> TextData:
    """As many texts of `data` as measuring so many updates needs, drawn with a fixed seed; no test texts at all."""
    wanted = config.train.batch * config.train.accumulate * 2 * updates
    train = _drawn(data.train, wanted, "train")
    units = [data.mlm_texts[i] for i in _some(len(data.mlm_texts), wanted, "mlm")]
    return dataclasses.replace(
        data,
        train=train,
        validation=_drawn(data.validation, max(LOOKED, config.meta.head_sample), "validation"),
        test=Split((), ()),
        mlm_texts=tuple(units),
    )


def _drawn(split: Split, wanted: int, name: str) -> Split:
    chosen = _some(len(split), wanted, name)
    return Split(tuple(split.texts[i] for i in chosen), tuple(split.labels[i] for i in chosen))


def _some(size: int, wanted: int, name: str) -> list[int]:
    order: list[int] = torch.randperm(size, generator=rng.stream(0, "calibrate", name)).tolist()
    return order[:wanted]


def time_updates(
    method: Method, encoder: Encoder, data: TextData, setting: Configs, updates: int
) -> tuple[float, float]:
    """Seconds of one update of the main stage, and of one look at the validation texts of `data`.

    The mean of `updates` updates, after as many for warm-up. Masks have equal probabilities of the same mean: as many
    tokens are masked, and no scores are needed.
    """
    # an evaluation after every `updates` updates marks the time; the second one ends the training
    marks: list[float] = []

    def mark(_: object) -> None:
        marks.append(time.perf_counter())
        if len(marks) == 2:
            raise _Enough

    config = setting.finetune
    config = dataclasses.replace(
        config,
        # an epoch of the sample has an update or more
        train=dataclasses.replace(config.train, max_epochs=2 * updates, max_updates=None),
        evaluate=EvaluateConfig(every=updates, unit="updates"),
    )
    method = method.unscored()
    inputs = encode_inputs(method, encoder, data, setting.scoring, with_test=False)
    training = prepare(method, encoder, inputs, masking=setting.masking, config=config, seed=0)
    trajectory = training.trajectory()
    with suppress(_Enough):
        trajectory.main_stage([Selection(objective="accuracy", config=config.stop)], mark)
    started = time.perf_counter()
    trajectory.measure(training.task.validation)  # its metrics wait for the device
    evaluation = time.perf_counter() - started
    return max(0.0, marks[1] - marks[0] - evaluation) / updates, evaluation


def time_scoring(encoder: Encoder, texts: Sequence[Text], setting: Configs, token_budget: int | None) -> float:
    """Seconds of scoring one text, on average over a sample."""

    def score(part: Sequence[Text]) -> None:
        precision = setting.finetune.precision
        score_texts(encoder, part, setting.scoring, precision=precision, token_budget=token_budget)

    score(texts[:1])
    chosen = texts[1 : 1 + SCORED] or texts
    started = time.perf_counter()
    score(chosen)
    return (time.perf_counter() - started) / len(chosen)
