"""What a configuration and a tokenizer must be like for their model to be used. Checked before weights are read."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from l3masking.encoders import bart
from l3masking.encoders.families import FAMILIES, family_of, position_limit
from l3masking.errors import InputError


def check_config(config: Any, place: str) -> None:
    """Raise InputError for a configuration that the passes here do not follow. Reads no weights."""
    family = family_of(config.model_type)
    if config.model_type not in FAMILIES:
        from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES  # seconds, with all models

        _check_type(config, MODEL_FOR_MASKED_LM_MAPPING_NAMES, place)
    if getattr(config, "is_decoder", False):
        raise InputError(
            f"encoder {place}: config.json has is_decoder: true, so each token sees only those before it: "
            "take a masked LM that reads both sides"
        )
    if family.decodes:
        bart.check_config(config, place)
    # transformers 5 no longer reads this key: the model's own pass would be wrong too
    positions = getattr(config, "position_embedding_type", None) or "absolute"
    if positions != "absolute" and (family.scoring_pass == "fast" or positions.startswith("relative")):
        raise InputError(
            f"encoder {place}: config.json has position_embedding_type: {positions}, which transformers no longer "
            "computes: take an encoder with absolute positions"
        )
    if family.pads_positions and config.pad_token_id is None:
        raise InputError(
            f"encoder {place}: config.json has no pad_token_id, and a {config.model_type} model counts its positions "
            "from there: set the id of the tokenizer's padding token"
        )
    if family.padding_id not in (None, config.pad_token_id):
        raise InputError(
            f"encoder {place}: config.json has pad_token_id: {config.pad_token_id}, and a {config.model_type} model "
            f"counts its positions from {family.padding_id}, whatever stands there: take a model whose padding has "
            "that id"
        )
    if position_limit(config) < 3:
        raise InputError(
            f"encoder {place}: config.json has max_position_embeddings: {config.max_position_embeddings}, too few for "
            "one token and the two around it: at least 3"
        )


def _check_type(config: Any, known: Collection[str], place: str) -> None:
    """Raise InputError for a type that the model's own pass does not serve either. known: the masked LMs there are."""
    if config.model_type not in known:
        raise InputError(
            f"encoder {place}: type {config.model_type!r} is not a known masked LM (known: {', '.join(sorted(known))})"
        )
    if getattr(config, "is_encoder_decoder", False):
        raise InputError(
            f"encoder {place}: a {config.model_type} model is an encoder-decoder, of which only bart is known here: "
            "take a masked LM that has an encoder alone"
        )


def check_padding(config: Any, tokenizer: Any, place: str) -> None:
    """Raise InputError where model and tokenizer disagree on the padding id that positions are counted from."""
    if family_of(config.model_type).pads_positions and config.pad_token_id != tokenizer.pad_token_id:
        token = tokenizer.convert_ids_to_tokens(int(config.pad_token_id))
        raise InputError(
            f"encoder {place}: config.json has pad_token_id: {config.pad_token_id}, {token!r} to the tokenizer "
            f"(its padding is {tokenizer.pad_token_id}), so the model would count no position for {token!r}: "
            "take the tokenizer that the model was trained with"
        )


def check_tokenizer(tokenizer: Any, vocab_size: int, place: str) -> None:
    """Raise InputError for a tokenizer that can't be masked with. Runs before any weight is read."""
    if not tokenizer.is_fast:
        raise InputError(
            f"encoder {place}: its tokenizer is slow and has no word numbers; save its fast version beside it"
        )
    for name in ("mask_token", "pad_token"):
        if getattr(tokenizer, name) is None:
            raise InputError(f"encoder {place}: its tokenizer has no {name}; take the tokenizer of a masked LM")
    if len(tokenizer) <= len(set(tokenizer.all_special_ids)):  # what transformers makes up where the files are missing
        raise InputError(f"encoder {place}: its tokenizer has no vocabulary; put tokenizer.json or vocab.txt there")
    if len(tokenizer) > vocab_size:
        raise InputError(
            f"encoder {place}: {len(tokenizer)} tokens in the tokenizer, {vocab_size} embeddings in the model"
        )
    added = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    if not (len(added) > 1 and added[0] and added[-1]):
        ends = f"{tokenizer.cls_token or 'a token'} and {tokenizer.sep_token or 'another'}"
        raise InputError(
            f"encoder {place}: its tokenizer does not put {ends} around a text, as the model was trained: "
            "save the tokenizer with its post-processor"
        )
