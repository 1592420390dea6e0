"""How much of a GPU one training takes: the costliest of its kind, run once, alone, on made-up texts of full length."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from l3masking import rng
from l3masking.encoders.load import Encoder
from l3masking.graphs import record_work
from l3masking.memory import OutOfMemory
from l3masking.regimes import Inputs, prepare
from l3masking.scoring.words import EncodedText
from l3masking.training.evaluation import Task
from l3masking.training.portions import EVALUATION_TOKENS
from l3masking.training.settings import EvaluateConfig, FinetuneConfig
from l3masking.training.steps import Examples
from study.gpu import Cuda, Gpu
from study.plan.inputs import held_data, held_encoder
from study.space.spec import configs

if TYPE_CHECKING:
    from study.assignment import Assignment


def measure_peak(assignment: Assignment, gpu: Gpu | None = None) -> int:
    """Bytes that the training of `assignment` takes at most, torch's memory alone. The GPU must be free otherwise.

    The training is the real one, two updates and a final epoch of it, with every text as long as `max_length` allows:
    batch, evaluation batch, optimizers of both stages and kept weights are as large as they ever become. Where even
    the whole GPU is too small for it, all bytes of the GPU.
    """
    gpu = gpu or Cuda()
    trial, setting = assignment.trial, configs(assignment.trial.settings)
    classes = len(held_data(assignment.data).labels)
    gpu.start()
    record_work(assignment.resources.cuda_graphs)
    encoder = held_encoder(assignment.encoder, gpu.place)
    length = min(setting.scoring.max_length, encoder.max_positions)
    config = shortened(setting.finetune)
    train = _texts(encoder, config.train.batch, length)
    looked = max(EVALUATION_TOKENS // length, config.meta.head_sample, config.train.batch)
    task = Task(_labelled(train, classes), _labelled(_texts(encoder, looked, length), classes), None, classes)
    every = np.arange(length)
    inputs = Inputs(task=task, mlm=[EncodedText(ids, every, every) for ids in train], max_length=length)
    method = trial.arm.unscored()
    try:
        training = prepare(method, encoder, inputs, masking=setting.masking, config=config, seed=0)
        outcomes = training.run(trial.objectives)
    except (torch.OutOfMemoryError, OutOfMemory):
        return gpu.describe().total
    if any(outcome.micro_batch for outcome in outcomes.values()):  # its batches did not fit as they are
        return gpu.describe().total
    # each objective may keep weights of its own update; here they may have kept the same ones
    weights = next(iter(outcomes.values())).weights
    model = sum(tensor.numel() * tensor.element_size() for tensor in weights.values())
    return gpu.peak() + model * (len(trial.objectives) - 1)


def shortened(config: FinetuneConfig) -> FinetuneConfig:
    """Two updates with an evaluation after each, and one epoch of the final stage; batches as large as they are.

    Micro-steps follow one another, so that one of them takes as much memory as many.
    """
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, max_epochs=2, accumulate=1),
        evaluate=EvaluateConfig(every=1, unit="updates"),
        final=dataclasses.replace(config.final, max_epochs=1),
    )


def _texts(encoder: Encoder, count: int, length: int) -> list[Any]:
    """Made-up texts of exactly `length` ids."""
    generator = rng.stream(0, "fit")
    vocabulary = len(encoder.tokenizer)
    return [torch.randint(vocabulary, (length,), generator=generator).numpy() for _ in range(count)]


def _labelled(texts: Sequence[Any], classes: int) -> Examples:
    return Examples(texts, torch.arange(len(texts)) % classes)
