"""The contract of a masking policy as tests, also for policies of your own: `check_policy` returns what is broken."""

from __future__ import annotations

import dataclasses
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch

from l3masking.errors import InputError
from l3masking.masking.policies.base import (
    CORPUS,
    NEEDS,
    CorpusPolicy,
    Policy,
    PolicyText,
    Weights,
    calibrated,
    check_weights,
)
from l3masking.masking.probabilities import check_mean
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream

MEAN_ERROR = 1e-9  # of the mean
Texts = dict[str, PolicyText]  # how messages call a text -> the text


def check_policy(policy: Policy, *, mean: float = 0.15) -> list[str]:
    """What a policy breaks of its contract, one line for each part of CONTRACTS; an empty list if nothing.

    The policy is tried on made-up texts that hold what its `needs` declare, with token ids from 10 to 59. mean: average
    mask probability of the masking settings that it gets, in [0, 1]. A line names the file and line of a policy that
    `read_policy` gave, and otherwise its class.
    """
    check_mean(mean)
    place = getattr(policy, "place", f"policy {type(policy).__name__}")
    file = getattr(policy, "file", place)
    broken = []
    with _global_generators(0):
        for name, contract in CONTRACTS.items():
            try:
                problem = next(contract(policy, mean), None)
            except Exception as error:
                problem = _said(error)
            if problem is not None:
                said = problem if problem.startswith(file) else f"{place}: {problem}"
                broken.append(f"{said} (a policy {name})")
                if contract in FATAL:
                    break
    return broken


def sample_texts(needs: frozenset[str]) -> Texts:
    """Made-up texts that hold `needs` and nothing else: ordinary ones, and those that policies stumble over."""
    draw = np.random.default_rng(7)
    words = np.repeat(np.arange(13), [1, 2, 3, 1, 1, 4, 1, 2, 1, 3, 1, 2, 3])
    return {
        "an ordinary text": _text(needs, words, draw.integers(10, 60, len(words)), draw.random(len(words))),
        "another text": _text(needs, words[3:] - 1, draw.integers(10, 60, len(words) - 3), draw.random(len(words) - 3)),
        "an empty text": _text(needs, words[:0], words[:0], np.zeros(0)),
        "a text of one token": _text(needs, words[:1], np.array([31]), np.array([0.3])),
        "a text of one word": _text(needs, np.zeros(4, dtype=np.int64), np.arange(20, 24), draw.random(4)),
        "a text of equal tokens": _text(needs, np.arange(12), np.full(12, 31), np.full(12, 0.4)),
        "a text with values of 0": _text(needs, np.arange(9), np.arange(20, 29), np.zeros(9)),
        "a text with values of 1": _text(needs, np.arange(9), np.arange(20, 29), np.ones(9)),
        "a text with values of 0 and 1": _text(needs, np.arange(9), np.arange(20, 29), np.arange(9) % 2.0),
    }


def _text(needs: frozenset[str], words: Any, ids: Any, values: Any) -> PolicyText:
    """One text between two specials; each need of values gets the same ones."""
    given = {need: values.copy() for need in needs if need != CORPUS}
    positions = np.arange(1, len(ids) + 1)
    return PolicyText(input_ids=np.array([2, *ids, 3]), positions=positions, words=words.copy(), **given)


def _declares(policy: Policy, mean: float) -> Iterator[str]:
    needs = getattr(policy, "needs", None)
    if not isinstance(needs, frozenset) or not needs <= set(NEEDS):
        yield f"needs is {needs!r}: give a frozenset of {', '.join(NEEDS)}"
    elif CORPUS in needs and not callable(getattr(policy, "fitted", None)):
        yield f"needs holds {CORPUS!r}, but there is no method fitted"


def _answers(policy: Policy, mean: float) -> Iterator[str]:
    texts = sample_texts(policy.needs)
    tries = {"": _fitted(policy, list(texts.values()))}
    if CORPUS in policy.needs:
        tries[", fitted to no text"] = _fitted(policy, [])
    for name, text in texts.items():
        for about, tried in tries.items():
            try:
                check_weights(_weights(tried, text, mean), len(text.positions), "weights")
            except Exception as error:
                yield f"{_said(error).removeprefix('weights: ')}, for {name}{about}"
                return


def _keeps_the_mean(policy: Policy, mean: float) -> Iterator[str]:
    texts = sample_texts(policy.needs)
    tried = _fitted(policy, list(texts.values()))
    for wanted in (0.0, mean, 0.5, 0.9, 1.0):
        for name, text in texts.items():
            found = _weights(tried, text, wanted)
            values = calibrated(found, MaskingConfig(mean=wanted))
            if len(values) and abs(float(values.mean()) - wanted) > MEAN_ERROR:
                yield f"the mean is {values.mean()} and not {wanted}, for {name}"
            if np.any((values < 0) | (values > 1)):
                yield f"probabilities from {values.min()} to {values.max()}, for {name}"
            groups = found.groups if found.groups is not None else np.zeros(0)
            if any(len(set(values[groups == group].tolist())) > 1 for group in set(groups.tolist())):
                yield f"the tokens of a group have different probabilities, for {name}"


def _repeats(policy: Policy, mean: float) -> Iterator[str]:
    texts = sample_texts(policy.needs)
    found: list[dict[str, Weights]] = []
    for seed, order in ((1, list(texts)), (2, list(reversed(texts)))):
        with _global_generators(seed) as changed:
            tried = _fitted(policy, list(texts.values()))
            found.append({name: _weights(tried, texts[name], mean) for name in order})
            if changed():
                yield "it draws from a global generator of torch, numpy or random: take the generator that it is given"
    for name, one in found[0].items():
        if not _equal(one, found[1][name]):
            yield f"the same generator gives other weights the second time, for {name}"


def _leaves(policy: Policy, mean: float) -> Iterator[str]:
    texts, before = sample_texts(policy.needs), sample_texts(policy.needs)
    tried = _fitted(policy, list(texts.values()))
    for name, text in texts.items():
        _weights(tried, text, mean)
        for item in dataclasses.fields(text):
            if not np.array_equal(getattr(text, item.name), getattr(before[name], item.name)):
                yield f"it changes {item.name} of its text in place: work on a copy; for {name}"


def _travels(policy: Policy, mean: float) -> Iterator[str]:
    texts = sample_texts(policy.needs)
    copy = pickle.loads(pickle.dumps(policy))
    one, other = _fitted(policy, list(texts.values())), _fitted(copy, list(texts.values()))
    for name, text in texts.items():
        if not _equal(_weights(one, text, mean), _weights(other, text, mean)):
            yield f"a pickled copy gives other weights, for {name}"


def _is_described(policy: Policy, mean: float) -> Iterator[str]:
    if not dataclasses.is_dataclass(policy) or not type(policy).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        yield f"{type(policy).__name__} is no frozen dataclass: write @dataclass(frozen=True) above it"
    for name in ("summary", "source"):
        said = getattr(policy, name, None)
        if not isinstance(said, str) or not said.strip() or "\n" in said or said.endswith("."):
            yield f"{name} is {said!r}: give one line without a full stop"


# How a message ends -> what finds the problem.
CONTRACTS: dict[str, Callable[[Policy, float], Iterator[str]]] = {
    "is a frozen dataclass that says what it does": _is_described,
    "declares what it needs": _declares,
    "gives every token of any text a weight": _answers,
    "repeats itself, whatever it has seen before": _repeats,
    "keeps the mean exactly": _keeps_the_mean,
    "leaves its text as it is": _leaves,
    "travels to a worker": _travels,
}
FATAL = (_declares, _answers, _repeats)  # without these the other parts make no sense


def _said(error: Exception) -> str:
    """The message of an error, on one line."""
    kind = "" if isinstance(error, InputError) else f"{type(error).__name__}: "
    return kind + " ".join(str(error).split())


def _fitted(policy: Policy, texts: Sequence[PolicyText]) -> Policy:
    return cast(CorpusPolicy, policy).fitted(texts) if CORPUS in policy.needs else policy


def _weights(policy: Policy, text: PolicyText, mean: float) -> Weights:
    return policy.weights(text, MaskingConfig(mean=mean), stream(3, "policy"))


def _equal(one: Weights, other: Weights) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))  # type: ignore[arg-type]


@contextmanager
def _global_generators(seed: int) -> Iterator[Callable[[], bool]]:
    """Seed the global generators, and put them back at the end. Gives a function that says whether one was used."""

    def states() -> tuple[bytes, Any, Any]:
        numpy_state: Any = np.random.get_state()
        return torch.default_generator.get_state().numpy().tobytes(), random.getstate(), numpy_state[1:3]

    kept = torch.default_generator.get_state(), random.getstate(), np.random.get_state()
    torch.default_generator.manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed)
    before = pickle.dumps(states())
    try:
        yield lambda: pickle.dumps(states()) != before
    finally:
        torch.default_generator.set_state(kept[0])
        random.setstate(kept[1])
        np.random.set_state(kept[2])
