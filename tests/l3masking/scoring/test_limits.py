"""Encoders of different lengths: the limit is that of the position table, whatever the tokenizer says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from small_encoders import HEADS, HIDDEN, LAYERS, save, wordpiece_tokenizer
from transformers import BertConfig, BertForMaskedLM

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.errors import InputError
from l3masking.scoring.scoring import score_tokens

BERTS = (32, 128, 512)  # positions
KINDS = {"bert of 32": 32, "bert of 128": 128, "bert of 512": 512, "roberta": 46, "distilbert": 48}  # -> longest text


@pytest.fixture(scope="module")
def limited(encoders: dict[str, Encoder], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    """The encoders by kind. The tokenizers say 1e30 and, of the last, 7 as their longest text."""
    found = {kind: encoders[kind] for kind in ("roberta", "distilbert")}
    for positions in BERTS:
        folder = tmp_path_factory.mktemp("bert") / str(positions)
        tokenizer = wordpiece_tokenizer(folder)
        sizes = {"hidden_size": HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS}
        config = BertConfig(vocab_size=len(tokenizer), intermediate_size=24, max_position_embeddings=positions, **sizes)
        save(folder, tokenizer, BertForMaskedLM, config)
        said = {"model_max_length": 7 if positions == BERTS[-1] else 10**30}
        file = folder / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | said))
        found[f"bert of {positions}"] = load_encoder(str(folder))
    return found


def of_length(encoder: Encoder, ids: int) -> str:
    """A text of so many ids, the two ends included."""
    more = len(encoder.tokenizer("the")["input_ids"]) - 3  # a first word without a blank in front may be two tokens
    text = " ".join(["the"] * (ids - 2 - more))
    assert len(encoder.tokenizer(text)["input_ids"]) == ids
    return text


@pytest.mark.parametrize("beyond", [-1, 0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_texts_around_the_limit_are_read_whole_or_cut_at_it(limited: dict, kind: str, beyond: int) -> None:
    encoder, limit = limited[kind], KINDS[kind]
    assert encoder.max_positions == limit
    text = of_length(encoder, limit + beyond)
    (score,) = score_tokens(encoder, [text], max_length=limit, metric="whole_word")
    whole = encoder.tokenizer(text)["input_ids"]
    assert len(score.input_ids) == min(limit, len(whole))
    assert score.input_ids.tolist()[:-1] == whole[: len(score.input_ids) - 1], "the end is cut, not the beginning"
    assert score.input_ids[-1] == whole[-1]
    assert np.isfinite(score.log_likelihood).all()
    with pytest.raises(InputError, match=f"scoring.max_length is {limit + 1}.*{limit} positions"):
        score_tokens(encoder, [text], max_length=limit + 1)
