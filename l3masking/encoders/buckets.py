"""Batches in few shapes, for a GPU: what is launched for one of them can be recorded once and replayed for all others.

Tokens, positions and places that are read are filled up to a bucket. A filled-up token is a copy of the first one: no
token attends to it and nobody reads it. A filled-up place has no label. Values and gradients stay those of `join`.

Shapes: B texts of T positions, P = B T, S tokens and N places that are read, both filled up.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from l3masking.encoders.joined import HIDDEN, Group, Joined, numbers_behind

# sizes from a power of two to the next one: with fewer of them there are fewer shapes, with more there is less padding
DOUBLING_STEPS = {"tokens": 4, "length": 2, "reads": 4}
LEAST = {"tokens": 64, "length": 16, "reads": 64}  # the smallest step


class Bucket(NamedTuple):
    """The shape of a batch beside its number of texts."""

    tokens: int  # S, of all texts
    length: int  # T, of the longest text
    reads: int  # N, places that are read


def bucket_of(tokens: int, length: int, reads: int) -> Bucket:
    """The least bucket that holds a batch; all of them 1 and up."""
    sizes = {"tokens": tokens, "length": length, "reads": reads}
    return Bucket(**{name: filled_up(size, DOUBLING_STEPS[name], LEAST[name]) for name, size in sizes.items()})


def filled_up(size: int, steps: int, least: int) -> int:
    """The next of few sizes, `steps` of them from a power of two to the next one, at least `least` apart."""
    step = max(least, (1 << (size.bit_length() - 1)) // steps)
    return -(-size // step) * step


def join_bucket(
    given: Mapping[str, Tensor], read_BT: Tensor, bucket: Bucket, *, padding_id: int | None
) -> tuple[Joined, Tensor]:
    """As `join`, in the shape of a bucket and without a look at any value; and [N] of P, the places that are read.

    given: as there, padded to `bucket.length`. read_BT: which places are read. A place that is filled up is -1.
    """
    mask_BT = given["attention_mask"]
    texts, length = mask_BT.shape
    seen_P, every_P = mask_BT.flatten().bool(), torch.arange(mask_BT.numel(), device=mask_BT.device)
    place_S = seen_P.nonzero_static(size=bucket.tokens, fill_value=0)[:, 0]
    joined = {name: values.flatten()[place_S][None] for name, values in given.items() if name != "attention_mask"}
    joined["position_ids"] = (place_S % length)[None]
    if padding_id is not None:
        joined["position_ids"] = numbers_behind(padding_id, given["input_ids"]).flatten()[place_S][None]
    token_P = seen_P.cumsum(0) - 1
    spread_P = torch.where(seen_P, token_P, every_P % seen_P.sum())  # padding: no token is taken often
    hidden = HIDDEN * ~seen_P.view(texts, 1, 1, length)
    place_N = read_BT.flatten().nonzero_static(size=bucket.reads, fill_value=-1)[:, 0]
    group = Group(bucket.tokens, texts, length, spread_P, place_S, hidden)
    return Joined(joined, [group], token_P[place_N.clamp(min=0)]), place_N
