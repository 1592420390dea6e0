"""Pairs of texts under encoders of every type, against the tokenizer's and the model's own way with a pair."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from more_encoders import FAST, OWN
from one_mask import METRICS, mask_set
from small_encoders import SENTENCES, TYPES

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.errors import InputError
from l3masking.masking.applied import mask_texts
from l3masking.masking.policies.span import Span
from l3masking.masking.settings import MaskingConfig
from l3masking.scoring.scoring import score_tokens
from l3masking.scoring.words import TOKENIZING, EncodedText, encode_texts
from l3masking.selective.sentences import of_tokens
from l3masking.training.batches import chunk_of

ALL = (*TYPES, *FAST, *OWN)
TYPED = {"bert", "electra", "albert", "albert-in-groups", "megatron-bert"}  # which tell the two texts apart by types
PAIRS = [
    (SENTENCES[0], SENTENCES[1]),
    (SENTENCES[1], SENTENCES[0][:20]),
    (SENTENCES[0][:9], SENTENCES[1][:30]),
]
LENGTH = 28


@pytest.fixture(scope="module")
def any_encoder(tmp_path_factory: pytest.TempPathFactory, encoders: dict[str, Encoder]) -> dict[str, Encoder]:
    root = tmp_path_factory.mktemp("pair-encoders")
    return encoders | {kind: load_encoder(str(make(root / kind))) for kind, make in (FAST | OWN).items()}


def as_the_model_takes_it(encoder: Encoder, pair: tuple[str, str]) -> dict[str, torch.Tensor]:
    """The tokenizer's own encoding of a pair, with token types where the model takes them."""
    names = dict.fromkeys(["input_ids", "attention_mask"])
    if (encoder.model.config.to_dict().get("type_vocab_size") or 0) > 1:
        names["token_type_ids"] = None
    found = encoder.tokenizer(
        *pair, truncation="longest_first", max_length=LENGTH, return_tensors="pt", return_token_type_ids=True
    )
    return {name: found[name] for name in names}


def slow_pair_scores(encoder: Encoder, pair: tuple[str, str], text: EncodedText, metric: str) -> list[float]:
    """One masked copy at a time, whole model, no padding."""
    scores = []
    for token, position in enumerate(text.positions):
        given = as_the_model_takes_it(encoder, pair)
        for other in mask_set(metric, text.words.tolist(), token):
            given["input_ids"][0, text.positions[other]] = encoder.tokenizer.mask_token_id
        with torch.no_grad():
            logits = encoder.model(**given).logits[0, position].double()
        scores.append(float(torch.log_softmax(logits, dim=0)[text.input_ids[position]]))
    return scores


@pytest.mark.parametrize("kind", ALL)
def test_a_pair_is_encoded_as_its_tokenizer_does(any_encoder: dict[str, Any], kind: str) -> None:
    encoder = any_encoder[kind]
    for pair, text in zip(PAIRS, encode_texts(encoder.tokenizer, PAIRS, max_length=LENGTH), strict=True):
        assert text.input_ids.tolist() == as_the_model_takes_it(encoder, pair)["input_ids"][0].tolist()
        gaps = np.flatnonzero(np.diff(text.positions) > 1)
        assert len(gaps) == 1, "special tokens stand between the two texts, and nowhere else inside"
        assert text.words[gaps[0] + 1] == text.words[gaps[0]] + 1, "words are counted on, and none is in both texts"
        assert np.all(np.diff(text.words) >= 0)
    assert (encoder.separator is not None) == (kind in TYPED)


@pytest.mark.parametrize(
    ("kind", "metric"), [(kind, "word_l2r") for kind in ALL] + [("bert", m) for m in METRICS if m != "word_l2r"]
)
def test_scores_of_pairs_equal_one_mask_at_a_time(any_encoder: dict[str, Any], kind: str, metric: str) -> None:
    encoder = any_encoder[kind]
    scores = score_tokens(encoder, PAIRS, metric=metric, max_length=LENGTH, token_budget=150)
    encoded = encode_texts(encoder.tokenizer, PAIRS, max_length=LENGTH)
    for pair, text, score in zip(PAIRS, encoded, scores, strict=True):
        wanted = slow_pair_scores(encoder, pair, text, metric)
        np.testing.assert_allclose(score.log_likelihood, wanted, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", ALL)
def test_a_padded_batch_gives_the_states_of_each_pair_alone(any_encoder: dict[str, Any], kind: str) -> None:
    encoder = any_encoder[kind]
    ids = [text.input_ids for text in encode_texts(encoder.tokenizer, PAIRS, max_length=LENGTH)]
    chunk = chunk_of(ids, range(len(ids)), torch.zeros(len(ids)), encoder.tokenizer.pad_token_id)
    with torch.no_grad():
        states = encoder.text_states(chunk.input_ids, chunk.attention_mask)
        for pair, state in zip(PAIRS, states, strict=True):
            alone = encoder.body(**as_the_model_takes_it(encoder, pair))[0][0, 0]
            torch.testing.assert_close(state, alone, atol=1e-5, rtol=1e-5)


def test_the_tokenizer_is_never_asked_beside_another_thread(any_encoder: dict[str, Any]) -> None:
    """Every call sets its truncation, which would hold for the other thread's call too."""
    fresh = dataclasses.replace(any_encoder["bert"])  # has not found its separator yet
    asked = [lambda: fresh.separator, lambda: encode_texts(fresh.tokenizer, PAIRS, max_length=LENGTH)]
    with ThreadPoolExecutor() as pool:
        with TOKENIZING:
            futures = [pool.submit(one) for one in asked]
            assert wait(futures, timeout=0.5).done == set()
        assert futures[0].result() == any_encoder["bert"].separator
        assert len(futures[1].result()) == len(PAIRS)


def test_token_types_matter_here(any_encoder: dict[str, Any]) -> None:
    """Or else the tests above would not see them."""
    encoder = any_encoder["bert"]
    given = as_the_model_takes_it(encoder, PAIRS[0])
    with torch.no_grad():
        typed = encoder.body(**given)[0]
        plain = encoder.body(**given | {"token_type_ids": torch.zeros_like(given["token_type_ids"])})[0]
    assert (typed - plain).abs().max() > 0.01


def test_no_group_of_masks_and_no_sentence_reaches_across(any_encoder: dict[str, Any]) -> None:
    tokenizer = any_encoder["bert"].tokenizer
    texts = encode_texts(tokenizer, PAIRS, max_length=LENGTH)
    masked = list(mask_texts(Span(p=0.1, longest=30), texts, MaskingConfig(), seed=1))
    assert any(
        row.leaders is not None and len(np.unique(row.leaders[text.positions])) < len(text.positions) - 3
        for row, text in zip(masked, texts, strict=True)
    ), "spans are long"
    for row, text in zip(masked, texts, strict=True):
        first = int(np.flatnonzero(np.diff(text.positions) > 1)[0]) + 1
        assert row.leaders is not None
        assert not set(row.leaders[text.positions[:first]]) & set(row.leaders[text.positions[first:]])
        sentences = of_tokens(tokenizer, text)
        assert sentences[first - 1] < sentences[first]


def test_what_is_no_pair_is_refused(any_encoder: dict[str, Any], tmp_path: Path) -> None:
    tokenizer = any_encoder["bert"].tokenizer
    for texts, said in (
        ([("a", "b"), "c"], r"texts\[1\] is 'c': single texts and pairs are mixed"),
        ([("a", "b", "c")], r"texts\[0\] is .*a tuple: give a string, or a tuple of two"),
        ([("a",)], r"texts\[0\] is .*a tuple: give a string, or a tuple of two"),
        ([["a", "b"]], r"texts\[0\] is .*a list: give a string, or a tuple of two"),
        ([("a", 1)], r"texts\[0\] is"),
        ([("a", "\ud800")], r"texts\[0\] holds .*half of a surrogate pair"),
    ):
        with pytest.raises(InputError, match=said):
            encode_texts(tokenizer, texts, max_length=20)
    with pytest.raises(InputError, match="max_length is 3: pairs have 3 special tokens, so at least 4"):
        encode_texts(tokenizer, PAIRS, max_length=3)
