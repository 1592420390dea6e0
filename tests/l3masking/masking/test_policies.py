"""Every masking policy: what all of them promise, and what each says."""

from __future__ import annotations

import copy
import itertools
import math
from collections import Counter

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from small_task import tokenizer

from l3masking.errors import InputError
from l3masking.masking.applied import mask_texts, placed
from l3masking.masking.corruption import IGNORED, corrupt
from l3masking.masking.policies.base import NEEDS, PolicyText, Weights, calibrated, check_weights
from l3masking.masking.policies.pmi import Pmi
from l3masking.masking.policies.span import Span
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.probabilities import calibrate, mask_probabilities
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.training.batches import pad, pad_leaders

SIGMAS = 5


def text_of(ids: list[int], words: list[int] | None = None) -> PolicyText:
    """A text of these ids between two special ones, with made-up values of all that a policy may need."""
    n, draw = len(ids), np.random.default_rng(len(ids))
    return PolicyText(
        input_ids=np.array([2, *ids, 3]),
        positions=np.arange(1, n + 1),
        words=np.arange(n) if words is None else np.array(words, dtype=np.int64),
        likelihood=draw.random(n),
        entropy=draw.random(n) * 5,
        importance=np.where(draw.random(n) > 0.7, draw.random(n), 0.0),
    )


TEXTS = [
    text_of([]),
    text_of([7]),
    text_of([7, 8]),
    text_of([7, 8, 9, 7, 8, 5, 7, 8, 9, 10], [0, 0, 1, 2, 2, 3, 4, 4, 5, 6]),
    text_of(list(range(5, 30))),
]


def seen(policy, text: PolicyText) -> PolicyText:
    """A text with what the policy needs alone."""
    values = {name: getattr(text, name) if name in policy.needs else None for name in NEEDS if name != "corpus"}
    return PolicyText(input_ids=text.input_ids, positions=text.positions, words=text.words, **values)


def test_every_policy_says_what_it_is() -> None:
    for policy in POLICIES.values():
        assert policy.summary
        assert not policy.summary.endswith(".")
        assert policy.needs <= set(NEEDS)


@pytest.mark.parametrize("mean", [0.0, 0.15, 0.7, 1.0])
@pytest.mark.parametrize("text", TEXTS, ids=lambda text: str(len(text.positions)))
@pytest.mark.parametrize("name", POLICIES)
def test_contract_of_every_policy(name: str, text: PolicyText, mean: float) -> None:
    policy, config = POLICIES[name], MaskingConfig(mean=mean)
    if "corpus" in policy.needs:
        policy = policy.fitted([seen(policy, one) for one in TEXTS])
    text = seen(policy, text)
    given, state = copy.deepcopy(text), torch.random.get_rng_state()
    first, again = (policy.weights(text, config, stream(1, "policy")) for _ in range(2))
    check_weights(first, len(text.positions), name)
    assert np.array_equal(first.values, again.values)
    assert (first.groups is None) == (again.groups is None)
    assert first.groups is None or np.array_equal(first.groups, again.groups)
    values = calibrate(first.values, mean=mean, groups=first.groups)
    assert values.shape == text.positions.shape
    assert np.all((values >= 0) & (values <= 1))
    assert not len(values) or abs(values.mean() - mean) < 1e-12
    for before, now in zip(vars(given).values(), vars(text).values(), strict=True):
        assert (before is None and now is None) or np.array_equal(before, now)
    assert torch.equal(state, torch.random.get_rng_state())


def one(policy, text: PolicyText, config: MaskingConfig, seed: int = 1) -> NDArray[np.float64]:
    weights = policy.weights(text, config, stream(seed, "x"))
    return calibrated(weights, config)


def test_l3_is_the_calibration_and_the_control_permutes_it() -> None:
    text, config = TEXTS[-1], MaskingConfig(mean=0.2, weighting="surprisal", floor=0.05)
    l3 = one(POLICIES["l3"], text, config)
    assert np.array_equal(l3, mask_probabilities(text.likelihood, mean=0.2, weighting="surprisal", floor=0.05))
    first, second = (one(POLICIES["l3_shuffled"], text, config, seed) for seed in (1, 2))
    assert np.allclose(sorted(first), sorted(l3), atol=1e-14)
    assert np.allclose(sorted(second), sorted(l3), atol=1e-14)
    assert not np.array_equal(first, l3)
    assert not np.array_equal(first, second)


def test_entropy_and_importance_are_their_own_weights() -> None:
    text = TEXTS[-1]
    for name in ("entropy", "importance"):
        weights = getattr(text, name)
        expected = weights * (0.1 * len(weights) / weights.sum())
        found = one(POLICIES[name], text, MaskingConfig(mean=0.1))
        assert np.allclose(found, np.minimum(expected, 1)) or found.max() == 1
        assert np.array_equal(np.argsort(found, kind="stable"), np.argsort(weights, kind="stable"))


def test_a_text_without_an_important_token_is_masked_at_random() -> None:
    text = PolicyText(input_ids=np.arange(6), positions=np.arange(1, 5), words=np.arange(4), importance=np.zeros(4))
    assert one(POLICIES["importance"], text, MaskingConfig(mean=0.3)).tolist() == [0.3] * 4


def test_whole_words_are_groups() -> None:
    weights = POLICIES["whole_word"].weights(TEXTS[3], MaskingConfig(), stream(0, "x"))
    assert weights.groups.tolist() == [0, 0, 1, 2, 2, 3, 4, 4, 5, 6]


def test_spans_have_the_lengths_of_spanbert() -> None:
    """Lengths in words against p(k) in proportion to 0.8^(k - 1) 0.2, k <= 10; the last span of a text is cut."""
    text = text_of([5] * 6000)
    groups = Span().weights(text, MaskingConfig(), stream(4, "x")).groups
    assert np.all(np.diff(groups) >= 0)
    lengths = np.bincount(groups)[:-1]
    chances = np.array([0.8 ** (k - 1) * 0.2 for k in range(1, 11)])
    chances /= chances.sum()
    found = np.bincount(lengths, minlength=11)[1:]
    assert len(found) == 10
    for count, chance in zip(found, chances, strict=True):
        assert abs(count - len(lengths) * chance) < SIGMAS * math.sqrt(len(lengths) * chance * (1 - chance))


def test_spans_are_of_whole_words_and_of_the_seed() -> None:
    text = TEXTS[3]
    first, again, other = (Span().weights(text, MaskingConfig(), stream(s, "x")).groups.tolist() for s in (1, 1, 5))
    assert first == again != other
    for word in set(text.words.tolist()):
        assert len({group for group, number in zip(first, text.words, strict=True) if number == word}) == 1


def pmi_by_hand(words: tuple, counts: Counter, totals: dict[int, int]) -> float:
    """The least over all cuts into two or more parts of ln p(whole) / prod p(part)."""

    def p(part: tuple) -> float:
        return counts[part] / totals[len(part)]

    values = []
    for cuts in itertools.product([0, 1], repeat=len(words) - 1):
        if any(cuts):
            ends = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), len(words)]
            parts = [words[a:b] for a, b in itertools.pairwise(ends)]
            values.append(math.log(p(words) / math.prod(p(part) for part in parts)))
    return min(values)


def test_collocations_are_those_of_a_plain_computation() -> None:
    draw = np.random.default_rng(3)
    texts = []
    for _ in range(60):
        ids = draw.integers(5, 12, size=12).tolist()
        at = int(draw.integers(0, 9))
        ids[at : at + 3] = [20, 21, 22]  # always together
        texts.append(text_of(ids))
    policy = Pmi(longest=4, min_count=3, share=0.5).fitted(texts)
    counts, totals = Counter(), Counter()
    for text in texts:
        words = text.word_ids()
        for n in range(1, 5):
            for at in range(len(words) - n + 1):
                counts[tuple(words[at : at + n])] += 1
                totals[n] += 1
    scores = {
        words: value
        for words, count in counts.items()
        if len(words) > 1 and count >= 3 and (value := pmi_by_hand(words, counts, totals)) > 0
    }
    best = sorted(scores, key=lambda words: (-scores[words], words))[: math.ceil(len(scores) / 2)]
    assert policy.collocations == frozenset(best)
    assert ((20,), (21,), (22,)) in policy.collocations
    known = Pmi(_found=frozenset({((20,), (21,), (22,)), ((20,), (21,))}))
    groups = known.weights(text_of([20, 21, 22, 5, 20, 21, 6]), MaskingConfig(), stream(0, "x")).groups
    assert groups.tolist() == [0, 0, 0, 1, 2, 2, 3]  # the longest that begins there


@pytest.mark.parametrize("mean", [0.05, 0.15, 0.5, 0.9])
def test_groups_share_a_probability_and_keep_the_mean(mean: float) -> None:
    draw = np.random.default_rng(1)
    weights, groups = draw.random(40) ** 6, np.sort(draw.integers(0, 12, 40))
    values = calibrate(weights, mean=mean, groups=groups)
    assert abs(values.mean() - mean) < 1e-12
    for group in set(groups.tolist()):
        assert len(set(values[groups == group].tolist())) == 1
    average = {group: weights[groups == group].mean() for group in set(groups.tolist())}
    order = sorted(average, key=average.get)
    of_group = [values[groups == group][0] for group in order]
    assert of_group == sorted(of_group)


@pytest.mark.parametrize("selection", ["bernoulli", "systematic"])
def test_groups_are_drawn_together_at_their_probability(selection: str) -> None:
    groups = np.array([0, 0, 1, 2, 2, 2, 3])
    probabilities = calibrate(np.array([1.0, 1, 4, 2, 2, 2, 0.5]), mean=0.4, groups=groups)
    text = placed(np.array([2, *range(10, 17), 3]), np.arange(1, 8), probabilities, groups)
    rows = 8000
    ids = pad([text.input_ids] * rows, 0)
    chances = pad([text.probabilities] * rows, 0.0, torch.float64)
    leaders = pad_leaders([text.leaders] * rows)
    config = MaskingConfig(selection=selection)
    chosen = corrupt(ids, chances, tokenizer(), stream(3, "mask"), config, leaders).labels[:, 1:8] != IGNORED
    for group in range(4):
        members = chosen[:, groups == group]
        assert torch.equal(members.any(1), members.all(1))
        chance = float(probabilities[groups == group][0])
        assert abs(int(members[:, 0].sum()) - rows * chance) <= SIGMAS * math.sqrt(rows * chance * (1 - chance))


def test_without_groups_the_draws_are_those_of_before() -> None:
    ids = torch.randint(5, 20, (50, 12), generator=torch.Generator().manual_seed(0))
    chances = torch.full(ids.shape, 0.3, dtype=torch.float64)
    alone = torch.arange(12).expand(50, 12)
    plain, led = (corrupt(ids, chances, tokenizer(), stream(1, "mask"), None, leaders) for leaders in (None, alone))
    assert torch.equal(plain.labels, led.labels)
    assert torch.equal(plain.input_ids, led.input_ids)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        (Weights(np.array([1.0, np.nan])), "weight of token 1 is nan: a weight is finite and not below 0"),
        (Weights(np.array([-1.0, 1.0])), "weight of token 0 is -1.0"),
        (Weights(np.array([np.inf, 1.0])), "weight of token 0 is inf"),
        (Weights(np.ones(3)), r"\(3,\) weights for 2 tokens"),
        (Weights(np.ones(2), np.zeros(3)), r"groups of shape \(3,\) and type float64 for 2 tokens"),
        (np.ones(2), r"weights\(\) returned ndarray: return Weights"),
    ],
)
def test_what_is_no_weights_is_refused(weights: object, said: str) -> None:
    with pytest.raises(InputError, match=rf"here: .*{said}"):
        check_weights(weights, 2, "here")


@pytest.mark.parametrize("settings", [{"p": 0.0}, {"p": 1.0}, {"longest": 0}])
def test_settings_of_spans(settings: dict) -> None:
    with pytest.raises(InputError, match="policy span"):
        Span(**settings)


@pytest.mark.parametrize("settings", [{"longest": 1}, {"min_count": 0}, {"share": 0.0}, {"share": 1.5}])
def test_settings_of_collocations(settings: dict) -> None:
    with pytest.raises(InputError, match="policy pmi"):
        Pmi(**settings)


@pytest.mark.parametrize("name", [name for name, policy in POLICIES.items() if policy.needs - {"corpus"}])
def test_what_is_missing_is_said(name: str) -> None:
    with pytest.raises(InputError, match="first"):
        list(mask_texts(POLICIES[name], [TEXTS[2]], MaskingConfig(), seed=0, name=name))
