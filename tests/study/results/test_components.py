"""Variance components: values by text against leaving texts out one by one, and the analysis of variance as loops."""

from __future__ import annotations

import math
import statistics
import time

import numpy as np
import pytest
import scipy.stats
from crossed_arms import KINDS, two_arms

from l3masking.metrics import METRICS
from study.results.components import components, joint_interval, text_values
from study.results.paired import named_generator
from study.results.spread import t_interval


def models(classes: int = 4, texts: int = 17, count: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions; class 3 occurs once, and the class after the last never."""
    generator = named_generator("models", classes, texts)
    labels = generator.integers(0, classes - 1, texts)
    labels[3] = classes - 1
    predictions = np.where(
        generator.random((count, texts)) < 0.6, labels, generator.integers(0, classes, (count, texts))
    )
    return labels, predictions.astype(np.uint8)


@pytest.mark.parametrize("objective", ["accuracy", "macro_f1"])
def test_values_by_text_are_the_jackknife_one_text_after_the_other(objective: str):
    labels, predictions = models()
    metric, classes, texts = METRICS[objective], 5, len(labels)
    found = text_values(labels, predictions, objective, classes)
    for row, given in enumerate(predictions):
        whole = metric(given, labels, classes)
        assert found.metric[row] == pytest.approx(whole, abs=1e-12)
        for text in range(texts):
            rest = np.arange(texts) != text
            without = metric(given[rest], labels[rest], classes)
            assert found.by_text[row, text] == pytest.approx(texts * whole - (texts - 1) * without, abs=1e-9)


def slow(table: np.ndarray) -> tuple[float, float]:
    """Variance of the mean that texts cause, and seeds by texts, by the definitions of a two-way analysis."""
    n, texts = table.shape
    grand = sum(map(float, table.ravel())) / table.size
    rows = [sum(map(float, row)) / texts for row in table]
    columns = [sum(map(float, column)) / n for column in table.T]
    between = n * sum((value - grand) ** 2 for value in columns) / (texts - 1)  # mean square of texts
    rest = sum((float(table[i, e]) - rows[i] - columns[e] + grand) ** 2 for i in range(n) for e in range(texts)) / (
        (n - 1) * (texts - 1)
    )
    return between / (n * texts), rest / (n * texts)


def test_components_are_those_of_a_two_way_analysis_written_as_loops():
    table = named_generator("table").normal(0, 1, (4, 11)) + named_generator("columns").normal(0, 1, 11)
    assert components(table) == pytest.approx(slow(table), rel=1e-12)
    one = table[:1]
    assert components(one) == (pytest.approx(float(one[0].var(ddof=1)) / 11), 0.0)


def test_the_interval_by_hand():
    generator = named_generator("by hand")
    tables = [generator.normal(0, 1, (3, 30)) + generator.normal(0, 2, 30), generator.normal(0, 1, (3, 12))]
    differences = [0.03, 0.05, 0.01]
    low, high = joint_interval(differences, tables)
    parts = [slow(table) for table in tables]
    quantile = [scipy.stats.t.ppf(0.975, table.shape[1] - 1) for table in tables]
    seeds = scipy.stats.t.ppf(0.975, 2) ** 2 * statistics.variance(differences) / 3
    square = seeds + sum(q**2 * max(0.0, texts - both) for q, (texts, both) in zip(quantile, parts, strict=True))
    least = sum(q**2 * texts for q, (texts, _) in zip(quantile, parts, strict=True))
    half = math.sqrt(max(square, least))
    assert (low, high) == pytest.approx((0.03 - half, 0.03 + half), rel=1e-9)
    assert (low + high) / 2 == pytest.approx(0.03)


def test_it_contains_the_interval_over_seeds():
    generator = named_generator("contains")
    for n in (2, 3, 10):
        table = (generator.random((n, 40)) < 0.6).astype(float) - (generator.random((n, 40)) < 0.5)
        differences = list(table.mean(axis=1))
        low, high = joint_interval(differences, [table])
        inner = t_interval(statistics.fmean(differences), statistics.stdev(differences), n)
        assert low <= inner[0] + 1e-15
        assert high >= inner[1] - 1e-15


def test_one_seed_leaves_the_texts_alone_and_its_width_is_the_binomial_standard_error():
    texts = 400
    right = (np.arange(texts) % 4 > 0).astype(float)[None]
    low, high = joint_interval([0.75], [right])
    error = math.sqrt(0.75 * 0.25 / (texts - 1))
    assert (high - low) / 2 == pytest.approx(scipy.stats.t.ppf(0.975, texts - 1) * error)
    assert joint_interval([0.5], [np.zeros((1, 1))]) == (0.5, 0.5)  # one text says nothing of its spread


def test_the_part_of_the_texts_is_what_resampled_texts_show():
    """Macro F1 of a mean difference under 4,000 test sets drawn with replacement, one after the other."""
    labels, predictions = models(4, 120, 6)
    tables = text_values(labels, predictions, "macro_f1", 4).by_text
    spread = math.sqrt(components(tables[:3] - tables[3:]).texts)
    generator, drawn = named_generator("resampled"), []
    metric = METRICS["macro_f1"]
    for _ in range(4000):
        taken = generator.integers(0, 120, 120)
        values = [metric(row[taken], labels[taken], 4) for row in predictions]
        drawn.append(np.mean(values[:3]) - np.mean(values[3:]))
    # the bootstrap's own noise is 1.1 %; a class of one text makes the two differ by more
    assert float(np.std(drawn)) == pytest.approx(spread, rel=0.25)


# ---- how often the interval holds the truth

FLOOR = {3: 0.93, 5: 0.93, 10: 0.93}  # wanted coverage by number of seeds
STUDIES = 1000


def percentile_bootstrap(table: np.ndarray, generator: np.random.Generator, draws: int = 300) -> tuple[float, float]:
    """The interval until 2026-12-01: seeds and texts resampled at once, 2.5th to 97.5th percentile."""
    n, texts = table.shape
    seeds = generator.multinomial(n, np.full(n, 1 / n), size=draws)
    drawn = generator.multinomial(texts, np.full(texts, 1 / texts), size=draws)
    low, high = np.quantile(np.einsum("di,ie,de->d", seeds, table, drawn, optimize=True) / (n * texts), [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", FLOOR)
def test_coverage_of_accuracy(n: int, kind: str):
    generator, held, before, few = named_generator("coverage", n, kind), 0, 0, STUDIES // 4
    for study in range(STUDIES):
        right = two_arms(generator, n, 139, KINDS[kind]).astype(float)
        table = right[0] - right[1]
        low, high = joint_interval(list(table.mean(axis=1)), [table])
        held += low <= 0 <= high
        if study < few:
            low, high = percentile_bootstrap(table, named_generator("before", n, kind, study))
            before += low <= 0 <= high
    print(f"accuracy, n={n}, {kind}: {held / STUDIES:.3f}, percentile bootstrap {before / few:.2f}")
    assert held / STUDIES > FLOOR[n] - 5 * math.sqrt(FLOOR[n] * (1 - FLOOR[n]) / STUDIES)


@pytest.mark.parametrize("kind", ["texts", "seeds"])
@pytest.mark.parametrize("n", FLOOR)
def test_coverage_of_macro_f1(n: int, kind: str):
    """Six classes as uneven as those of ACL-ARC."""
    generator, held, classes, studies = named_generator("coverage of F1", n, kind), 0, 6, 600
    for _ in range(studies):
        labels = generator.choice(classes, 139, p=[0.52, 0.18, 0.15, 0.04, 0.035, 0.075])
        wrong = (labels + 1 + generator.integers(0, classes - 1, 139)) % classes
        given = np.where(two_arms(generator, n, 139, KINDS[kind]), labels, wrong)
        found = [text_values(labels, rows, "macro_f1", classes) for rows in given]
        differences = list(found[0].metric - found[1].metric)
        low, high = joint_interval(differences, [found[0].by_text - found[1].by_text])
        held += low <= 0 <= high
    print(f"macro F1, n={n}, {kind}: {held / studies:.3f}")
    assert held / studies > FLOOR[n] - 5 * math.sqrt(FLOOR[n] * (1 - FLOOR[n]) / studies)


def test_a_large_test_set_takes_milliseconds():
    """The IMDb test set and ten seeds: 86 comparisons of such tables are to take seconds."""
    generator = named_generator("large")
    labels = generator.integers(0, 2, 22_500)
    predictions = np.where(generator.random((20, 22_500)) < 0.9, labels, 1 - labels).astype(np.uint8)
    begin = time.process_time()
    found = text_values(labels, predictions, "macro_f1", 2)
    joint_interval(list(found.metric[:10] - found.metric[10:]), [found.by_text[:10] - found.by_text[10:]])
    seconds = time.process_time() - begin
    print(f"one comparison of 2 x 10 models on 22,500 texts, macro F1: {1000 * seconds:.0f} ms")
    assert seconds < 1
