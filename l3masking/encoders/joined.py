"""The encoder's forward pass over texts that lie end to end: values and gradients of the model's own, without padding.

Linear layers, norms, activations and dropout see the tokens of all texts side by side. Attention sees texts of near
lengths together, padded to the longest of them for attention alone. Behind the last attention, only the tokens that
are read go on. Dropout has the rates and places of the model's own pass, but other draws.

Shapes: B texts of T positions as they are given, S tokens of all texts, R texts of a group and its longest length T,
N tokens that are read, H hidden width, P = 3 H, A heads of D = H / A components.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from l3masking.encoders.dropout import draws_slowly, dropped
from l3masking.encoders.families import Family
from l3masking.encoders.layers import Drops, Layer, Relation
from l3masking.transfer import moved

# a text joins those that are longer by this share of their length at most: fewer calls against less padding. A GPU is
# given all texts at once, as each call waits there for a launch
NEAR_LENGTHS = {"cpu": 0.125, "cuda": 1.0}
HIDDEN = -1e30  # added in front of a softmax where nothing is seen; finite, as padding may see nothing at all


class Group(NamedTuple):
    """Texts of near lengths, whose tokens follow each other."""

    tokens: int  # of all its texts
    texts: int  # R
    length: int  # T, of its longest text
    spread: Tensor | None  # [R T] which token is at each place, any one at padding; None: nothing is padded
    places: Tensor | None  # [tokens] place of each token among these R T
    hidden: Tensor | None  # [R, 1, 1, T], 0 at tokens and HIDDEN at padding


class Joined(NamedTuple):
    """A batch of texts, end to end."""

    given: dict[str, Tensor]  # what the embeddings get by name, [1, S] each
    groups: list[Group]
    reads: Tensor  # [N] which of the S tokens are read


def joined_states(
    body: Any,
    family: Family,
    given: Mapping[str, Tensor],
    lengths: Sequence[int],
    rows_N: Tensor,
    positions_N: Tensor,
) -> Tensor:
    """[N, H] last-layer states at N places of a batch.

    given: input_ids and attention_mask, [B, T] each, padded at the right, and token_type_ids where the body takes them.
    lengths: [B] as in `join`.
    """
    batch = join(given, lengths, padding_id=padding_id_of(body, family), at=(rows_N, positions_N))
    return states_of(body, family, batch)


def padding_id_of(body: Any, family: Family) -> int | None:
    """The id behind which the position numbers of a body start; None: they start at 0."""
    return int(body.config.pad_token_id) if family.pads_positions else None


def states_of(body: Any, family: Family, batch: Joined) -> Tensor:
    """[N, H] last-layer states of the tokens that are read."""
    assert family.layers is not None
    layers, heads = family.layers(body), int(body.config.num_attention_heads)
    widths = {group.length for group in batch.groups}
    kinds = {layer.kind for layer in layers}
    relations = {(kind, width): family.relation(body, kind, width) for kind in kinds for width in widths}
    x_SH = family.embed(body, batch.given)[0]
    for number, layer in enumerate(layers, start=1):
        rate = layer.drops.attention if body.training else 0.0
        parts = _projected(layer, x_SH).split([group.tokens for group in batch.groups])
        context_SH = _together(
            [
                _attended(part, group, relations[layer.kind, group.length], heads, rate)
                for part, group in zip(parts, batch.groups, strict=True)
            ]
        )
        if number == len(layers):
            context_SH, x_SH = (one.index_select(0, batch.reads) for one in (context_SH, x_SH))
        x_SH = _finish(layer, context_SH, x_SH, training=body.training)
    return family.final_norm(body)(x_SH) if family.final_norm else x_SH


def join(
    given: Mapping[str, Tensor], lengths: Sequence[int], *, padding_id: int | None, at: tuple[Tensor, Tensor]
) -> Joined:
    """The texts of a padded batch end to end, the shortest first.

    lengths: [B] tokens of each text, as the host knows them, so that a GPU is not waited for. padding_id: of families
    whose position numbers start behind it, and which do not count tokens of this id. at: rows [N] and positions [N].
    """
    device = given["input_ids"].device
    order, groups = laid_out(lengths, NEAR_LENGTHS[device.type])
    held = [tensor for part in (order, *(group[3:] for group in groups)) for tensor in part if tensor is not None]
    left = iter(moved(held, device))
    rows_S, places_S, first_B = next(left), next(left), next(left)
    groups = [Group(*group[:3], *(None if tensor is None else next(left) for tensor in group[3:])) for group in groups]
    joined = {name: values_BT[rows_S, places_S][None] for name, values_BT in given.items() if name != "attention_mask"}
    joined["position_ids"] = places_S[None]
    if padding_id is not None:
        joined["position_ids"] = numbers_behind(padding_id, given["input_ids"])[rows_S, places_S][None]
    return Joined(joined, groups, first_B[at[0]] + at[1])


def numbers_behind(padding_id: int, ids_BT: Tensor) -> Tensor:
    """[B, T] position numbers that start behind `padding_id` and do not count tokens of this id."""
    counted_BT = ids_BT != padding_id
    return counted_BT.cumsum(dim=1) * counted_BT + padding_id


def laid_out(lengths: Sequence[int], near: float) -> tuple[tuple[Tensor, Tensor, Tensor], list[Group]]:
    """Where texts of some lengths lie when they are joined, the shortest first, all of it on the CPU.

    Row and position [S] of each token, the first token [B] of each text, and the groups. near: as in NEAR_LENGTHS.
    """
    lengths_B, order_B = torch.tensor(lengths).sort(stable=True)
    starts_B = lengths_B.cumsum(0) - lengths_B
    rows_S = torch.repeat_interleave(order_B, lengths_B)
    places_S = torch.arange(len(rows_S)) - torch.repeat_interleave(starts_B, lengths_B)
    first_B = torch.empty_like(starts_B)
    first_B[order_B] = starts_B
    return (rows_S, places_S, first_B), groups_of(lengths_B.tolist(), near)


def groups_of(lengths: Sequence[int], near: float) -> list[Group]:
    """Groups of texts that are sorted by length, on the CPU. near: share of its length as in NEAR_LENGTHS."""
    groups: list[Group] = []
    end = len(lengths)
    while end:
        longest = lengths[end - 1]
        start = end - 1
        while start and longest - lengths[start - 1] <= near * longest:
            start -= 1
        tokens, texts = sum(lengths[start:end]), end - start
        spread = places = hidden = None
        if tokens < texts * longest:
            seen_RT = torch.arange(longest) < torch.tensor(lengths[start:end])[:, None]
            places = seen_RT.flatten().nonzero()[:, 0]
            spread = torch.arange(texts * longest) % tokens  # padding: no token is taken often
            spread[places] = torch.arange(tokens)
            hidden = HIDDEN * ~seen_RT[:, None, None]
        groups.append(Group(tokens, texts, longest, spread, places, hidden))
        end = start
    return groups[::-1]


def _projected(layer: Layer, x_SH: Tensor) -> Tensor:
    """[S, H] the layer's input to [S, P] query, key and value, side by side."""
    seen_SH = layer.attention_norm(x_SH) if layer.norms_first else x_SH
    biases = [one.bias for one in layer.project if one.bias is not None]
    return F.linear(seen_SH, _together([one.weight for one in layer.project]), _together(biases) if biases else None)


def _attended(part_sP: Tensor, group: Group, relation: Relation, heads: int, rate: float) -> Tensor:
    """[s, P] queries, keys and values of a group to [s, H] attention output. rate: of dropout on the weights."""
    if group.spread is not None:
        part_sP = part_sP.index_select(0, group.spread)
    split = part_sP.view(group.texts, group.length, 3, heads, -1)
    query, key, value = split.permute(2, 0, 3, 1, 4)  # each [R, A, T, D]
    if relation.rotation is not None:
        query, key = rotated(split[:, :, :2], relation.rotation[:, None, None]).permute(2, 0, 3, 1, 4)
    mask = group.hidden
    if relation.bias is not None:
        bias_1ATT = relation.bias.clamp(min=HIDDEN)[None]
        mask = bias_1ATT if mask is None else mask + bias_1ATT
    # on a CPU torch's own way has a slow gradient in bf16, and draws dropout element by element
    slow_gradient = query.device.type == "cpu" and query.dtype == torch.bfloat16 and query.requires_grad
    if slow_gradient or (rate and draws_slowly(query)):
        weights = torch.matmul(query * query.shape[-1] ** -0.5, key.mT)
        weights = weights if mask is None else weights + mask
        context = torch.matmul(dropped(weights.softmax(-1), rate), value)
    else:
        mask = None if mask is None else mask.to(query.dtype)
        context = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=rate)
    context_sH = context.transpose(1, 2).reshape(len(part_sP), -1)
    return context_sH if group.places is None else context_sH.index_select(0, group.places)


def _finish(layer: Layer, context: Tensor, x: Tensor, *, training: bool) -> Tensor:
    """[S, H] attention output and the layer's input to the layer's output, each token by itself."""
    drops = layer.drops if training else Drops()
    x = x + dropped(layer.attention_out(context), drops.attention_out)
    if not layer.norms_first:
        x = layer.attention_norm(x)
    inner = layer.feed_in(layer.feed_norm(x) if layer.norms_first else x)
    if layer.gated:
        inner, gate = inner.chunk(2, dim=-1)
        inner = layer.activation(inner) * gate
    else:
        inner = layer.activation(inner)
    x = x + dropped(layer.feed_out(dropped(inner, drops.feed_inner)), drops.feed_out)
    return x if layer.norms_first else layer.feed_norm(x)


def rotated(x: Tensor, rotation: Tensor) -> Tensor:
    """[..., D] components, of which d and d + D / 2 turn together by [..., E] numbers; the two then lie side by side.

    Queries and keys are ordered alike, so their products are those of transformers, which leaves the order as it is.
    """
    real, imaginary = x.float().unflatten(-1, (2, -1)).unbind(-2)
    return torch.view_as_real(torch.complex(real, imaginary).mul_(rotation)).flatten(-2).to(x.dtype)


def _together(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))
