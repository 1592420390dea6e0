"""Batches of the task under `train.sampling`, against orders written out here."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import islice

import numpy as np
import pytest
import torch
from small_task import data, digest, encoder, one_thread, run, settings

from l3masking import rng
from l3masking.errors import InputError
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import encode_inputs, prepare
from l3masking.scoring.settings import ScoringConfig
from l3masking.training.settings import FinetuneConfig, Sampling, TrainConfig

SEED, SIZE, BATCH, SEEN = 4, 48, 10, 14  # the last 8 texts of each pass are left out
ARMS = {"stl": "shuffle", "rtm": "random", "mask_tuning": "shuffle", "mask_tuning_no_mlm": "shuffle"}


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def with_sampling(config: FinetuneConfig, sampling: Sampling, **train: int) -> FinetuneConfig:
    return dataclasses.replace(config, train=dataclasses.replace(config.train, sampling=sampling, **train))


def batches(method: str, sampling: Sampling) -> list[list[int]]:
    """The first batches of the task that an arm takes."""
    arm = METHODS[method]
    inputs = encode_inputs(arm, encoder(), data(SIZE), ScoringConfig(max_length=16))
    config = with_sampling(settings(), sampling, batch=BATCH)
    training = prepare(arm, encoder(), inputs, masking=MaskingConfig(), config=config, seed=SEED)
    return list(islice(training.trajectory().stepper._primary, SEEN))


def expected(sampling: str) -> list[list[int]]:
    """The same from one stream of permutations: the head of each one, or all whole batches of each one."""
    stream = rng.stream(SEED, "order", "primary")
    found: list[list[int]] = []
    while len(found) < SEEN:
        order = [int(index) for index in torch.randperm(SIZE, generator=stream)]
        found += [order[:BATCH]] if sampling == "random" else [order[at : at + BATCH] for at in (0, 10, 20, 30)]
    return found[:SEEN]


@pytest.mark.parametrize("sampling", ["auto", "random", "shuffle"])
@pytest.mark.parametrize("method", ARMS)
def test_batches_are_those_of_the_setting(method: str, sampling: Sampling) -> None:
    assert batches(method, sampling) == expected(ARMS[method] if sampling == "auto" else sampling)


def test_draws_repeat_texts_within_a_pass_and_shuffled_passes_do_not() -> None:
    counts = {
        sampling: np.bincount(np.concatenate(batches("stl", sampling)[:4]), minlength=SIZE)
        for sampling in ("random", "shuffle")
    }
    assert counts["random"].max() > 1
    assert counts["shuffle"].max() == 1


@pytest.mark.parametrize(("method", "own"), [("stl", "shuffle"), ("l3masking", "random")])
def test_what_auto_stands_for_gives_the_same_bits_and_the_other_does_not(method: str, own: str) -> None:
    short = settings(max_epochs=2)
    found = {name: digest(run(method, with_sampling(short, name))) for name in ("auto", "random", "shuffle")}
    assert found["auto"] == found[own]
    assert len(set(found.values())) == 2


def test_another_value_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match=r"train\.sampling") as error:
        TrainConfig(sampling="shuffled")  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
