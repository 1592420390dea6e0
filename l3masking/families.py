"""What differs between the families of masked LMs, by transformers' `model_type`. To support another: one entry."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor, nn


class Family(NamedTuple):
    """How to reach the parts of a model that the method needs."""

    mlm_head: Callable[[Any, Tensor], Tensor]  # (whole model, [N, H] states) -> [N, V] logits
    last_attention: Callable[[Any], nn.Module]  # body -> the normalisation behind the last layer's attention
    pads_positions: bool = False  # position numbers start behind the padding id


def _distilbert_head(model: Any, hidden: Tensor) -> Tensor:
    return model.vocab_projector(model.vocab_layer_norm(model.activation(model.vocab_transform(hidden))))


def _bert_attention(body: Any) -> nn.Module:
    return body.encoder.layer[-1].attention.output.LayerNorm


ROBERTA = Family(lambda model, hidden: model.lm_head(hidden), _bert_attention, pads_positions=True)

FAMILIES: dict[str, Family] = {
    "bert": Family(lambda model, hidden: model.cls(hidden), _bert_attention),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": Family(_distilbert_head, lambda body: body.transformer.layer[-1].sa_layer_norm),
}
