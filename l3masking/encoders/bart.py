"""BART, an encoder-decoder, in the place of a masked LM: its decoder predicts the masked tokens, one mask per token.

The decoder reads the text shifted by one place, as transformers makes its input from the ids where nothing else is
given. So at the place of a token it has read the tokens before it, and the true ids of masked tokens are nowhere in the
input: neither the encoder nor the decoder sees them. BART was pre-trained with the true tokens in the decoder instead;
with them, an earlier masked token would give away a later one. A classifier reads the decoder's state at the last
token, which has seen the whole text, as BartForSequenceClassification does.

Likelihoods of tokens (scores), importance and masked-LM training beside or before fine-tuning are not defined here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from l3masking.errors import InputError

if TYPE_CHECKING:
    from torch import Tensor, nn


def mlm_head(model: Any, hidden_NH: Tensor) -> Tensor:
    """[N, H] decoder states to [N, V] logits."""
    return model.lm_head(hidden_NH) + model.final_logits_bias


def last_norm(body: Any) -> nn.Module:
    """The module behind which the decoder's last layer looks at each position alone."""
    return body.decoder.layers[-1].encoder_attn_layer_norm


def unscored(_: Any) -> list[Any]:
    """Stands where scoring looks for the layers of an encoder."""
    raise InputError("a bart model gives no likelihood of tokens: score with a masked LM that has an encoder alone")


def check_config(config: Any, place: str) -> None:
    """Raise InputError for a configuration without what the decoder needs."""
    for name in ("pad_token_id", "eos_token_id", "decoder_start_token_id"):
        if not isinstance(getattr(config, name), int):
            raise InputError(f"encoder {place}: config.json has no {name}, from which a bart model makes its input")
    for name in ("encoder_layerdrop", "decoder_layerdrop"):
        if getattr(config, name):
            raise InputError(
                f"encoder {place}: config.json has {name}: {getattr(config, name)}, and which layers are left out "
                "can't be repeated: set it to 0"
            )
