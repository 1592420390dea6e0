"""A text classifier for families whose own classifier in transformers computes something else than ours."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.configuration_utils import SubConfigSpec
from transformers.modeling_outputs import SequenceClassifierOutput


@strict
class TextClassifierConfig(PreTrainedConfig):
    """The encoder's configuration under `encoder`, and how texts are read under `l3masking`; see `Reading`."""

    model_type = "l3masking-text-classifier"  # also in l3masking.predicting, which loads this module where it must
    sub_configs_defaults = {"encoder": SubConfigSpec(config_class=AutoConfig, model_type="bert")}  # noqa: RUF012

    encoder: PreTrainedConfig | dict | None = None
    l3masking: dict | None = None
    classifier_dropout: float = 0.1


class TextClassifier(PreTrainedModel):
    """An encoder body, and on the state of its first token: linear H -> H, tanh, linear H -> C.

    In training there is dropout in front of both layers. A folder is read by `TextClassifier.from_pretrained(folder)`
    and written by `save_pretrained`; `push_to_hub` uploads it. After `register()`, transformers' Auto classes and
    `pipeline` read such a folder as any other.
    """

    config_class = TextClassifierConfig
    base_model_prefix = "encoder"
    _supports_sdpa = True

    def __init__(self, config: TextClassifierConfig) -> None:
        super().__init__(config)
        assert isinstance(config.encoder, PreTrainedConfig), "made from its own settings by the base class"
        self.encoder = AutoModelForMaskedLM.from_config(config.encoder, trust_remote_code=False).base_model  # no pooler
        hidden = int(config.encoder.hidden_size)
        self.dropout = nn.Dropout(config.classifier_dropout)
        self.dense = nn.Linear(hidden, hidden)
        self.out = nn.Linear(hidden, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
        **more: Any,
    ) -> SequenceClassifierOutput:
        """[B, C] logits of [B, T] ids, and with `labels` [B] the mean cross-entropy in nats.

        Token types are left out where the encoder has none. more: further arguments of the encoder.
        """
        if token_type_ids is not None and "token_type_ids" in inspect.signature(self.encoder.forward).parameters:
            more["token_type_ids"] = token_type_ids
        states_BTH = self.encoder(input_ids=input_ids, attention_mask=attention_mask, **more)[0]
        features_BH = torch.tanh(self.dense(self.dropout(states_BTH[:, 0])))
        logits_BC = self.out(self.dropout(features_BH))
        loss = None if labels is None else nn.functional.cross_entropy(logits_BC.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits_BC)


def register() -> None:
    """Tell transformers' AutoConfig and AutoModelForSequenceClassification of this class, in this process."""
    AutoConfig.register(TextClassifierConfig.model_type, TextClassifierConfig, exist_ok=True)
    AutoModelForSequenceClassification.register(TextClassifierConfig, TextClassifier, exist_ok=True)
