"""The interval of a mean over resampled splits, which share most of their texts and so are not independent."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from l3masking.data.spec import DataSpec
from study.results.spread import t_interval
from study.space.spec import StudySpec


def resampled_interval(differences: Sequence[float], ratio: float) -> tuple[float, float]:
    """95 % interval of a mean difference over n >= 2 splits, each with its own training and test texts.

    mean ± t(0.975; n - 1) · s · √(1/n + ratio), with the sample standard deviation s: the corrected resampled t test of
    Nadeau and Bengio (2003, Machine Learning 52, section 3). `ratio`: test texts over training texts, 0 and up. At 0 it
    is the t interval of independent differences. The term beside 1/n stands for the correlation of differences whose
    training sets overlap; it does not become smaller with more splits.
    """
    n, mean = len(differences), statistics.mean(differences)
    # t_interval divides by √n: this deviation gives s · √(1/n + ratio) there
    return t_interval(mean, statistics.stdev(differences) * math.sqrt(1 + n * ratio), n)


def cut_anew(spec: StudySpec) -> list[str]:
    """The datasets of a study whose test split each seed cuts anew."""
    datasets = spec.datasets.items()
    return [n for n, data in datasets if isinstance(data, DataSpec) and data.per_seed and "test" in data.cut]
