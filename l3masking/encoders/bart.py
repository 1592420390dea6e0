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

    from l3masking.encoders.load import Encoder


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


def check_pass(encoder: Encoder, place: str) -> None:
    """Raise InputError where states_at and mlm_logits give other predictions than the model's own pass.

    Also where texts don't end with the model's end of a text, at which a classifier reads.
    """
    import torch
    from torch.nn.utils.rnn import pad_sequence

    from l3masking.scoring.probe import probe_texts, tolerance_of

    model, tokenizer = encoder.model, encoder.tokenizer
    config: Any = model.config
    texts = [text.input_ids for text in probe_texts(tokenizer, encoder.max_positions)]
    if any(ids[-1] != config.eos_token_id for ids in texts):
        raise InputError(
            f"encoder {place}: a text does not end with the model's eos_token_id {config.eos_token_id}: take the "
            "tokenizer that the model was trained with"
        )
    lengths = torch.tensor([len(ids) for ids in texts])
    ids_BT = pad_sequence(list(map(torch.from_numpy, texts)), batch_first=True, padding_value=tokenizer.pad_token_id)
    ids_BT[:, 1] = tokenizer.mask_token_id
    mask_BT = (torch.arange(ids_BT.shape[1])[None, :] < lengths[:, None]).long()
    rows, positions = torch.nonzero(mask_BT, as_tuple=True)
    with torch.inference_mode():
        own_NV = model(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)[0][rows, positions]
        found_NV = encoder.mlm_logits(encoder.states_at(ids_BT, mask_BT, rows, positions))
    if not torch.isfinite(own_NV).all():
        raise InputError(f"encoder {place}: its weights give values that are not finite: take a whole checkpoint")
    tolerance = tolerance_of(model)
    if not torch.allclose(found_NV, own_NV, atol=tolerance, rtol=tolerance / 10):
        raise InputError(
            f"encoder {place}: predictions would be {(found_NV - own_NV).abs().max():.2g} off the model's own pass, so "
            "the model has a setting that training does not follow: take a plain bart model"
        )
