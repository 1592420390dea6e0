"""The truth is known here: the planted words must get more mask probability than the rest, and from L3Masking alone."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from small_task import one_thread

from l3masking.data.table import DataSpec, TextData, load_data
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.masking.policies.base import PolicyText, calibrated
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.settings import MaskingConfig
from l3masking.regimes import run_method
from l3masking.rng import stream
from l3masking.scoring.scoring import TokenScores, score_tokens
from l3masking.scoring.settings import ScoringConfig
from l3masking.training.settings import EvaluateConfig, FinalConfig, FinetuneConfig, OptimConfig, TrainConfig
from study.toyworld.world import ToyWorld, domain_spans

MEAN = 0.15


class Scored(NamedTuple):
    scores: list[TokenScores]
    planted: list[NDArray[np.bool_]]  # per text [n]: does the eligible token belong to a planted word


@pytest.fixture(scope="module")
def encoder(toy_world: ToyWorld) -> Encoder:
    return load_encoder(str(toy_world.encoder_folder))


@pytest.fixture(scope="module")
def data(toy_world: ToyWorld) -> TextData:
    return load_data(DataSpec(**{split: str(path) for split, path in toy_world.data_files.items()}), name="toyworld")


@pytest.fixture(scope="module")
def scored(toy_world: ToyWorld, encoder: Encoder, data: TextData) -> Scored:
    texts = data.train.texts[:200]
    planted = []
    for text in texts:
        encoding = encoder.tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
        spans = domain_spans(text, toy_world.domain_words)
        planted.append(np.array([any(a <= at < b for a, b in spans) for at, _ in encoding["offset_mapping"]]))
    with one_thread():
        scores = score_tokens(encoder, texts)
    assert [len(score.positions) for score in scores] == [len(marks) for marks in planted]
    return Scored(scores, planted)


def prefers_planted(scored: Scored, policy: str, seed: int) -> bool:
    """The check: planted tokens get on average over 1.3 times the probability of the others, by over 10 sigma."""
    generator = stream(seed, "policy")
    planted, others = [], []
    for score, marks in zip(scored.scores, scored.planted, strict=True):
        likelihood = np.exp(score.log_likelihood.astype(np.float64))
        text = PolicyText(
            input_ids=score.input_ids, positions=score.positions, words=score.words, likelihood=likelihood
        )
        config = MaskingConfig(mean=MEAN)
        values = calibrated(POLICIES[policy].weights(text, config, generator), config)
        assert math.isclose(values.mean(), MEAN, abs_tol=1e-9)
        planted.append(values[marks].mean())
        others.append(values[~marks].mean())
    margin = np.asarray(planted) - np.asarray(others)  # one per text
    sigma = margin.std(ddof=1) / math.sqrt(len(margin))
    return bool(np.mean(planted) > 1.3 * np.mean(others) and margin.mean() > 10 * sigma)


def test_l3masking_prefers_the_planted_tokens(scored: Scored):
    assert prefers_planted(scored, "l3", seed=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("policy", ["l3_shuffled", "uniform"])
def test_the_controls_fail_the_same_check(scored: Scored, policy: str, seed: int):
    assert not prefers_planted(scored, policy, seed)


def test_new_and_shifted_words_are_both_less_likely_than_the_rest(toy_world: ToyWorld, scored: Scored):
    """A shifted word is one token that the encoder knows well; only its place is unusual."""
    pieces = np.concatenate([np.bincount(score.words)[score.words] > 1 for score in scored.scores])
    planted = np.concatenate(scored.planted)
    complement = 1 - np.exp(np.concatenate([score.log_likelihood for score in scored.scores]))
    rest = complement[~planted]
    for chosen in (planted & pieces, planted & ~pieces):
        mine = complement[chosen]
        assert len(mine) > 100
        sigma = math.hypot(mine.std() / math.sqrt(len(mine)), rest.std() / math.sqrt(len(rest)))
        assert mine.mean() - rest.mean() > 5 * sigma


def test_plain_fine_tuning_learns_the_task_in_part(encoder: Encoder, data: TextData):
    """The constants stand for a task between the majority class (0.28) and what knowing all terms gives (0.87).

    Settings of search_spaces/quickstart.yaml; about 0.68 over seeds 0 to 4, standard deviation 0.03.
    """
    config = FinetuneConfig(
        optim=OptimConfig(lr=3e-3),
        train=TrainConfig(batch=16, accumulate=1, max_epochs=6),
        evaluate=EvaluateConfig(every=1, unit="epochs"),
        final=FinalConfig(enabled=False),
    )
    settings = {"scoring": ScoringConfig(), "masking": MaskingConfig(), "config": config}
    with one_thread():
        outcomes, _ = run_method("stl", encoder, data, **settings, seed=0, objectives=("accuracy",))
    assert 0.5 < outcomes["accuracy"].test["accuracy"] < 0.82
