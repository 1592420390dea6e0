"""What a masking policy is: it gives each eligible token of a text a weight, from which mask probabilities follow."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError
from l3masking.masking.probabilities import calibrate
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:  # the table of policies is read without torch
    import torch

LIKELIHOOD, ENTROPY, IMPORTANCE, CORPUS = NEEDS = ("likelihood", "entropy", "importance", "corpus")


@dataclass(frozen=True, eq=False, kw_only=True)
class PolicyText:
    """What a policy sees of a text of T input ids, n of which may be masked. What it does not need is None."""

    input_ids: NDArray[np.int64]  # [T]
    positions: NDArray[np.int64]  # [n], of the tokens that may be masked, rising
    words: NDArray[np.int64]  # [n], number of the word that each of them belongs to; words are contiguous
    likelihood: NDArray[np.float64] | None = None  # [n] in [0, 1], under the vanilla model
    entropy: NDArray[np.float64] | None = None  # [n] nats, of the vanilla model's prediction
    importance: NDArray[np.float64] | None = None  # [n] in [0, 1], for a classifier of the task

    @property
    def word_numbers(self) -> NDArray[np.int64]:
        """[n] number of each token's word, counted from 0 without gaps."""
        if not len(self.words):
            return np.zeros(0, dtype=np.int64)
        return np.cumsum(np.diff(self.words, prepend=self.words[0]) != 0)

    def word_ids(self) -> list[tuple[int, ...]]:
        """The ids of each word's tokens, word by word."""
        ids = self.input_ids[self.positions]
        starts = np.flatnonzero(np.diff(self.words)) + 1
        return [tuple(part.tolist()) for part in np.split(ids, starts)] if len(ids) else []

    def needed(self, name: str) -> NDArray[np.float64]:
        """The values of one of NEEDS, which a policy that declares it always gets."""
        values: NDArray[np.float64] | None = getattr(self, name)
        assert values is not None, f"this text has no {name}"
        return values


class Weights(NamedTuple):
    """What a policy says of the n eligible tokens of one text."""

    values: NDArray[np.float64]  # [n], >= 0; all 0 means equal probabilities
    groups: NDArray[np.int64] | None = None  # [n], tokens of one number are masked together; None: each by itself
    order: NDArray[np.int64] | None = None  # [n], a permutation: token i gets the probability of the weight order[i]

    @classmethod
    def equal(cls, groups: NDArray[np.int64]) -> Weights:
        """The same weight for every token, masked by groups [n]."""
        return cls(np.zeros(len(groups)), np.asarray(groups, dtype=np.int64))


def check_weights(weights: object, count: int, place: str) -> None:
    """Raise InputError, naming the place, unless these are weights of `count` tokens."""
    values = getattr(weights, "values", None)
    if not isinstance(weights, Weights) or not isinstance(values, np.ndarray):
        raise InputError(f"{place}: weights() returned {type(weights).__name__}: return Weights(values) with an array")
    if values.dtype.kind not in "biuf":
        raise InputError(f"{place}: weights() returned values of type {values.dtype}: return numbers")
    if values.shape != (count,):
        raise InputError(f"{place}: {values.shape} weights for {count} tokens: return one for each eligible token")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise InputError(
            f"{place}: the weight of token {wrong[0]} is {values[wrong[0]]}: a weight is finite and not below 0"
        )
    if weights.groups is not None:
        groups = np.asarray(weights.groups)
        if groups.shape != (count,) or (count and groups.dtype.kind not in "iu"):
            raise InputError(
                f"{place}: groups of shape {groups.shape} and type {groups.dtype} for {count} tokens: return one whole "
                "number for each, or no groups"
            )

    if weights.order is not None and (
        weights.groups is not None or not np.array_equal(np.sort(weights.order), np.arange(count))
    ):
        raise InputError(f"{place}: order is no permutation of {count} tokens, or stands beside groups: leave it out")


def calibrated(weights: Weights, config: MaskingConfig) -> NDArray[np.float64]:
    """Mask probabilities [n] of checked weights, with exactly the mean of the settings; see `calibrate`."""
    probabilities = calibrate(
        weights.values,
        mean=config.mean,
        redistribute=config.redistribute,
        floor=config.floor,
        groups=weights.groups,
    )
    return probabilities if weights.order is None else probabilities[weights.order]


def settings_of(policy: object) -> dict[str, Any]:
    """The settings of a policy, a dataclass, with their values. A field that begins with `_` is none."""
    fields = dataclasses.fields(policy)  # type: ignore[arg-type]
    return {item.name: getattr(policy, item.name) for item in fields if not item.name.startswith("_")}


class Policy(Protocol):
    """Gives the tokens of a text their weights. A frozen dataclass; its fields are its settings.

    `summary`, `source` and `needs` are class variables of it.
    """

    @property
    def summary(self) -> str:
        """Which tokens are masked more often, in one line without a full stop."""
        ...

    @property
    def source(self) -> str:
        """Publication."""
        ...

    @property
    def needs(self) -> frozenset[str]:
        """What a text must hold for it: some of NEEDS."""
        ...

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        """Weights of the tokens of `text`, which stays as it is. All randomness comes from `generator`."""
        ...


class CorpusPolicy(Policy, Protocol):
    """A policy that looks at all texts first. Its `needs` hold "corpus"."""

    def fitted(self, texts: Sequence[PolicyText]) -> Policy:
        """This policy with what it learned from the masked-LM texts of the dataset."""
        ...
