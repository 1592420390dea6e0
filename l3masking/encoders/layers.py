"""The parts of the layers of each architecture, as scoring/forward.py and joined.py read them: one function each.

Shapes: A heads of D components, texts of one length T, W the distance over which a token sees others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:  # the families are read without torch
    from torch import Tensor, nn


class Drops(NamedTuple):
    """The dropout rates of a layer in training, in [0, 1)."""

    attention: float = 0.0  # of the attention weights, behind their softmax
    attention_out: float = 0.0  # of what attention adds to the residual
    feed_inner: float = 0.0  # behind the activation
    feed_out: float = 0.0  # of what the feed-forward part adds to the residual


class Layer(NamedTuple):
    """The parts of one encoder layer, in the order of their use; a residual goes around attention and feed-forward.

    The norms stand behind their residual, unless `norms_first`: then each stands in front of its part, inside of it.
    """

    project: tuple[nn.Linear, ...]  # to query, key and value: one for each, or one that gives all side by side
    attention_out: nn.Linear
    attention_norm: nn.Module
    feed_in: nn.Linear
    activation: Callable[[Tensor], Tensor]
    feed_out: nn.Linear
    feed_norm: nn.Module
    drops: Drops
    norms_first: bool = False
    gated: bool = False  # the second half of what feed_in gives is the factor of the activation of the first
    kind: str = ""  # of its attention, where a model has several


class Relation(NamedTuple):
    """What the places of two tokens do to their attention in texts of one length T, in the layers of one kind."""

    bias: Tensor | None = None  # [A, T, T], or [1, T, T] for all heads: added to the attention in front of the softmax
    rotation: Tensor | None = None  # [T, D / 2] complex: turns components d and d + D / 2 of queries and keys


def bert(body: Any) -> list[Layer]:
    """BERT, RoBERTa and their like, ELECTRA."""
    return [
        Layer(
            (layer.attention.self.query, layer.attention.self.key, layer.attention.self.value),
            layer.attention.output.dense,
            layer.attention.output.LayerNorm,
            layer.intermediate.dense,
            layer.intermediate.intermediate_act_fn,
            layer.output.dense,
            layer.output.LayerNorm,
            Drops(layer.attention.self.dropout.p, layer.attention.output.dropout.p, 0.0, layer.output.dropout.p),
        )
        for layer in body.encoder.layer
    ]


def distilbert(body: Any) -> list[Layer]:
    """DistilBERT."""
    return [
        Layer(
            (layer.attention.q_lin, layer.attention.k_lin, layer.attention.v_lin),
            layer.attention.out_lin,
            layer.sa_layer_norm,
            layer.ffn.lin1,
            layer.ffn.activation,
            layer.ffn.lin2,
            layer.output_layer_norm,
            Drops(layer.attention.dropout.p, 0.0, 0.0, layer.ffn.dropout.p),
        )
        for layer in body.transformer.layer
    ]


def albert(body: Any) -> list[Layer]:
    """ALBERT, whose layers share their weights."""
    encoder, config = body.encoder, body.config
    groups = [list(map(_albert_layer, group.albert_layers)) for group in encoder.albert_layer_groups]
    share = config.num_hidden_layers / config.num_hidden_groups
    return [layer for index in range(config.num_hidden_layers) for layer in groups[int(index / share)]]


def _albert_layer(layer: Any) -> Layer:
    return Layer(
        (layer.attention.query, layer.attention.key, layer.attention.value),
        layer.attention.dense,
        layer.attention.LayerNorm,
        layer.ffn,
        layer.activation,
        layer.ffn_output,
        layer.full_layer_layer_norm,
        Drops(layer.attention.attention_dropout.p, layer.attention.output_dropout.p),
    )


def mpnet(body: Any) -> list[Layer]:
    """MPNet."""
    return [
        Layer(
            (layer.attention.attn.q, layer.attention.attn.k, layer.attention.attn.v),
            layer.attention.attn.o,
            layer.attention.LayerNorm,
            layer.intermediate.dense,
            layer.intermediate.intermediate_act_fn,
            layer.output.dense,
            layer.output.LayerNorm,
            Drops(layer.attention.attn.dropout.p, layer.attention.dropout.p, 0.0, layer.output.dropout.p),
        )
        for layer in body.encoder.layer
    ]


def mpnet_relation(body: Any, _kind: str, length: int) -> Relation:
    """A learnt bias by distance, the same in all layers."""
    encoder = body.encoder
    return Relation(bias=encoder.compute_position_bias(encoder.relative_attention_bias.weight.new_empty(1, length))[0])


def modernbert(body: Any) -> list[Layer]:
    """ModernBERT."""
    return [
        Layer(
            (layer.attn.Wqkv,),
            layer.attn.Wo,
            layer.attn_norm,  # nothing in the first layer
            layer.mlp.Wi,
            layer.mlp.act,
            layer.mlp.Wo,
            layer.mlp_norm,
            Drops(layer.attn.attention_dropout, layer.attn.attention_dropout, layer.mlp.drop.p),
            norms_first=True,
            gated=True,
            kind=layer.attention_type,
        )
        for layer in body.layers
    ]


def modernbert_relation(body: Any, kind: str, length: int) -> Relation:
    """Rotary positions. In layers of one kind, a token sees those at a distance of W at most, half of the window."""
    import torch

    weight = body.embeddings.tok_embeddings.weight.detach()
    places_T = torch.arange(length, device=weight.device)
    cos_TD, sin_TD = (turn[0].float() for turn in body.rotary_emb(weight, places_T[None], kind))
    half = cos_TD.shape[1] // 2  # the second half repeats the first
    rotation_TE = torch.complex(cos_TD[:, :half], sin_TD[:, :half])
    reach = body.config.sliding_window
    if kind != "sliding_attention" or length - 1 <= reach:
        return Relation(rotation=rotation_TE)
    far_TT = (places_T[:, None] - places_T).abs() > reach
    return Relation(torch.zeros(far_TT.shape, device=weight.device).masked_fill(far_TT, -torch.inf)[None], rotation_TE)
