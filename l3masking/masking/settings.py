"""The settings of masking. Reading them needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from l3masking.errors import InputError, check_choice
from l3masking.masking.probabilities import Redistribution, TokenWeighting, check_mean

MaskSelection = Literal["bernoulli", "systematic"]  # independent draws, or a fixed count per text


@dataclass(frozen=True, kw_only=True)
class MaskingConfig:
    """From scores to masks (Kimura et al. 2024, section 3; corruption as in BERT)."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    mean: float = 0.15  # average mask probability over a text's eligible tokens, in [0, 1]
    weighting: TokenWeighting = "complement"  # 1 - PLT, or -ln PLT
    redistribute: Redistribution = "equal"  # what exceeds 1: shared by the others, or lost
    floor: float = 0.0  # least probability of an eligible token, in [0, mean]
    selection: MaskSelection = "bernoulli"  # independent draws, or a fixed count per text
    mask_share: float = 0.8  # of the selected: replaced by the mask token, in [0, 1]
    random_share: float = 0.1  # of the selected: replaced by a random token; the rest stays
    random_exclude_special: bool = True  # whether that random token is never a special one (released code: it may be)

    def __post_init__(self) -> None:
        check_mean(self.mean, self.floor)
        check_choice("masking.weighting", self.weighting, TokenWeighting)
        check_choice("masking.redistribute", self.redistribute, Redistribution)
        check_choice("masking.selection", self.selection, MaskSelection)
        for name, share in (("mask_share", self.mask_share), ("random_share", self.random_share)):
            if not 0 <= share <= 1:
                raise InputError(f"masking.{name} is {share}: a share lies in [0, 1]")
        if self.mask_share + self.random_share > 1 + 1e-12:
            total = self.mask_share + self.random_share
            raise InputError(f"masking.mask_share + masking.random_share is {total}: at most 1")
