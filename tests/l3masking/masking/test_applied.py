"""A policy applied to texts: what it sees, where its groups lie, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest

from l3masking.errors import InputError
from l3masking.masking import applied
from l3masking.masking.applied import mask_texts, placed, summarise
from l3masking.masking.policies.base import PolicyText, Weights
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.probabilities import mask_probabilities
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.scoring import TokenScores
from l3masking.scoring.words import EncodedText

CONFIG = MaskingConfig(mean=0.2)


def text_of(n: int, words: Sequence[int] | None = None) -> EncodedText:
    """A text of n eligible tokens between two specials."""
    numbers = np.arange(n) if words is None else np.asarray(words)
    return EncodedText(np.array([2, *range(10, 10 + n), 3]), np.arange(1, n + 1), numbers)


def scores_of(text: EncodedText, *, entropy: bool = False) -> TokenScores:
    n = len(text.positions)
    values = -np.linspace(0.1, 3, n).astype(np.float32)
    found = np.linspace(2, 0, n).astype(np.float32) if entropy else None
    return TokenScores(
        input_ids=text.input_ids, positions=text.positions, words=text.words, log_likelihood=values, entropy=found
    )


TEXTS = [text_of(4), text_of(0), text_of(7, [0, 0, 1, 2, 2, 2, 3])]


def test_probabilities_stand_at_the_eligible_positions() -> None:
    rows = list(mask_texts(POLICIES["l3"], TEXTS, CONFIG, seed=1, scores=[scores_of(text) for text in TEXTS]))
    for row, text in zip(rows, TEXTS, strict=True):
        assert row.leaders is None
        assert np.array_equal(row.input_ids, text.input_ids)
        assert row.probabilities[0] == row.probabilities[-1] == 0
        likelihood = np.exp(scores_of(text).log_likelihood.astype(np.float64))
        assert np.array_equal(row.probabilities[text.positions], mask_probabilities(likelihood, mean=0.2))
    summary = summarise(TEXTS, rows, 0.2)
    assert summary["mean"] == pytest.approx(0.2, abs=1e-12)
    assert summary["largest_deviation"] < 1e-12


def test_entropy_and_importance_are_weights() -> None:
    text = TEXTS[0]
    (row,) = mask_texts(POLICIES["entropy"], [text], CONFIG, seed=1, scores=[scores_of(text, entropy=True)])
    np.testing.assert_allclose(row.probabilities[1:5], 0.2 * 4 * np.array([2, 4 / 3, 2 / 3, 0]) / 4, atol=1e-7)
    (row,) = mask_texts(POLICIES["importance"], [text], CONFIG, seed=1, importance=[np.array([0.0, 1, 0, 1])])
    np.testing.assert_allclose(row.probabilities, [0, 0, 0.4, 0, 0.4, 0])


def test_groups_lead_within_their_text() -> None:
    rows = list(mask_texts(POLICIES["whole_word"], TEXTS, CONFIG, seed=1))
    assert [row.leaders.tolist() for row in rows if row.leaders is not None] == [
        [0, 1, 2, 3, 4, 5],
        [0, 1],
        [0, 1, 1, 3, 4, 4, 4, 7, 8],
    ]
    apart = placed(np.arange(6), np.array([1, 3, 4]), np.full(3, 0.5), np.array([5, 2, 5]))
    assert apart.leaders is not None
    assert apart.leaders.tolist() == [0, 1, 2, 3, 1, 5]


def test_the_seed_alone_decides() -> None:
    texts = [text_of(40)] * 3
    one, two, other = (
        [row.leaders for row in mask_texts(POLICIES["span"], texts, CONFIG, seed=seed)] for seed in (3, 3, 4)
    )
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))
    assert not np.array_equal(one[0], one[1]), "each text is cut anew"


@dataclass(frozen=True)
class Looked:
    """A policy that notes how many texts it was fitted to."""

    summary: ClassVar[str] = "test"
    source: ClassVar[str] = "test"
    needs: ClassVar[frozenset[str]] = frozenset({"corpus"})
    seen: list[int] = field(default_factory=list)

    def fitted(self, texts: Sequence[PolicyText]) -> Looked:
        self.seen.append(len(texts))
        return self

    def weights(self, text: PolicyText, config: MaskingConfig, generator: object) -> Weights:
        return Weights(np.ones(len(text.positions)))


def test_a_policy_of_the_corpus_holds_no_more_than_it_looks_at(monkeypatch) -> None:
    monkeypatch.setattr(applied, "FIT_TEXTS", 3)
    taken: list[int] = []

    def texts() -> Iterator[EncodedText]:
        for number in range(9):
            taken.append(number)
            yield text_of(3)

    policy = Looked()
    rows = mask_texts(policy, texts(), CONFIG, seed=1)
    next(rows)
    assert (policy.seen, len(taken)) == ([3], 3)
    assert len(list(rows)) == 8


@dataclass(frozen=True)
class Gives:
    """A policy that returns what it was made with."""

    found: object
    summary: ClassVar[str] = "test"
    source: ClassVar[str] = "test"
    needs: ClassVar[frozenset[str]] = frozenset()

    def weights(self, text: PolicyText, config: MaskingConfig, generator: object) -> Weights:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (np.ones(4), "weights() returned ndarray: return Weights(values)"),
        (Weights([1.0, 1, 1, 1]), "weights() returned Weights: return Weights(values) with an array"),
        (Weights(np.array(list("abcd"))), "values of type <U1: return numbers"),
        (Weights(np.ones(3)), "(3,) weights for 4 tokens"),
        (Weights(np.ones((4, 1))), "(4, 1) weights for 4 tokens"),
        (Weights(np.array([1, np.nan, 1, 1])), "the weight of token 1 is nan"),
        (Weights(np.array([1, 1, np.inf, 1])), "the weight of token 2 is inf"),
        (Weights(np.array([1.0, 1, 1, -1])), "the weight of token 3 is -1.0"),
        (Weights(np.ones(4), np.zeros(3, dtype=int)), "groups of shape (3,)"),
        (Weights(np.ones(4), np.zeros(4)), "type float64 for 4 tokens"),
        (Weights(np.ones(4), None, np.array([0, 1, 2, 2])), "order is no permutation of 4 tokens"),
        (Weights(np.ones(4), np.zeros(4, dtype=int), np.arange(4)), "or stands beside groups"),
        (InputError("it does not like this text"), "it does not like this text"),
    ],
)
def test_what_is_no_weight_is_refused_with_policy_and_text(found: object, words: str) -> None:
    with pytest.raises(InputError) as refused:
        list(mask_texts(Gives(found), [text_of(4)], CONFIG, seed=0, name="mine"))  # type: ignore[arg-type]
    assert str(refused.value).startswith("masking policy mine, text 0: ")
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("name", "given", "words"),
    [
        ("l3", {}, "score the texts first"),
        ("l3", {"scores": [scores_of(TEXTS[0])]}, "the scores of text 1 belong to other token ids"),
        ("l3", {"scores": [scores_of(text_of(5))] * 3}, "the scores of text 0 belong to other token ids"),
        ("entropy", {"scores": [scores_of(text) for text in TEXTS]}, "entropy=True"),
        ("importance", {}, "needs the importance of each token"),
        ("importance", {"importance": [np.zeros(3)] * 3}, "the importance of text 0 belongs to another text"),
        ("importance", {"importance": [np.zeros(len(text.positions)) for text in [*TEXTS, TEXTS[0]]]}, "of more texts"),
    ],
)
def test_what_is_missing_is_said(name: str, given: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        list(mask_texts(POLICIES[name], TEXTS, CONFIG, seed=0, **given))
