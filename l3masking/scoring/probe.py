"""One look at loading: the pass that scores must give what the model's own pass gives, or the encoder is refused.

A few short masked copies of made-up texts go through both, padded to one length in the model's own. What differs shows
a setting or a layer that the pass here does not follow, or padding that is not masked. On one core it takes 6 ms for a
small model, .4 s for a base and 1.2 s for a large one. Where layers of the fast pass see near tokens only, one copy of
a text that is longer than they see comes after the short ones.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from l3masking.encoders.families import Family, family_of, position_limit
from l3masking.errors import InputError
from l3masking.scoring.copies import CopyRow, mask_rows, pack
from l3masking.scoring.forward import pass_of
from l3masking.scoring.words import EncodedText, structural_ids

# ids [B, T], attention mask [B, T], rows [N] and positions [N] -> logits [N, V] at these places
Predict = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
LENGTHS = (1, 2, 4)  # tokens of the texts, their ends apart
TOLERANCE = 1e-4  # nats, and ten times the share of a value, in float32 at full precision; rounding gives a tenth
ROUGH_TOLERANCE = 0.5  # where matrix products round to bfloat16, float16 or TF32


def check_pass(model: Any, tokenizer: Any, place: str) -> None:
    """Raise InputError where the pass of `scoring` and the model's own give other scores. Draws no random number.

    The model is in eval mode and on the CPU; nothing of it is changed.
    """
    limit, family = position_limit(model.config), family_of(model.config.model_type)
    short = probe_texts(tokenizer, limit)
    probed = [(short, [row for index, text in enumerate(short) for row in mask_rows(text, index, "word_l2r")])]
    if family.reach:
        long = probe_texts(tokenizer, limit, (family.reach(model.config) + 1,))
        probed.append((long, [next(mask_rows(long[0], 0, "original"))]))  # the last token in reach, the first out of it
    with torch.inference_mode(), _followed(family, place):
        own = torch.cat([_own_scores(model, tokenizer, *given) for given in probed])
        scores = torch.cat([_followed_scores(model, tokenizer, *given) for given in probed])
    if not torch.isfinite(own).all():
        raise InputError(f"encoder {place}: its weights give values that are not finite: take a whole checkpoint")
    tolerance = tolerance_of(model)
    if not torch.allclose(scores, own, atol=tolerance, rtol=tolerance / 10):
        off, kind = f"{(scores - own).abs().max():.2g}", model.config.model_type
        if family.scoring_pass == "own":
            raise InputError(
                f"encoder {place}: what a {kind} model gives for a text changes with the padding behind it, by {off} "
                "nats here, so results would depend on which texts share a batch: take a model that masks its padding"
            )
        raise InputError(
            f"encoder {place}: scores would be {off} nats off the model's own pass, so the "
            f"model has a setting that scoring does not follow: take a plain {kind} model"
        )


def check_decoder_pass(model: Any, tokenizer: Any, limit: int, predict: Predict, place: str) -> None:
    """Raise InputError where the function predict gives other logits than the own pass of an encoder-decoder.

    Also where texts don't end with the model's end of a text, at which a classifier reads. limit: most ids of a text.
    """
    config = model.config
    texts = [text.input_ids for text in probe_texts(tokenizer, limit)]
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
        found_NV = predict(ids_BT, mask_BT, rows, positions)
    if not torch.isfinite(own_NV).all():
        raise InputError(f"encoder {place}: its weights give values that are not finite: take a whole checkpoint")
    tolerance = tolerance_of(model)
    if not torch.allclose(found_NV, own_NV, atol=tolerance, rtol=tolerance / 10):
        raise InputError(
            f"encoder {place}: predictions would be {(found_NV - own_NV).abs().max():.2g} off the model's own pass, so "
            f"the model has a setting that training does not follow: take a plain {config.model_type} model"
        )


@contextmanager
def _followed(family: Family, place: str) -> Iterator[None]:
    """One line where a model that goes through its own pass takes other arguments, or raises whatever it likes."""
    try:
        yield
    except Exception as error:
        if family.scoring_pass == "fast" or isinstance(error, MemoryError):
            raise
        said = " ".join(f"{type(error).__name__} {error}".split())[:200]
        raise InputError(
            f"encoder {place}: its own forward pass can't be followed ({said}): it must take input_ids and "
            "attention_mask, and give a prediction at each token"
        ) from error


def tolerance_of(model: Any) -> float:
    """How far two passes of one model may differ by rounding."""
    wide = next(model.parameters()).dtype in (torch.float32, torch.float64)
    return TOLERANCE if wide and torch.get_float32_matmul_precision() == "highest" else ROUGH_TOLERANCE


def probe_texts(tokenizer: Any, limit: int, lengths: Sequence[int] = LENGTHS) -> list[EncodedText]:
    """Texts of ids from all over the vocabulary, the unknown token among them, between the tokenizer's own two ends.

    limit: most ids of a text. lengths: ids of each text, its ends apart.
    """
    ends = tokenizer("a")["input_ids"]
    ordinary = np.setdiff1d(np.arange(len(tokenizer)), structural_ids(tokenizer))
    drawn = ordinary[np.linspace(0, len(ordinary) - 1, sum(lengths)).astype(np.int64)]
    if tokenizer.unk_token_id is not None:
        drawn[-1] = tokenizer.unk_token_id
    texts = []
    for part in np.split(drawn, np.cumsum(lengths)[:-1]):
        inner = part[: max(limit - 2, 1)]
        words = np.maximum(np.arange(len(inner)) - 1, 0)  # the first two tokens are one word
        ids = np.asarray([ends[0], *inner, ends[-1]], dtype=np.int64)
        texts.append(EncodedText(ids, np.arange(1, len(ids) - 1), words))
    return texts


def _followed_scores(model: Any, tokenizer: Any, texts: list[EncodedText], rows: list[CopyRow]) -> Tensor:
    """[N] scores of all that the rows read, by the pass that scores."""
    copies = pack(rows, texts, tokenizer.mask_token_id, torch.device("cpu"))
    states_NH = pass_of(model, "float32", packed=False)(copies)
    return _at(family_of(model.config.model_type).mlm_head(model, states_NH), copies.truth)


def _own_scores(model: Any, tokenizer: Any, texts: list[EncodedText], rows: list[CopyRow]) -> Tensor:
    """[N] scores of all that the rows read, by the model's own pass over one padded batch, as in training."""
    longest = max(len(text.input_ids) for text in texts)
    ids_RT = torch.full((len(rows), longest), tokenizer.pad_token_id)
    attention_RT = torch.zeros_like(ids_RT)
    copies, positions, truth = [], [], []
    for copy, row in enumerate(rows):
        text = texts[row.text]
        length, places = len(text.input_ids), text.positions[row.read]
        ids_RT[copy, :length] = torch.from_numpy(text.input_ids)
        ids_RT[copy, torch.from_numpy(row.masked)] = tokenizer.mask_token_id
        attention_RT[copy, :length] = 1
        copies += [copy] * len(places)
        positions += places.tolist()
        truth += text.input_ids[places].tolist()
    logits_RTV = model(input_ids=ids_RT, attention_mask=attention_RT)[0]  # a tuple under return_dict: false
    return _at(logits_RTV[copies, positions], torch.tensor(truth))


def _at(logits_NV: Tensor, truth_N: Tensor) -> Tensor:
    return torch.log_softmax(logits_NV.float(), dim=-1).gather(1, truth_N[:, None])[:, 0]
