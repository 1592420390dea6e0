"""Vanilla masked language models, loaded in one way and checked."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from l3masking.encoders import bart
from l3masking.encoders.buckets import Bucket, join_bucket
from l3masking.encoders.checks import check_padding, check_tokenizer
from l3masking.encoders.families import Family, ForwardPass, family_of, position_limit
from l3masking.encoders.hub import check_length, location, read_config, read_tokenizer, reading, resolve_revision
from l3masking.encoders.joined import joined_states, padding_id_of, states_of
from l3masking.encoders.table import EncoderSpec, find_encoder
from l3masking.encoders.weights import restore_weights
from l3masking.errors import InputError
from l3masking.scoring.probe import check_decoder_pass, check_pass
from l3masking.scoring.words import TOKENIZING

BUCKETS_ON = ("cuda",)  # types of devices


@dataclass(frozen=True, eq=False, kw_only=True)
class Encoder:
    """A loaded vanilla masked LM. `body` maps ids to hidden states, `mlm_logits` hidden states to the vocabulary."""

    model: nn.Module
    tokenizer: Any
    revision: str  # Hub commit, or "folder-" and a hash of the folder's content
    max_positions: int  # longest sequence the position table holds, special tokens included
    padded_to: int | None = None  # ids up to which each text is padded, with attention to them; None: padding is masked
    forward: ForwardPass = "fast"  # of training and evaluation: "own" is the model's even where its layers are known

    @property
    def body(self) -> nn.Module:
        return self.model.base_model  # type: ignore[return-value]

    @property
    def model_type(self) -> str:
        """As transformers names it."""
        return str(self.model.config.model_type)  # type: ignore[union-attr]

    @property
    def family(self) -> Family:
        return family_of(self.model_type)

    @property
    def scoring_pass(self) -> ForwardPass:
        """Which pass scores it: "fast", or the model's "own"."""
        return self.family.scoring_pass

    @property
    def hidden_size(self) -> int:
        return int(self.model.config.hidden_size)  # type: ignore[union-attr, arg-type]

    @property
    def in_buckets(self) -> bool:
        """Whether its training batches take few shapes: on a GPU, where each launch is waited for."""
        family = self.family
        known = family.layers is not None and not family.decodes and self.forward == "fast" and self.padded_to is None
        return known and self.device.type in BUCKETS_ON

    @cached_property
    def separator(self) -> int | None:
        """The id behind which the second text of a pair begins, for a model that tells the two apart by token types.

        None for any other model. No text can hold this id, so the first one in a sequence of ids ends the first text.
        """
        takes = inspect.signature(self.body.forward).parameters
        if (getattr(self.model.config, "type_vocab_size", 0) or 0) < 2 or "token_type_ids" not in takes:
            return None
        with TOKENIZING:
            pair = self.tokenizer("a", "a").encodings[0]
        before = pair.type_ids.index(1) - 1 if 1 in pair.type_ids else 0
        return int(pair.ids[before]) if before and pair.special_tokens_mask[before] else None

    def _given(self, input_ids_BT: Tensor, attention_mask_BT: Tensor) -> dict[str, Tensor]:
        """What the body gets."""
        pad_id = self.tokenizer.pad_token_id
        return given_to(
            input_ids_BT, attention_mask_BT, separator=self.separator, padded_to=self.padded_to, pad_id=pad_id
        )

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def copied(self, weights: Mapping[str, Tensor] | None = None) -> Encoder:
        """The same encoder with a model of its own, and with other weights where they are given."""
        own = dataclasses.replace(self, model=copy.deepcopy(self.model))
        if weights is not None:
            restore_weights(own.model, weights)
        return own

    def with_padding(self, length: int) -> Encoder:
        """The same encoder and model, which pads each text to `length` ids and attends to the padding."""
        return dataclasses.replace(self, padded_to=length)

    def through(self, forward: ForwardPass) -> Encoder:
        """The same encoder and model, of which training and evaluation take this pass."""
        return dataclasses.replace(self, forward=forward)

    def mlm_logits(self, hidden_NH: Tensor) -> Tensor:
        """[N, H] last-layer states to [N, V] logits of the encoder's own pre-trained head."""
        return self.family.mlm_head(self.model, hidden_NH)

    def states_at(
        self,
        input_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        rows_N: Tensor,
        positions_N: Tensor,
        lengths: Sequence[int] | None = None,
    ) -> Tensor:
        """[N, H] last-layer states at N places of a batch.

        lengths: [B] real tokens of each text, as the mask has them. None: they are read from it, and the host waits for
        a GPU. Where the layers are known, texts go through joined.py, without padding. Only these N are computed behind
        the attention of the last layer, which looks at each position alone from there on.
        """
        decodes, layers = self.family.decodes, self.family.layers
        given: dict[str, Any] = self._given(input_ids_BT, attention_mask_BT)
        if layers and not decodes and self.forward == "fast":
            if self.padded_to is not None:
                lengths = [given["input_ids"].shape[1]] * len(input_ids_BT)
            elif lengths is None:
                lengths = attention_mask_BT.sum(dim=1).tolist()
            return joined_states(self.body, self.family, given, lengths, rows_N, positions_N)
        if decodes:
            norms, given["use_cache"] = [bart.last_norm(self.body)], False
        else:  # behind a norm in front of its part, the residual would still be as long as the text
            found = layers(self.body) if layers else []
            norms = [layer.attention_norm for layer in found if not layer.norms_first]
        if not norms:
            return self.body(**given)[0][rows_N, positions_N]

        norm = norms[-1]
        uses = iter(range(sum(one is norm for one in norms))[::-1])  # more than one where layers share weights

        def pick(module: nn.Module, arguments: Any, states_BTH: Tensor) -> Tensor | None:
            return None if next(uses) else states_BTH[rows_N, positions_N][None]

        hook = norm.register_forward_hook(pick)
        try:
            return self.body(**given)[0][0]
        finally:
            hook.remove()

    def bucket_states(
        self, input_ids_BT: Tensor, attention_mask_BT: Tensor, read_BT: Tensor, bucket: Bucket
    ) -> tuple[Tensor, Tensor]:
        """[N, H] states of the places that are read, and where they are of [B T], -1 where the bucket is filled up."""
        given, padding_id = self._given(input_ids_BT, attention_mask_BT), padding_id_of(self.body, self.family)
        batch, place_N = join_bucket(given, read_BT, bucket, padding_id=padding_id)
        return states_of(self.body, self.family, batch), place_N

    def text_states(
        self,
        input_ids_BT: Tensor,
        attention_mask_BT: Tensor,
        lengths: Sequence[int] | None = None,
        bucket: Bucket | None = None,
    ) -> Tensor:
        """[B, H] states that a classifier reads: of the first token, or of the last one in an encoder-decoder.

        lengths: as in `states_at`. bucket: in the shape of which the batch is given.
        """
        if bucket is not None:
            first_BT = torch.arange(bucket.length, device=input_ids_BT.device).expand_as(input_ids_BT) == 0
            return self.bucket_states(input_ids_BT, attention_mask_BT, first_BT, bucket)[0]
        rows = torch.arange(len(input_ids_BT), device=input_ids_BT.device)
        positions = attention_mask_BT.sum(dim=1) - 1 if self.family.decodes else torch.zeros_like(rows)
        return self.states_at(input_ids_BT, attention_mask_BT, rows, positions, lengths)

    def check_length(self, max_length: int) -> None:
        """Raise InputError where the encoder has fewer positions than `max_length`."""
        check_length(max_length, self.max_positions, "this encoder")


def given_to(
    input_ids_BT: Tensor, attention_mask_BT: Tensor, *, separator: int | None, padded_to: int | None, pad_id: int
) -> dict[str, Tensor]:
    """The arguments of a body by name.

    separator: as in Encoder; token types are 1 behind the first one, as far as the text goes, else 0. padded_to: as in
    Encoder; rows are then longer, and the mask hides nothing of them.
    """
    given = {"input_ids": input_ids_BT, "attention_mask": attention_mask_BT}
    if separator is not None:
        ends_BT = (input_ids_BT == separator).long()
        given["token_type_ids"] = (ends_BT.cumsum(dim=1) > ends_BT).long() * attention_mask_BT
    if padded_to is None:
        return given
    more, fills = max(0, padded_to - input_ids_BT.shape[1]), {"input_ids": pad_id}
    given = {name: F.pad(values, (0, more), value=fills.get(name, 0)) for name, values in given.items()}
    return given | {"attention_mask": torch.ones_like(given["attention_mask"])}


def load_encoder(
    encoder: str | EncoderSpec,
    *,
    dtype: torch.dtype = torch.float32,
    device: str | torch.device = "cpu",
    offline: bool = False,
) -> Encoder:
    """Load a masked LM in eval mode with its own fast tokenizer.

    `encoder` is a name of ENCODERS, a folder, a Hub id, or an EncoderSpec. Weights are cast to `dtype` whatever the
    checkpoint holds. Raises InputError where the model can't be scored with (no or incomplete MLM head, no mask token,
    slow tokenizer, unknown type, damaged files, other values than the model's own pass gives), Unavailable where it
    can't be fetched. Remote code is never run, nor what a pickle holds beside tensors.
    """
    from transformers import AutoModelForMaskedLM

    spec = find_encoder(encoder)
    revision = resolve_revision(spec, offline=offline)
    where = location(spec, revision, offline)
    config = read_config(spec, where)
    tokenizer = read_tokenizer(spec, where)
    check_tokenizer(tokenizer, config.vocab_size, spec.place)
    check_padding(config, tokenizer, spec.place)
    with reading(spec, "model"):
        model, loading = AutoModelForMaskedLM.from_pretrained(
            spec.place, dtype=dtype, output_loading_info=True, ignore_mismatched_sizes=True, config=config, **where
        )
    broken = sorted({*loading["missing_keys"], *(key for key, *_ in loading["mismatched_keys"])})
    if broken:
        raise InputError(
            f"encoder {spec.place}: the checkpoint lacks {', '.join(broken[:3])} or has it in another shape "
            f"({len(broken)} tensors), which would be random numbers: take a checkpoint with its masked-LM head"
        )
    loaded = Encoder(model=model.eval(), tokenizer=tokenizer, revision=revision, max_positions=position_limit(config))
    if loaded.family.decodes:
        check_decoder_pass(
            model,
            tokenizer,
            loaded.max_positions,
            lambda ids, mask, rows, positions: loaded.mlm_logits(loaded.states_at(ids, mask, rows, positions)),
            spec.place,
        )
    else:
        check_pass(model, tokenizer, spec.place)
    loaded.model.to(device)
    return loaded
