"""What a masking policy is: it gives each eligible token of a text a weight, from which mask probabilities follow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import InputError
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

    def needed(self, name: str) -> NDArray[np.float64]:
        """The values of one of NEEDS, which a policy that declares it always gets."""
        values: NDArray[np.float64] | None = getattr(self, name)
        assert values is not None, f"this text has no {name}"
        return values


class Weights(NamedTuple):
    """What a policy says of the n eligible tokens of one text."""

    values: NDArray[np.float64]  # [n], >= 0; all 0 means equal probabilities
    groups: NDArray[np.int64] | None = None  # [n], tokens of one number are masked together; None: each by itself


def check_weights(weights: object, count: int, place: str) -> None:
    """Raise InputError, naming the place, unless these are weights of `count` tokens."""
    values = getattr(weights, "values", None)
    if not isinstance(weights, Weights) or not isinstance(values, np.ndarray):
        raise InputError(f"{place}: weights() returned {type(weights).__name__}: return Weights(values) with an array")
    if values.shape != (count,):
        raise InputError(f"{place}: {values.shape} weights for {count} tokens: return one for each eligible token")
    wrong = np.flatnonzero(~(np.isfinite(values) & (values >= 0)))
    if len(wrong):
        raise InputError(f"{place}: the weight of token {wrong[0]} is {values[wrong[0]]}: finite and not negative")
    if weights.groups is not None and np.shape(weights.groups) != (count,):
        shape = np.shape(weights.groups)
        raise InputError(f"{place}: {shape} group numbers for {count} tokens: return one for each, or no groups")


class Policy(Protocol):
    """Gives the tokens of a text their weights. A frozen dataclass; its fields are its settings."""

    summary: ClassVar[str]  # one line without a full stop
    needs: ClassVar[frozenset[str]]  # some of NEEDS

    def weights(self, text: PolicyText, config: MaskingConfig, generator: torch.Generator) -> Weights:
        """Weights of the tokens of `text`, which stays as it is. All randomness comes from `generator`."""
        ...


class CorpusPolicy(Policy, Protocol):
    """A policy that looks at all texts first. Its `needs` hold "corpus"."""

    def fitted(self, texts: Sequence[PolicyText]) -> Policy:
        """This policy with what it learned from the masked-LM texts of the dataset."""
        ...
