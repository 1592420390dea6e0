"""The sequential heuristic: the worked case, a plain definition, and many units at a time."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from l3masking.errors import InputError
from l3masking.selective import important_tokens
from l3masking.selective.heuristic import Capacity, Passage, important_units

CASE = {("w1",): 0.50, ("w1", "w2"): 0.93, ("w1", "w3"): 0.60, ("w1", "w3", "w4"): 0.94}


def known(table):
    return lambda batch: [table[tuple(tokens)] for tokens in batch]


def test_the_worked_case() -> None:
    """A first token far from the whole text needs no value of the empty sequence."""
    words = ["w1", "w2", "w3", "w4"]
    assert important_tokens(words, known(CASE), full=0.95) == [False, True, False, True]
    assert important_tokens(words, known({**CASE, tuple(words): 0.95})) == [False, True, False, True]


def test_a_buffer_that_is_surer_than_the_text_is_important_for_the_signed_criterion_alone() -> None:
    table = {(): 0.2, ("a",): 0.999}
    assert important_tokens(["a"], known(table), full=0.94, criterion="signed") == [True]
    assert important_tokens(["a"], known(table), full=0.94, criterion="abs") == [False]


def test_a_token_is_not_important_where_the_empty_sequence_is_near_already() -> None:
    assert important_tokens(["a"], known({("a",): 0.94, (): 0.93}), full=0.95) == [False]
    assert important_tokens(["a"], known({("a",): 0.94, (): 0.30}), full=0.95) == [True]


def test_no_tokens() -> None:
    assert important_tokens([], known({(): 0.5})) == []


@pytest.mark.parametrize(("name", "value"), [("delta", 0.0), ("delta", 1.5), ("criterion", "both")])
def test_refused(name: str, value: object) -> None:
    with pytest.raises(InputError, match=name):
        important_tokens(["a"], known({}), **{name: value})


def chance(tokens: Sequence[int], salt: int) -> float:
    """A made-up probability of any sequence."""
    return random.Random(f"{salt}:{list(tokens)}").random()


def plainly(tokens: Sequence[int], salt: int, delta: float, criterion: str) -> list[bool]:
    """The definition, one call at a time."""
    full, buffer, found = chance(tokens, salt), [], []
    for token in tokens:
        before, now = chance(buffer, salt), chance([*buffer, token], salt)
        if criterion == "abs":
            important = abs(full - now) < delta and abs(full - before) >= delta
        else:
            important = full - now < delta
        found.append(important)
        if not important:
            buffer.append(token)
    return found


CRITERIA = st.sampled_from(["abs", "signed"])
CAPACITIES = st.builds(Capacity, tokens=st.integers(1, 20), padding=st.integers(0, 6), specials=st.integers(0, 2))


@given(st.lists(st.integers(0, 3), max_size=8), st.integers(0, 50), st.floats(0.01, 1), CRITERIA)
def test_one_text_is_as_defined(tokens: list[int], salt: int, delta: float, criterion: str) -> None:
    found = important_tokens(
        tokens, lambda batch: [chance(one, salt) for one in batch], delta=delta, criterion=criterion
    )
    assert found == plainly(tokens, salt, delta, criterion)


@given(
    st.lists(st.lists(st.integers(0, 3), max_size=6), max_size=9),
    *(st.floats(0.01, 1), CRITERIA, st.integers(1, 4), CAPACITIES),
)
def test_many_units_are_as_one_by_one(
    texts: list[list[int]], delta: float, criterion: str, width: int, capacity: Capacity
) -> None:
    asked = []

    def confidence(queries):
        asked.append(len(queries))
        return [chance(tokens, number) for number, tokens in queries]

    units = (Passage(number, tokens) for number, tokens in enumerate(texts))
    found = {
        one.number: one for one in important_units(units, confidence, delta, criterion, width=width, capacity=capacity)
    }
    assert len(found) == len(texts)
    assert max(asked, default=0) <= width
    for number, tokens in enumerate(texts):
        assert found[number].important == plainly(tokens, number, delta, criterion)
        buffer = []
        for token, important, gain in zip(tokens, found[number].important, found[number].gain, strict=True):
            assert gain == pytest.approx(chance([*buffer, token], number) - chance(buffer, number))
            if not important:
                buffer.append(token)


def test_units_of_all_lengths_are_tested_with_little_padding() -> None:
    """Fewer tokens than a step for all units at once would pad to, and few batches."""
    draw = random.Random(3)
    texts = [[draw.randrange(50) for _ in range(draw.randint(3, 40))] for _ in range(60)]
    batches = []

    def confidence(queries):
        batches.append([len(tokens) + 2 for _, tokens in queries])
        return [chance(tokens, number) for number, tokens in queries]

    units = [Passage(number, tokens, 0.5) for number, tokens in enumerate(texts)]
    list(important_units(units, confidence, 0.3, "abs", with_gain=False, capacity=Capacity(4096, 64, 2)))
    real, padded = sum(map(sum, batches)), sum(len(batch) * max(batch) for batch in batches)
    assert sum(map(len, batches)) >= sum(map(len, texts))
    assert padded < 1.3 * real
    assert len(batches) < 200
