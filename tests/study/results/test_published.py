"""The paper's table as data: its shape, the differences quoted in the paper's text, and what is odd about it."""

from __future__ import annotations

import pytest

from study.results.published import TRIALS, is_mean_of_counts, oddities, table3

TABLE = table3()


def gain(encoder: str, dataset: str, objective: str, over: str = "rtm") -> float:
    l3, other = (TABLE[encoder, dataset, method, objective] for method in ("l3masking", over))
    return 100 * (l3.mean - other.mean)


def test_eight_pairs_three_methods_two_objectives():
    assert len(TABLE) == 48
    assert len({place[:2] for place in TABLE}) == 8
    assert {place[2] for place in TABLE} == {"stl", "rtm", "l3masking"}
    assert {place[3] for place in TABLE} == {"accuracy", "macro_f1"}
    assert ("scibert", "ohsumed", "stl", "accuracy") not in TABLE
    assert all(0.5 < cell.mean < 0.95 and 0 < cell.std < 0.07 for cell in TABLE.values())


def test_the_differences_quoted_in_the_text_follow_from_the_table():
    assert gain("roberta-base", "acl-arc", "accuracy") == pytest.approx(0.18)
    assert gain("roberta-base", "acl-arc", "macro_f1") == pytest.approx(3.00)
    assert gain("scibert", "acl-arc", "accuracy") == pytest.approx(2.36)
    assert gain("scibert", "acl-arc", "macro_f1") == pytest.approx(3.22)
    assert gain("roberta-base", "ohsumed", "accuracy") == pytest.approx(3.46)


def test_a_mean_of_counts_is_told_from_another_number():
    for count in range(900, 1390, 7):
        assert is_mean_of_counts(round(count / (139 * TRIALS), 4))
    for printed in (0.7894, 0.7912, 0.8250, 0.7134):
        assert not is_mean_of_counts(printed)


def told(encoder: str, dataset: str, method: str, objective: str = "accuracy") -> str:
    return " ".join(oddities(TABLE[encoder, dataset, method, objective]))


def test_oddities_stand_beside_the_cells_that_they_are_about():
    assert "look exchanged" in told("bert-base", "acl-arc", "rtm")
    assert "76.98 ± 2.03" in told("bert-base", "acl-arc", "rtm")
    assert "66.10" not in told("bert-base", "ohsumed", "l3masking", "macro_f1")
    assert "63.15 ± 0.90" in told("bert-base", "ohsumed", "l3masking", "macro_f1")
    assert "exchanged" not in told("bert-base", "imdb", "rtm") + told("roberta-base", "acl-arc", "rtm")
    for method in ("stl", "rtm"):
        assert "slip of copying" in told("bert-base", "imdb", method)
    assert "slip" not in told("bert-base", "imdb", "l3masking") + told("bert-base", "imdb", "rtm", "macro_f1")
    assert "139 texts" in told("scibert", "acl-arc", "l3masking")
    assert "139 texts" not in told("scibert", "acl-arc", "rtm") + told("scibert", "acl-arc", "l3masking", "macro_f1")
    assert "4,043" in told("clinicalbert", "ohsumed", "stl")
    assert "negative log-likelihood" in told("roberta-base", "imdb", "l3masking")
    assert told("roberta-base", "imdb", "rtm") == ""
