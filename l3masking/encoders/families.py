"""What differs between the families of masked LMs, by transformers' `model_type`.

Every masked LM goes through its own pass. A family with `layers` has a faster one, for scoring in scoring/forward.py
and for training in joined.py: one entry.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from l3masking.encoders import bart, layers
from l3masking.encoders.layers import Layer, Relation

if TYPE_CHECKING:  # the table is read without torch
    from torch import Tensor, nn

ForwardPass = Literal["fast", "own"]  # without padding (scoring/forward.py, joined.py), or the model's own


def _embedded(body: Any, given: Mapping[str, Tensor]) -> Tensor:
    return body.embeddings(**given)


def _unrelated(_body: Any, _kind: str, _length: int) -> Relation:
    """All that a layer knows of positions comes with the embeddings."""
    return Relation()


class Family(NamedTuple):
    """How to reach the parts of a model that the method needs."""

    mlm_head: Callable[[Any, Tensor], Tensor]  # (whole model, [N, H] states) -> [N, V] logits
    layers: Callable[[Any], list[Layer]] | None  # body -> its layers, first to last; None: no fast pass
    embed: Callable[[Any, Mapping[str, Tensor]], Tensor] = _embedded  # (body, [1, U] inputs by name) -> [1, U, H]
    relation: Callable[[Any, str, int], Relation] = _unrelated  # (body, kind of a layer, length T)
    final_norm: Callable[[Any], Callable[[Tensor], Tensor]] | None = None  # body -> what is behind its last layer
    reach: Callable[[Any], int] | None = None  # configuration -> how far some of its layers see; None: all see all
    pads_positions: bool = False  # position numbers start behind the padding id
    padding_id: int | None = None  # the only padding id that its positions allow; None: that of the configuration
    decodes: bool = False  # an encoder-decoder: see bart.py for what it does, and what it is not used for

    @property
    def scoring_pass(self) -> ForwardPass:
        """Which pass scores it."""
        return "own" if self.layers is None else "fast"


def _electra_embeddings(body: Any, given: Mapping[str, Tensor]) -> Tensor:
    """A generator's are narrower than its layers."""
    found = _embedded(body, given)
    return body.embeddings_project(found) if hasattr(body, "embeddings_project") else found


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

ROBERTA = Family(lambda model, hidden: model.lm_head(hidden), layers.bert, pads_positions=True)

FAMILIES: dict[str, Family] = {
    "bert": Family(lambda model, hidden: model.cls(hidden), layers.bert),
    "roberta": ROBERTA,
    "xlm-roberta": ROBERTA,
    "camembert": ROBERTA,
    "distilbert": Family(_distilbert_head, layers.distilbert),
    "electra": Family(
        lambda model, hidden: model.generator_lm_head(model.generator_predictions(hidden)),
        layers.bert,
        embed=_electra_embeddings,
    ),
    "albert": Family(
        lambda model, hidden: model.predictions(hidden),
        layers.albert,
        embed=lambda body, given: body.encoder.embedding_hidden_mapping_in(_embedded(body, given)),
    ),
    "mpnet": Family(
        lambda model, hidden: model.lm_head(hidden),
        layers.mpnet,
        pads_positions=True,
        padding_id=1,
        relation=layers.mpnet_relation,
    ),
    "modernbert": Family(
        lambda model, hidden: model.decoder(model.head(hidden)),
        layers.modernbert,
        embed=lambda body, given: body.embeddings(input_ids=given["input_ids"]),
        relation=layers.modernbert_relation,
        final_norm=lambda body: body.final_norm,
        reach=lambda config: config.sliding_window,
    ),
    "bart": Family(bart.mlm_head, bart.unscored, decodes=True),
}
