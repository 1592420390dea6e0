"""Span masking: whole words, and the lengths of SpanBERT."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from l3masking.errors import InputError
from l3masking.masking.policies.base import PolicyText
from l3masking.masking.policies.span import Span
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream

SIGMAS = 5.0


def lengths_of(policy: Span, words: int, seed: int) -> list[int]:
    """Words in each span of a text of so many words, of one to three tokens each."""
    numbers = np.repeat(np.arange(words) + 4, np.arange(words) % 3 + 1)
    n = len(numbers)
    text = PolicyText(input_ids=np.arange(n + 2), positions=np.arange(n) + 1, words=numbers)
    found = policy.weights(text, MaskingConfig(), stream(seed, "policy"))
    assert not found.values.any()
    assert found.groups is not None
    assert np.all(np.diff(found.groups) >= 0)
    of_word = [set(found.groups[numbers == word].tolist()) for word in range(4, words + 4)]
    assert all(len(groups) == 1 for groups in of_word), "a word lies in one span"
    return list(Counter(group for (group,) in of_word).values())


def test_lengths_follow_the_truncated_geometric_distribution() -> None:
    found = Counter(lengths_of(Span(), 60_000, 1)[:-1])
    total = sum(found.values())
    chances = {k: 0.8 ** (k - 1) * 0.2 for k in range(1, 11)}
    whole = sum(chances.values())
    assert set(found) == set(chances)
    for k, chance in chances.items():
        expected = chance / whole
        assert abs(found[k] / total - expected) <= SIGMAS * math.sqrt(expected * (1 - expected) / total)
    assert sum(k * chance / whole for k, chance in chances.items()) == pytest.approx(3.8, abs=0.01)  # as in the paper


@pytest.mark.parametrize("words", [0, 1, 2, 9, 50])
def test_spans_cover_every_text(words: int) -> None:
    lengths = lengths_of(Span(longest=4), words, 2)
    assert sum(lengths) == words
    assert max(lengths, default=0) <= 4


def test_one_word_at_the_longest_is_whole_word_masking() -> None:
    assert lengths_of(Span(longest=1), 30, 3) == [1] * 30


@pytest.mark.parametrize(("setting", "words"), [({"p": 0.0}, "p is 0.0"), ({"p": 1}, "p is 1"), ({"longest": 0}, "0")])
def test_refused_settings(setting: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Span(**setting)
