"""What differs between the families of masked LMs, by transformers' `model_type`.

Every masked LM goes through its own pass. A family with `layers` has a faster one in scoring/forward.py: one entry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from l3masking.encoders import bart

if TYPE_CHECKING:  # the table is read without torch
    from torch import Tensor, nn

ScoringPass = Literal["fast", "own"]  # scoring/forward.py, or the model's own forward pass


class Layer(NamedTuple):
    """The parts of one encoder layer, in the order of their use; a residual goes into each norm."""

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    attention_out: nn.Linear
    attention_norm: nn.LayerNorm
    feed_in: nn.Linear
    activation: Callable[[Tensor], Tensor]
    feed_out: nn.Linear
    feed_norm: nn.LayerNorm


def _unchanged(body: Any) -> None:
    """The embeddings are as wide as the layers."""


class Family(NamedTuple):
    """How to reach the parts of a model that the method needs."""

    mlm_head: Callable[[Any, Tensor], Tensor]  # (whole model, [N, H] states) -> [N, V] logits
    layers: Callable[[Any], list[Layer]] | None  # body -> its layers, first to last; None: no fast pass
    pads_positions: bool = False  # position numbers start behind the padding id
    padding_id: int | None = None  # the only padding id that its positions allow; None: that of the configuration
    widened: Callable[[Any], Callable[[Tensor], Tensor] | None] = _unchanged  # what embeddings go through first
    position_bias: Callable[[Any, int], Tensor] | None = None  # (body, length T) -> [A, T, T], by distance
    decodes: bool = False  # an encoder-decoder: see bart.py for what it does, and what it is not used for

    @property
    def scoring_pass(self) -> ScoringPass:
        """Which pass scores it."""
        return "own" if self.layers is None else "fast"


def _bert_layers(body: Any) -> list[Layer]:
    return [
        Layer(
            layer.attention.self.query,
            layer.attention.self.key,
            layer.attention.self.value,
            layer.attention.output.dense,
            layer.attention.output.LayerNorm,
            layer.intermediate.dense,
            layer.intermediate.intermediate_act_fn,
            layer.output.dense,
            layer.output.LayerNorm,
        )
        for layer in body.encoder.layer
    ]


def _distilbert_layers(body: Any) -> list[Layer]:
    return [
        Layer(
            layer.attention.q_lin,
            layer.attention.k_lin,
            layer.attention.v_lin,
            layer.attention.out_lin,
            layer.sa_layer_norm,
            layer.ffn.lin1,
            layer.ffn.activation,
            layer.ffn.lin2,
            layer.output_layer_norm,
        )
        for layer in body.transformer.layer
    ]


def _albert_layers(body: Any) -> list[Layer]:
    encoder, config = body.encoder, body.config
    groups = [list(map(_albert_layer, group.albert_layers)) for group in encoder.albert_layer_groups]
    share = config.num_hidden_layers / config.num_hidden_groups
    return [layer for index in range(config.num_hidden_layers) for layer in groups[int(index / share)]]


def _albert_layer(layer: Any) -> Layer:
    return Layer(
        layer.attention.query,
        layer.attention.key,
        layer.attention.value,
        layer.attention.dense,
        layer.attention.LayerNorm,
        layer.ffn,
        layer.activation,
        layer.ffn_output,
        layer.full_layer_layer_norm,
    )


def _mpnet_layers(body: Any) -> list[Layer]:
    return [
        Layer(
            layer.attention.attn.q,
            layer.attention.attn.k,
            layer.attention.attn.v,
            layer.attention.attn.o,
            layer.attention.LayerNorm,
            layer.intermediate.dense,
            layer.intermediate.intermediate_act_fn,
            layer.output.dense,
            layer.output.LayerNorm,
        )
        for layer in body.encoder.layer
    ]


def _mpnet_bias(body: Any, length: int) -> Tensor:
    encoder = body.encoder
    return encoder.compute_position_bias(encoder.relative_attention_bias.weight.new_empty(1, length))[0]


def _distilbert_head(model: Any, hidden: Tensor) -> Tensor:
    return model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))


def own_head(model: Any, hidden_NH: Tensor) -> Tensor:
    """[N, H] states to [N, V] logits, by the model's own forward pass around a body that returns what it is given.

    The stand-in replaces the body in a shallow copy: weights are shared, and `model` itself does not change, so that
    other threads may use it. A head that reads the embeddings finds them through the stand-in.
    """
    head = copy.copy(model)
    head.__dict__["_modules"] = model._modules | {model.base_model_prefix: _stand_in()(model.base_model)}
    return head(input_ids=hidden_NH[None])[0][0]


@cache  # transformers keeps every class of outputs for good
def _stand_in() -> Callable[[Any], nn.Module]:
    """What makes a stand-in for a body."""
    from torch import nn
    from transformers.modeling_outputs import BaseModelOutput

    class Output(BaseModelOutput):
        def __getattr__(self, name: str) -> None:
            """What else a body may give, such as states of images, is absent."""

    class StandIn(nn.Module):
        def __init__(self, body: Any) -> None:
            super().__init__()
            self.body = (body,)  # in a tuple, so that it is no part of this module

        def forward(self, input_ids: Tensor, *_: Any, **more: Any) -> Any:
            return Output(last_hidden_state=input_ids)

        def __getattr__(self, name: str) -> Any:
            return getattr(self.body[0], name)

    return StandIn


def family_of(model_type: str) -> Family:
    """The family of a type. One that FAMILIES lacks goes through its own pass."""
    return FAMILIES.get(model_type, PADDED if model_type in PADS_POSITIONS else OWN)


def first_position(config: Any) -> int:
    """Row of the position table that the first token takes."""
    return int(config.pad_token_id) + 1 if family_of(config.model_type).pads_positions else 0


def position_limit(config: Any) -> int:
    """Longest sequence the position table holds: `model_max_length` of a tokenizer is often 1e30 and says nothing.

    Where a configuration names no such table, positions are relative, and NO_LIMIT holds.
    """
    return int(getattr(config, "max_position_embeddings", NO_LIMIT)) - first_position(config)


NO_LIMIT = 1 << 20
PADS_POSITIONS = frozenset(  # types outside FAMILIES whose position numbers start behind the padding id
    ("data2vec-text", "esm", "ibert", "longformer", "luke", "roberta-prelayernorm", "xlm-roberta-xl", "xmod")
)
OWN = Family(own_head, None)
PADDED = Family(own_head, None, pads_positions=True)

ROBERTA = Family(lambda model, hidden: model.lm_head(hidden), _bert_layers, pads_positions=True)

FAMILIES: dict[str, Family] = {
    "bert": Family(lambda model, hidden: model.cls(hidden), _bert_layers),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": Family(_distilbert_head, _distilbert_layers),
    "electra": Family(
        lambda model, hidden: model.generator_lm_head(model.generator_predictions(hidden)),
        _bert_layers,
        widened=lambda body: getattr(body, "embeddings_project", None),
    ),
    "albert": Family(
        lambda model, hidden: model.predictions(hidden),
        _albert_layers,
        widened=lambda body: body.encoder.embedding_hidden_mapping_in,
    ),
    "mpnet": Family(
        lambda model, hidden: model.lm_head(hidden),
        _mpnet_layers,
        pads_positions=True,
        padding_id=1,
        position_bias=_mpnet_bias,
    ),
    "bart": Family(bart.mlm_head, bart.unscored, decodes=True),
}
