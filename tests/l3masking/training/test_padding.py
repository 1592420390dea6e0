"""Padding that the encoder attends to: the values of transformers' own model without an attention mask."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_encoders import TEXTS
from small_task import SCORING, data, encoder, one_thread, run, settings
from torch import Tensor

from l3masking.encoders.families import ForwardPass
from l3masking.encoders.load import Encoder
from l3masking.masking.corruption import IGNORED
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import encode_inputs, prepare
from l3masking.rng import stream
from l3masking.scoring.words import encode_texts
from l3masking.training.batches import Chunk, chunk_of
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

LENGTH = 30
PADDED = dataclasses.replace(settings(max_epochs=1), model=ModelConfig(attend_padding=True))


@pytest.fixture(params=["bert", "roberta", "distilbert"])
def plain(encoders: dict, request: pytest.FixtureRequest) -> Encoder:
    return encoders[request.param]


def chunk(made: Encoder, labels: Tensor) -> Chunk:
    texts = [text.input_ids for text in encode_texts(made.tokenizer, TEXTS, max_length=20)]
    return chunk_of(texts, range(len(texts)), labels, made.tokenizer.pad_token_id)


def own_states(made: Encoder, ids: Tensor) -> Tensor:
    """[B, T, H] of the model itself, on ids padded by hand, without an attention mask."""
    whole = torch.full((len(ids), LENGTH), made.tokenizer.pad_token_id)
    whole[:, : ids.shape[1]] = ids
    return made.model.base_model(input_ids=whole)[0]


@torch.no_grad()
def test_losses_are_those_of_the_model_without_a_mask(plain: Encoder) -> None:
    seen = plain.with_padding(LENGTH)
    model = MultiTaskModel(seen, 3, ModelConfig(), stream(0, "head")).eval()
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    given = chunk(plain, labels)
    states = own_states(plain, given.input_ids)
    logits = model.classifier(states[:, 0])
    assert model.classification_loss([given]).item() == pytest.approx(F.cross_entropy(logits, labels).item(), rel=1e-5)
    truths = torch.where(given.attention_mask.bool(), given.input_ids, IGNORED)
    masked = Chunk.of(given.input_ids, given.attention_mask, truths)
    logits = plain.mlm_logits(states[:, : given.input_ids.shape[1]])
    wanted = F.cross_entropy(logits.flatten(0, 1), masked.labels.flatten(), ignore_index=IGNORED)
    found = model.mlm_loss([masked])
    assert found is not None
    assert found.item() == pytest.approx(wanted.item(), rel=1e-5)
    hidden = MultiTaskModel(plain, 3, ModelConfig(), stream(0, "head")).eval()
    assert abs(hidden.classification_loss([given]).item() - model.classification_loss([given]).item()) > 1e-6


@torch.no_grad()
def test_values_do_not_depend_on_the_longest_text_of_a_batch(plain: Encoder) -> None:
    seen = plain.with_padding(LENGTH)
    texts = [text.input_ids for text in encode_texts(plain.tokenizer, TEXTS[:4], max_length=20)]
    pad_id = plain.tokenizer.pad_token_id
    together = chunk_of(texts, range(4), torch.empty(0), pad_id)
    alone = chunk_of(texts, [2], torch.empty(0), pad_id)
    first = seen.text_states(together.input_ids, together.attention_mask)[2]
    second = seen.text_states(alone.input_ids, alone.attention_mask)[0]
    assert torch.allclose(first, second, atol=1e-5)


@pytest.mark.parametrize("forward", ["fast", "own"])
def test_a_training_pads_every_pass_to_the_length_of_scoring(forward: ForwardPass) -> None:
    inputs = encode_inputs(METHODS["rtm"], encoder(), data(), SCORING)
    config = dataclasses.replace(PADDED, model=dataclasses.replace(PADDED.model, forward=forward))
    made = prepare(METHODS["rtm"], encoder(), inputs, masking=MaskingConfig(), config=config, seed=0)
    assert made.encoder.padded_to == SCORING.max_length
    trajectory = made.trajectory()
    seen: list[dict[str, Tensor]] = []
    body = trajectory.model.encoder.body
    spied = body if forward == "own" else body.embeddings  # all texts are one row there
    spied.register_forward_pre_hook(lambda _, args, given: seen.append(given), with_kwargs=True)
    with one_thread():
        trajectory.stepper.window(1)
        trajectory.measure(inputs.task.validation)
    assert len(seen) > 6  # dev head, and in each micro-step masked LM, task and dev gradient; then the evaluation
    for given in seen:
        ids = given["input_ids"].view(-1, SCORING.max_length)
        assert (ids[:, 0] == encoder().tokenizer.cls_token_id).all()
        assert (ids == encoder().tokenizer.pad_token_id).any(dim=1).any()
        if forward == "own":
            assert len(ids) == len(given["input_ids"])
            assert bool((given["attention_mask"] == 1).all())
        else:
            places = given["position_ids"].view(-1, SCORING.max_length)
            assert torch.equal(places, torch.arange(SCORING.max_length).expand_as(places))
        if "token_type_ids" in given:
            assert not given["token_type_ids"].any()
    assert encoder().padded_to is None


@pytest.mark.parametrize("method", ["stl", "rtm", "mask_tuning"])
def test_it_changes_a_whole_training(method: str) -> None:
    with one_thread():
        losses = [
            run(method, config, objectives=["accuracy"])["accuracy"].curve[0]["train_loss"]["primary"]
            for config in (PADDED, dataclasses.replace(PADDED, model=ModelConfig()))
        ]
    assert np.isfinite(losses).all()
    assert losses[0] != losses[1]
