"""The bootstrap over seeds and texts: metrics of resampled test sets against copies of the rows, and its width."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import f1_score

from l3masking.metrics import METRICS
from study.results.bootstrap import RESAMPLES_AT_ONCE, joint_interval, resampled_metrics
from study.results.paired import named_generator


class Fixed:
    """In the place of a generator: hands out the counts that it was given."""

    def __init__(self, counts: list[list[int]]) -> None:
        self.counts = np.array(counts)

    def multinomial(self, total: int, shares, size: int):
        assert total == self.counts.sum(axis=1)[0]
        assert self.counts.shape == (size, len(shares))
        return self.counts


def test_metrics_are_those_of_the_rows_written_out_as_often_as_drawn():
    generator = named_generator("rows")
    texts, models, classes = 12, 4, 5  # class 4 never occurs: it counts 0 in macro F1
    labels = generator.integers(0, classes - 1, texts)
    predictions = generator.integers(0, classes - 1, (models, texts))
    objectives = ["accuracy", "macro_f1", "macro_f1", "accuracy"]
    kinds, found = np.unique(np.vstack([labels, predictions]), axis=1, return_counts=True)
    assert found.max() == 1  # so that a kind is a text
    counts = generator.multinomial(texts, np.full(texts, 1 / texts), size=3)
    out = resampled_metrics(labels, predictions, objectives, classes, Fixed(counts.tolist()), draws=3)
    for draw, row in enumerate(counts):
        copies = np.repeat(kinds, row, axis=1)
        for model, objective in enumerate(objectives):
            value = METRICS[objective](copies[model + 1], copies[0], classes)
            assert out[model, draw] == pytest.approx(value, abs=1e-12)
    sk = f1_score(copies[0], copies[2], labels=range(classes), average="macro", zero_division=0)
    assert out[1, 2] == pytest.approx(sk, abs=1e-12)


def test_texts_that_are_alike_are_drawn_together():
    labels, predictions = np.array([0, 0, 1, 0]), np.array([[0, 0, 0, 0]])
    out = resampled_metrics(labels, predictions, ["accuracy"], 2, Fixed([[3, 1], [0, 4]]), draws=2)
    assert out.tolist() == [[0.75, 0.0]]


def test_the_spread_over_texts_is_the_binomial_standard_error():
    texts, draws = 400, 4 * RESAMPLES_AT_ONCE + 7
    right = np.arange(texts) % 4 > 0
    labels = np.zeros(texts, dtype=int)
    out = resampled_metrics(labels, (~right)[None].astype(int), ["accuracy"], 2, named_generator("se"), draws=draws)
    expected = math.sqrt(0.75 * 0.25 / texts)
    assert out.shape == (1, draws)
    assert abs(out.mean() - 0.75) < 5 * expected / math.sqrt(draws)
    assert abs(out.std() - expected) < 5 * expected / math.sqrt(2 * draws)


def test_the_joint_interval_adds_the_variances_of_seeds_and_texts():
    """Seed effects of standard deviation .02 in the differences, text noise of .01 that all seeds share."""
    generator, seeds, draws = named_generator("joint"), 400, 20_000
    effects = generator.normal(0.0, 0.02, seeds)
    noise = generator.normal(0.0, 0.01, draws)
    first = 0.05 + effects[:, None] + noise[None]
    low, high = joint_interval(first, np.zeros_like(first), generator)
    expected = math.sqrt(effects.var() / seeds + 0.01**2)
    half = 1.959964 * expected
    margin = 5 * 2.67 * expected / math.sqrt(draws)  # sqrt(.025 x .975) / density there: of a normal 2.5 % quantile
    assert abs(low - (0.05 + effects.mean() - half)) < margin
    assert abs(high - (0.05 + effects.mean() + half)) < margin
    assert half > 1.9 * 0.01  # the seeds alone would give a tenth of that


def test_one_seed_leaves_the_texts_alone():
    values = np.linspace(0.0, 1.0, 1001)[None]
    low, high = joint_interval(values, np.full_like(values, 0.5), named_generator("one"))
    assert (low, high) == pytest.approx((-0.475, 0.475), abs=1e-9)


def test_equal_names_give_equal_draws():
    labels = np.arange(30) % 3
    predictions = np.vstack([labels, (labels + (np.arange(30) > 20)) % 3])
    twice = [
        resampled_metrics(labels, predictions, ["accuracy", "macro_f1"], 3, named_generator("same"), draws=50)
        for _ in range(2)
    ]
    assert np.array_equal(*twice)
    assert np.array_equal(twice[0][0], np.ones(50))
