"""Mask probabilities under several policies beside each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from l3masking.errors import check_choice
from l3masking.masking.policies.base import LIKELIHOOD, Policy
from l3masking.masking.probabilities import TOKEN_WEIGHTINGS, TokenWeighting
from l3masking.masking.settings import MaskingConfig

if TYPE_CHECKING:  # scores need torch, and tables of columns do not
    from l3masking.masking.applied import MaskedText
    from l3masking.scoring.scoring import TokenScores
    from l3masking.scoring.words import EncodedText


class MaskColumn(NamedTuple):
    """A policy, and the weighting that it has where it reads the likelihood of tokens."""

    name: str  # of the policy
    policy: Policy
    weighting: TokenWeighting | None  # None: the policy does not read the likelihood

    @property
    def label(self) -> str:
        """As tables call it."""
        if self.name == "uniform":
            return "RTM"
        return self.name if self.weighting is None else f"{self.name}, {self.weighting}"

    def masks(
        self,
        texts: Iterable[EncodedText],
        masking: MaskingConfig,
        *,
        scores: Iterable[TokenScores] | None = None,
        importance: Iterable[NDArray[np.float64]] | None = None,
        seed: int = 0,
    ) -> Iterator[MaskedText]:
        """Mask probabilities of each text, as `mask_texts` gives them for training; seed: for policies that draw."""
        from l3masking.masking.applied import mask_texts

        config = masking if self.weighting is None else dataclasses.replace(masking, weighting=self.weighting)
        return mask_texts(self.policy, texts, config, seed=seed, scores=scores, importance=importance, name=self.name)


def mask_columns(policies: Mapping[str, Policy], weightings: Sequence[str]) -> list[MaskColumn]:
    """A column for each policy; for one that reads the likelihood of tokens, a column for each weighting.

    Raises InputError for an unknown weighting.
    """
    for weighting in weightings:
        check_choice("weighting", weighting, TOKEN_WEIGHTINGS)
    columns = []
    for name, policy in policies.items():
        wanted = [one for one in TOKEN_WEIGHTINGS if one in weightings] if LIKELIHOOD in policy.needs else [None]
        columns += [MaskColumn(name, policy, weighting) for weighting in wanted]
    return columns
