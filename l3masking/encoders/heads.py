"""Families whose own classifier in transformers computes what ours does, and where its two layers are.

Ours is: state of the text -> linear H -> H -> tanh -> linear H -> C, with dropout in front of each layer in training.
The state is that of the first token, in BART that of the last one, as in BartForSequenceClassification. The classifiers
of DistilBERT (ReLU), ELECTRA (GELU) and ModernBERT (a norm behind the activation) compute something else: their models
are exported as l3masking.classifier.TextClassifier, as are those of every type that is not named here.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple


class OwnHead(NamedTuple):
    """Paths inside the class that AutoModelForSequenceClassification takes for a type."""

    dense: str  # the layer in front of tanh
    out: str  # the layer that gives the logits
    settings: Mapping[str, object] = MappingProxyType({})  # of the configuration, without which it differs


POOLED = OwnHead("bert.pooler.dense", "classifier")
ON_TOP = OwnHead("classifier.dense", "classifier.out_proj")

OWN_HEADS: dict[str, OwnHead] = {  # by transformers' `model_type`; each entry is checked at every export
    "bert": POOLED,
    "megatron-bert": POOLED,
    "albert": OwnHead("albert.pooler", "classifier"),
    "roberta": ON_TOP,
    "xlm-roberta": ON_TOP,
    "camembert": ON_TOP,
    "roberta-prelayernorm": ON_TOP,
    "mpnet": ON_TOP,
    "bart": OwnHead("classification_head.dense", "classification_head.out_proj"),
    "deberta-v2": OwnHead("pooler.dense", "classifier", MappingProxyType({"pooler_hidden_act": "tanh"})),
}
