"""Masking a batch: who is selected, and what the selected become. One code path for all policies.

Shapes: B texts, T positions (padded).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from l3masking.masking.settings import MaskingConfig

IGNORED = -100  # label of a position that takes no part in the loss


def leaders_of(groups: NDArray[np.int64], positions: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """[length] the position that draws for each: the first of its group, and each that is in none for itself.

    groups: [n] numbers, equal for tokens that are masked together. positions: [n], rising, where these tokens stand.
    """
    leaders = np.arange(length)
    _, first, member = np.unique(groups, return_index=True, return_inverse=True)
    leaders[positions] = positions[first[member]]
    return leaders


class Corrupted(NamedTuple):
    """A masked batch: ids [B, T], and labels [B, T] with the true id at selected positions, IGNORED elsewhere."""

    input_ids: Tensor
    labels: Tensor


def corrupt(
    input_ids_BT: Tensor,
    probabilities_BT: Tensor,
    tokenizer: Any,
    generator: torch.Generator,
    config: MaskingConfig | None = None,
    leaders_BT: Tensor | None = None,
) -> Corrupted:
    """Select positions by their probabilities and replace 80 % by the mask token, 10 % by a random one, 10 % not.

    input_ids_BT: integer ids on the CPU, unchanged. probabilities_BT: in [0, 1], 0 where nothing may be selected. The
    random token is drawn uniformly from the vocabulary without its special tokens, or with them where
    `config.random_exclude_special` is false; it may be the original.
    leaders_BT: for each position the one that draws for it (see leaders_of), so that the tokens of a group, which have
    one probability, are selected together. None: each position draws for itself. With `systematic` and groups the
    number of groups is fixed, not that of tokens. What a selected token becomes is drawn for each token by itself.
    """
    config = config or MaskingConfig()
    probabilities_BT = probabilities_BT.double()
    if leaders_BT is not None:  # the others of a group wait for their leader
        leads = leaders_BT == torch.arange(leaders_BT.shape[1])
        probabilities_BT = torch.where(leads, probabilities_BT, 0.0)
    if config.selection == "bernoulli":
        draws = torch.rand(probabilities_BT.shape, generator=generator, dtype=torch.float64)
        selected = draws < probabilities_BT
    else:
        # systematic sampling: one offset u per text; a position is taken where the running sum + u passes an integer,
        # which happens with probability m_i and floor or ceil of sum(m) times in all. In-row order is the text's.
        offset = torch.rand((len(probabilities_BT), 1), generator=generator, dtype=torch.float64)
        ends = torch.floor(torch.cumsum(probabilities_BT, dim=1) + offset)
        selected = torch.diff(ends, dim=1, prepend=torch.zeros_like(offset)) > 0
    if leaders_BT is not None:
        selected = selected.gather(1, leaders_BT)
    fate = torch.rand(input_ids_BT.shape, generator=generator, dtype=torch.float64)
    vocabulary = _ordinary_ids(tokenizer) if config.random_exclude_special else torch.arange(len(tokenizer))
    random_ids = vocabulary[torch.randint(len(vocabulary), input_ids_BT.shape, generator=generator)]
    corrupted = input_ids_BT.clone()
    corrupted[selected & (fate < config.mask_share)] = tokenizer.mask_token_id
    random = selected & (fate >= config.mask_share) & (fate < config.mask_share + config.random_share)
    corrupted[random] = random_ids[random]
    return Corrupted(corrupted, torch.where(selected, input_ids_BT, IGNORED))


def _ordinary_ids(tokenizer: Any) -> Tensor:
    ordinary = torch.ones(len(tokenizer), dtype=torch.bool)
    ordinary[[index for index in tokenizer.all_special_ids if index < len(tokenizer)]] = False
    return torch.nonzero(ordinary)[:, 0]
