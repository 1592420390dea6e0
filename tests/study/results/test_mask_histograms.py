"""Distribution of mask probabilities: counts of trainings, each once."""

from __future__ import annotations

import pytest
from compared_cells import seeded
from made_courses import course, histogram

from study.results.mask_histograms import COLUMNS_OF_BINS, bin_rows, mask_distributions

RTM = [seeded("rtm", [0.7, 0.8], objective=goal) for goal in ("accuracy", "macro_f1")]
L3 = seeded("l3masking", [0.7])
STL = seeded("stl", [0.7])


def test_a_training_counts_once_and_seeds_are_pooled() -> None:
    given = [course(cell, seed, mask_histogram=histogram(p15=10 + seed)) for cell in RTM for seed in (0, 1)]
    given += [course(L3, 0, mask_histogram=histogram(p0=2, p15=3, p99=5)), course(STL, 0)]
    rtm, l3 = mask_distributions([STL, *RTM, L3], given)
    assert (rtm.key, rtm.seeds, sum(rtm.counts)) == (RTM[0].key, 2, 21)
    assert rtm.counts[15] == 21
    assert l3.key == L3.key
    assert (l3.edges[0], l3.edges[15], l3.edges[-1]) == (0, 0.15, 1)
    below = dict(zip(l3.edges, l3.share_below, strict=True))
    assert [below[edge] for edge in (0, 0.01, 0.15, 0.16, 0.99, 1)] == pytest.approx([0, 0.2, 0.2, 0.5, 0.5, 1])
    rows = bin_rows([l3])
    assert len(rows) == 100
    last = dict(zip(COLUMNS_OF_BINS, rows[-1], strict=True))
    assert (last["low"], last["high"], last["tokens"], last["share_below_high"]) == (0.99, 1.0, 5, 1.0)


def test_records_without_a_histogram_or_a_token_give_none() -> None:
    assert mask_distributions([*RTM, L3], [course(RTM[0], 0), course(L3, 0, mask_histogram=histogram())]) == []
