"""Cells against the paper's table and against another study: what is matched, and when seeds pair."""

from __future__ import annotations

import statistics

import pytest
import scipy.stats
from compared_cells import seeded

from study.results.against import Origin, against_paper, against_study

OURS = [0.78, 0.80, 0.79, 0.81, 0.77, 0.80, 0.79, 0.78, 0.82, 0.79]
PLACE = {"encoder": "roberta-base", "dataset": "acl-arc"}
SAME = {("roberta-base", "acl-arc"): Origin("commit", "hash")}


def test_a_cell_meets_the_printed_one():
    [entry] = against_paper([seeded("rtm", OURS, **PLACE)])
    theirs = scipy.stats.ttest_ind_from_stats(
        statistics.mean(OURS), statistics.stdev(OURS), 10, 0.7894, 0.0176, 10, equal_var=False
    )
    assert entry.difference == pytest.approx(statistics.mean(OURS) - 0.7894)
    assert (entry.p, entry.p_holm, entry.test, entry.family) == (
        *(pytest.approx(theirs.pvalue), pytest.approx(theirs.pvalue)),
        *("welch", 1),
    )
    low, high = entry.ci_low or 0, entry.ci_high or 0
    assert low < entry.difference < high
    assert not entry.confirmatory
    assert (entry.second.mean, entry.second.std, entry.second.n) == (0.7894, 0.0176, 10)
    assert (entry.n, entry.pairing, entry.floor, entry.effect_size) == (0, None, None, None)


def test_only_cells_that_the_paper_prints_are_matched_and_variants_are_too():
    cells = [
        seeded("rtm", OURS, **PLACE),
        seeded("rtm", OURS, **PLACE | {"encoder": "mine"}),
        seeded("mtl_static", OURS, **PLACE),
        seeded("stl", OURS, encoder="scibert", dataset="imdb"),
        seeded("l3masking", OURS, variant="surprisal", **PLACE),
        seeded("l3masking", [], **PLACE),
        seeded("l3masking", OURS[:1], encoder="bert-base", dataset="acl-arc"),
    ]
    found = against_paper(cells)
    assert [(entry.question.split(" vs ")[0], entry.encoder) for entry in found] == [
        ("rtm", "roberta-base"),
        ("l3masking @ surprisal", "roberta-base"),
        ("l3masking", "roberta-base"),
        ("l3masking", "bert-base"),
    ]
    assert [entry.difference is None for entry in found] == [False, False, True, False]
    assert [entry.ci_low is None for entry in found] == [False, False, True, True]  # one seed has no interval
    assert any("look exchanged" in note for note in found[3].notes)


def test_studies_pair_by_seed_where_encoder_and_data_are_the_same():
    ours, theirs = seeded("rtm", OURS, **PLACE), seeded("rtm", [value - 0.02 for value in OURS], **PLACE)
    [entry] = against_study([ours], [theirs], "other", SAME, SAME)
    assert (entry.pairing, entry.test, entry.n, entry.p) == ("head", "sign_flip", 10, 2 / 1024)
    assert entry.difference == pytest.approx(0.02)
    assert (entry.first.study, entry.second.study, entry.question) == (None, "other", "rtm vs other")


@pytest.mark.parametrize(
    "other", [Origin("another", "hash"), Origin("commit", "another"), Origin(None, None), Origin(None, "hash")]
)
def test_studies_of_other_encoders_or_data_are_not_paired(other: Origin):
    cell = seeded("rtm", OURS, **PLACE)
    origins = {("roberta-base", "acl-arc"): other}
    [entry] = against_study([cell], [cell], "other", SAME, origins)
    assert (entry.pairing, entry.test, entry.n) == (None, "welch", 0)
    [entry] = against_study([cell], [cell], "other", origins if None in other else SAME, origins)
    assert entry.pairing is None


def test_studies_that_share_fewer_than_two_seeds_are_not_paired():
    ours = seeded("rtm", OURS, **PLACE)
    theirs = seeded("rtm", {9: 0.7, 10: 0.71, 11: 0.72}, **PLACE)
    [entry] = against_study([ours], [theirs], "other", SAME, SAME)
    assert (entry.pairing, entry.first.n, entry.second.n) == (None, 10, 3)


def test_cells_that_the_other_study_lacks_are_left_out():
    ours = [seeded("rtm", OURS, **PLACE), seeded("rtm", OURS, variant="best", **PLACE)]
    assert [entry.question for entry in against_study(ours, ours[1:], "o", SAME, SAME)] == ["rtm @ best vs o"]
    assert against_study(ours, [], "o", SAME, SAME) == []
