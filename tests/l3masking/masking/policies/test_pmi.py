"""PMI-Masking against its definition: every cut of every n-gram, one after the other."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator

import numpy as np
import pytest

from l3masking.errors import InputError
from l3masking.masking.policies.base import PolicyText
from l3masking.masking.policies.pmi import Pmi, Words
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream

PAIR, TRIPLE = ("new", "york"), ("in", "spite", "of")


def tokens_of(word: str) -> list[int]:
    """Long words have two tokens."""
    ids = [sum(word.encode()) % 997 + 10]
    return [*ids, len(word) + 2000] if len(word) > 3 else ids


def text_of(words: list[str]) -> PolicyText:
    pieces = [tokens_of(word) for word in words]
    ids = [1, *itertools.chain(*pieces), 2]
    numbers = np.repeat(np.arange(len(words)) + 7, [len(piece) for piece in pieces] if pieces else 0)
    return PolicyText(input_ids=np.array(ids), positions=np.arange(1, len(ids) - 1), words=numbers)


def corpus() -> list[list[str]]:
    """Random words among which two collocations come often."""
    draw = random.Random(5)
    vocabulary = [f"w{number}" for number in range(12)] + ["new", "of"]
    texts = []
    for _ in range(60):
        words: list[str] = []
        while len(words) < 14:
            words += draw.choice([[draw.choice(vocabulary)]] * 6 + [list(PAIR), list(TRIPLE)])
        texts.append(words)
    return [*texts, [], ["alone"]]


def segmentations(words: tuple) -> Iterator[list[tuple]]:
    for count in range(1, len(words)):
        for cuts in itertools.combinations(range(1, len(words)), count):
            edges = [0, *cuts, len(words)]
            yield [words[a:b] for a, b in itertools.pairwise(edges)]


def slow_collocations(texts: list[list[str]], longest: int, min_count: int, share: float) -> set[Words]:
    runs = [
        tuple(tuple(tokens_of(word)) for word in words[at : at + n])
        for words in texts
        for n in range(1, longest + 1)
        for at in range(len(words) - n + 1)
    ]
    count = {run: runs.count(run) for run in set(runs)}
    total = {n: sum(len(run) == n for run in runs) for n in range(1, longest + 1)}

    def p(run: tuple) -> float:
        return count[run] / total[len(run)]

    scores = {
        run: min(math.log(p(run) / math.prod(p(part) for part in parts)) for parts in segmentations(run))
        for run in count
        if len(run) > 1 and count[run] >= min_count
    }
    good = sorted((run for run, score in scores.items() if score > 0), key=lambda run: (-scores[run], run))
    return set(good[: math.ceil(share * len(good))])


@pytest.mark.parametrize(("longest", "min_count", "share"), [(2, 3, 1.0), (3, 4, 0.5), (5, 2, 0.7)])
def test_collocations_are_those_of_the_definition(longest: int, min_count: int, share: float) -> None:
    texts = corpus()
    policy = Pmi(longest=longest, min_count=min_count, share=share)
    found = policy.fitted([text_of(words) for words in texts])
    assert found.collocations == slow_collocations(texts, longest, min_count, share)
    assert policy.collocations == frozenset(), "the policy itself stays as it is"
    assert (found.longest, found.min_count, found.share) == (longest, min_count, share)


def test_known_collocations_are_masked_together_the_longest_first() -> None:
    fitted = Pmi(min_count=40, share=1.0).fitted([text_of(words) for words in corpus()])
    pieces = [tuple(tuple(tokens_of(word)) for word in words) for words in (PAIR, TRIPLE)]
    assert set(pieces) <= fitted.collocations
    words = ["w1", "in", "spite", "of", "new", "york", "new", "w2"]
    text = text_of(words)
    groups = fitted.weights(text, MaskingConfig(), stream(0, "policy")).groups
    assert groups is not None
    of_word = [int(groups[np.flatnonzero(text.word_numbers == number)[0]]) for number in range(len(words))]
    assert of_word == [0, 1, 1, 1, 2, 2, 3, 4]
    assert all(len(set(groups[text.word_numbers == number].tolist())) == 1 for number in range(len(words)))


def test_without_texts_or_candidates_each_word_is_alone() -> None:
    for policy in (Pmi(), Pmi().fitted([]), Pmi(min_count=1000).fitted([text_of(words) for words in corpus()])):
        found = policy.weights(text_of(list(TRIPLE)), MaskingConfig(), stream(0, "policy"))
        assert found.groups is not None
        assert found.groups.tolist() == [0, 1, 1, 2]


@pytest.mark.parametrize(
    ("setting", "words"),
    [({"longest": 1}, "longest is 1"), ({"min_count": 0}, "min_count is 0"), ({"share": 0.0}, "share is 0.0")],
)
def test_refused_settings(setting: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Pmi(**setting)
