"""What differs between the families of masked LMs, by transformers' `model_type`. To support another: one entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from l3masking.encoders import bart

if TYPE_CHECKING:  # the table is read without torch
    from torch import Tensor, nn


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


class Family(NamedTuple):
    """How to reach the parts of a model that the method needs."""

    mlm_head: Callable[[Any, Tensor], Tensor]  # (whole model, [N, H] states) -> [N, V] logits
    layers: Callable[[Any], list[Layer]]  # body -> its layers, first to last
    pads_positions: bool = False  # position numbers start behind the padding id
    decodes: bool = False  # an encoder-decoder: see bart.py for what it does, and what it is not used for


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


def _distilbert_head(model: Any, hidden: Tensor) -> Tensor:
    return model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))


def first_position(config: Any) -> int:
    """Row of the position table that the first token takes."""
    return int(config.pad_token_id) + 1 if FAMILIES[config.model_type].pads_positions else 0


def position_limit(config: Any) -> int:
    """Longest sequence the position table holds: `model_max_length` of a tokenizer is often 1e30 and says nothing."""
    return int(config.max_position_embeddings) - first_position(config)


ROBERTA = Family(lambda model, hidden: model.lm_head(hidden), _bert_layers, pads_positions=True)

FAMILIES: dict[str, Family] = {
    "bert": Family(lambda model, hidden: model.cls(hidden), _bert_layers),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": Family(_distilbert_head, _distilbert_layers),
    "bart": Family(bart.mlm_head, bart.unscored, decodes=True),
}
