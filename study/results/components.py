"""How far a difference could move with other seeds and other test texts: variance components of a crossed design.

The seeds of a method are all tested on one test set, so seeds and texts are crossed. Every model gets a number for each
text, whose mean over the texts is its metric: 0 or 1 for accuracy, the jackknife's pseudo-value for macro F1 (Tukey
1958). The table of these numbers, one row per seed, gives the variance that the seeds cause, the one that the texts
cause, and the one of seeds by texts, which both of the others contain (two-way analysis of variance, both random).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from study.results.spread import CONFIDENCE


class TextValues(NamedTuple):
    """What M models are worth on a test set, and on each of its texts."""

    metric: NDArray[np.float64]  # [M], fractions, as in l3masking.metrics
    by_text: NDArray[np.float64]  # [M, E]; the mean of a row is the metric, for macro F1 without its small-sample bias


class Components(NamedTuple):
    """Parts of the variance of a mean over n seeds and E texts, fractions squared."""

    texts: float  # of the mean over seeds, because the test set holds these texts
    both: float  # what seed by text contributes to it


def text_values(
    labels: NDArray[np.integer], predictions: NDArray[np.integer], objective: str, num_classes: int
) -> TextValues:
    """The metric of M models and their values on each text; labels [E], predictions [M, E], accuracy | macro_f1.

    The pseudo-value of text e is E · F - (E - 1) · F without e, where F is the macro F1 over all `num_classes`. Leaving
    out a text changes the F1 of at most two classes, so all E of them are exact and cost no more than one pass.
    """
    hit = predictions == labels
    if objective == "accuracy":
        right = hit.astype(np.float64)
        return TextValues(right.mean(axis=1), right)
    models, texts = predictions.shape
    rows = np.arange(models)[:, None]
    true = np.bincount(labels, minlength=num_classes)
    predicted = _counts(predictions + rows * num_classes, models, num_classes)
    model, text = np.nonzero(hit)
    hits = _counts(labels[text] + model * num_classes, models, num_classes)
    support = predicted + true  # 2 TP + FP + FN
    f1 = _f1(hits, support)
    without_hit, without_miss = _f1(hits - 1, support - 2) - f1, _f1(hits, support - 1) - f1
    change = np.where(hit, without_hit[rows, labels], without_miss[rows, labels] + without_miss[rows, predictions])
    metric = f1.mean(axis=1)
    return TextValues(metric, metric[:, None] - (texts - 1) / num_classes * change)


def joint_interval(
    differences: Sequence[float], tables: Sequence[NDArray[np.floating]], *, ratio: float = 0.0
) -> tuple[float, float]:
    """95 % interval of a mean paired difference, over other seeds and other texts.

    differences [n]: one per seed, n >= 1. tables: for each sample of texts (the test set; for a gap also the evaluation
    set) first minus second of `TextValues.by_text`, [n, E]. The half width is that of Howe (1974) for a sum of
    independent parts, h² = t(n-1)² S²/n + sum over tables of t(E-1)² max(0, texts - both), and at least that of the
    texts alone. With one seed only the texts count. It contains the t interval of the seeds.

    `ratio`: test texts over training texts where each seed has its own splits, as in study.results.resampled, whose
    interval takes the place of the t interval then.
    """
    mean, n = statistics.fmean(differences), len(differences)
    parts = [(_quantile(table.shape[1] - 1) ** 2, components(table)) for table in tables if table.shape[1] > 1]
    least = sum(square * part.texts for square, part in parts)
    if n > 1:
        of_seeds = _quantile(n - 1) ** 2 * statistics.variance(differences) * (1 / n + ratio)
        least = max(least, of_seeds + sum(square * max(0.0, part.texts - part.both) for square, part in parts))
    half = math.sqrt(least)
    return mean - half, mean + half


def components(table: NDArray[np.floating]) -> Components:
    """The parts of the variance of the mean of `table` [n, E] that its columns cause; E >= 2.

    texts = variance over e of the mean over seeds / E; both = residual mean square / (n E), 0 for one seed.
    """
    seeds, texts = table.shape
    by_text = table.mean(axis=0)
    of_texts = float(by_text.var(ddof=1)) / texts
    if seeds == 1:
        return Components(of_texts, 0.0)
    rest = table - table.mean(axis=1, keepdims=True) - (by_text - by_text.mean())
    residual = float(np.vdot(rest, rest)) / ((seeds - 1) * (texts - 1))
    return Components(of_texts, residual / (seeds * texts))


def _counts(cells: NDArray[np.integer], models: int, num_classes: int) -> NDArray[np.float64]:
    """How often each class of each model occurs, [M, C]; `cells` are model * C + class."""
    return np.bincount(cells.ravel(), minlength=models * num_classes).reshape(models, num_classes).astype(np.float64)


def _f1(hits: NDArray[np.float64], support: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 of each class, 0 where nothing is left of it."""
    return np.divide(2 * hits, support, out=np.zeros_like(hits), where=support > 0)


def _quantile(degrees: int) -> float:
    from scipy.special import stdtrit  # as in study.results.spread

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
