"""Stratified cuts against scikit-learn and their own rules; overlap against pairwise comparison."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import train_test_split

from l3masking.data.rows import Rows
from l3masking.data.splits import Parts, count_overlap, cut_rows, drop_overlap, quotas, same_text
from l3masking.errors import InputError
from l3masking.rng import stream

# the class sizes of Ohsumed's training file
OHSUMED = [531, 380, 334, 216, 198, 165, 159, 152, 146, 103, 103, 91, 83, 75, 50, 50, 45, 39, 28, 23, 21, 21, 9]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 40), min_size=2, max_size=8), st.data())
def test_quotas_are_exact_near_proportional_and_leave_every_class(sizes: list[int], data: st.DataObject) -> None:
    counts = {f"c{number}": size for number, size in enumerate(sizes)}
    total, room = sum(sizes), sum(sizes) - len(sizes)
    if room == 0:
        return
    num_rows = data.draw(st.integers(1, room))
    cut = quotas(counts, num_rows)
    assert sum(cut.values()) == num_rows
    full = any(cut[label] == counts[label] - 1 for label in counts)
    for label, size in counts.items():
        exact = num_rows * size / total
        assert 0 <= cut[label] <= size - 1
        assert cut[label] >= min(int(exact), size - 1)
        assert full or cut[label] < exact + 1  # only a class that has no more to give makes another give more


@pytest.mark.parametrize("num_rows", [335, 302, 1000])
def test_quotas_agree_with_scikit_learn(num_rows: int) -> None:
    labels = [f"{number:02d}" for number, size in enumerate(OHSUMED) for _ in range(size)]
    counts = Counter(labels)
    cut = quotas(counts, num_rows)
    _, theirs = train_test_split(labels, test_size=num_rows, stratify=labels, random_state=0)
    found = Counter(theirs)
    remainder = {label: num_rows * counts[label] % len(labels) for label in counts}
    raised = [remainder[label] for label in counts if cut[label] > num_rows * counts[label] // len(labels)]
    # scikit-learn settles equal remainders by lot; everything apart from those at the border must agree
    free = {label for label in counts if remainder[label] == min(raised)}
    assert {label: cut[label] for label in counts if label not in free} == {
        label: found[label] for label in counts if label not in free
    }
    assert len(free) <= 3


def test_small_class_stays_in_train_where_scikit_learn_takes_it_whole() -> None:
    labels = ["a"] * 2 + ["b"] * 50 + ["c"] * 50
    assert quotas(Counter(labels), 80)["a"] == 1
    assert quotas(Counter(labels), 99) == {"a": 1, "b": 49, "c": 49}


@pytest.mark.parametrize("num_rows", [0, -1, 5, 7])
def test_impossible_cut_is_refused(num_rows: int) -> None:
    with pytest.raises(InputError, match=r"from 7 in 3 classes, .* 4 at most") as caught:
        quotas({"a": 1, "b": 1, "c": 5}, num_rows)
    assert str(caught.value).startswith(f"{num_rows} rows")


def test_cut_keeps_order_and_loses_nothing() -> None:
    rows = Rows([f"text {n}" for n in range(60)], ["abc"[n % 3] for n in range(60)])
    rest, cut = cut_rows(rows, 20, stream(0, "split", "test"))
    assert (len(rest.texts), len(cut.texts)) == (40, 20)
    for part in (rest, cut):
        numbers = [int(text.split()[1]) for text in part.texts]
        assert numbers == sorted(numbers)
        assert [rows.labels[number] for number in numbers] == part.labels
    assert sorted(rest.texts + cut.texts) == sorted(rows.texts)
    assert cut_rows(rows, 20, stream(0, "split", "test")) == (rest, cut)
    assert cut_rows(rows, 20, stream(1, "split", "test")) != (rest, cut)


def test_cut_draws_every_row_of_a_class_equally_often() -> None:
    rows = Rows([str(n) for n in range(12)], ["a"] * 8 + ["b"] * 4)
    drawn = Counter(text for seed in range(600) for text in cut_rows(rows, 6, stream(seed, "split"))[1].texts)
    # each row with probability 1/2: 600 draws, sd sqrt(150) = 12.2; 62 is above 5 sigma
    assert {text for text, count in drawn.items() if abs(count - 300) < 62} == set(rows.texts)


def test_same_text_ignores_case_blanks_and_unicode_form() -> None:
    assert same_text(" Caf\u00e9\t STRASSE\n") == same_text("cafe\u0301 stra\u00dfe")
    assert same_text("ab") != same_text("a b")


def planted() -> Parts:
    return Parts(
        train=Rows(["One", "one ", "two", "TWO", "three", "four", "five"], ["x", "x", "x", "y", "y", "x", "y"]),
        validation=Rows(["ONE", "six", "seven", "six"], ["x", "x", "y", "y"]),
        test=Rows(["t\u0077o", "nine", "Six", "four"], ["x", "y", "y", "x"]),
    )


def test_overlap_counts_agree_with_pairwise_comparison() -> None:
    parts = planted()

    def equal(one: str, other: str) -> bool:
        return one.strip().lower() == other.strip().lower()  # enough for these ASCII texts

    def inside(part: Rows, other: Rows) -> int:
        return sum(any(equal(one, two) for two in other.texts) for one in part.texts)

    texts = parts.train.texts
    repeats = sum(any(equal(text, earlier) for earlier in texts[:number]) for number, text in enumerate(texts))
    counts = count_overlap(parts)
    assert counts["train_repeated"] == repeats == 2
    assert counts["train_distinct"] == len(texts) - repeats
    assert counts["train_conflicting"] == 1  # "two"
    assert counts["validation_in_train"] == inside(parts.validation, parts.train) == 1
    assert counts["test_in_train"] == inside(parts.test, parts.train) == 2
    assert counts["test_in_validation"] == inside(parts.test, parts.validation) == 1
    assert [counts[f"{part}_rows"] for part in ("train", "validation", "test")] == [7, 4, 4]


def test_drop_rules() -> None:
    parts = planted()
    assert drop_overlap(parts, "keep") == parts
    from_train = drop_overlap(parts, "drop_from_train")
    assert from_train == parts._replace(train=Rows(["three", "five"], ["y", "y"]))
    from_eval = drop_overlap(parts, "drop_from_eval")
    assert from_eval.train == parts.train
    assert from_eval.validation == Rows(["six", "seven", "six"], ["x", "y", "y"])
    assert from_eval.test == Rows(["nine", "Six"], ["y", "y"])


@pytest.mark.parametrize("num_copies", [0, 1, 5])
def test_planted_share_is_found(num_copies: int) -> None:
    train = Rows([f"train text {n}" for n in range(200)], ["x"] * 200)
    test = Rows([f"test text {n}" for n in range(100)], ["x"] * 100)
    test.texts[:num_copies] = [f" TRAIN  text {7 * n}" for n in range(num_copies)]
    counts = count_overlap(Parts(train, Rows([], []), test))
    assert (counts["test_in_train"], counts["test_rows"]) == (num_copies, 100)
