"""The probe at loading: it passes what agrees, and refuses what does not."""

import copy
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from more_encoders import save_type
from small_encoders import TYPES

from l3masking.encoders.families import FAMILIES
from l3masking.encoders.layers import Relation, modernbert_relation
from l3masking.encoders.load import load_encoder
from l3masking.errors import InputError
from l3masking.masking.collator import MaskingCollator
from l3masking.scoring import probe
from l3masking.scoring.probe import LENGTHS, check_pass, probe_texts
from l3masking.scoring.words import encode_texts
from l3masking.training.mlm import mlm_loss


def random_states() -> tuple:
    return torch.random.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.parametrize("kind", TYPES)
def test_encoders_that_agree_pass_and_nothing_changes(encoders: dict, kind: str) -> None:
    encoder = encoders[kind]
    states, weights = random_states(), copy.deepcopy(encoder.model.state_dict())
    check_pass(encoder.model, encoder.tokenizer, "here")
    assert random_states() == states
    assert not encoder.model.training
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, weights[name])


@pytest.mark.parametrize("kind", TYPES)
def test_settings_of_the_output_alone_pass(encoders: dict, kind: str) -> None:
    """A configuration may ask for tuples or for all states; neither changes a value."""
    model, tokenizer = copy.deepcopy(encoders[kind].model), encoders[kind].tokenizer
    batch = MaskingCollator(tokenizer)([{"input_ids": text.input_ids} for text in probe_texts(tokenizer, 48)])
    loss = mlm_loss(model, batch)
    for setting in ({"return_dict": False}, {"output_hidden_states": True}):
        for name, value in setting.items():
            setattr(model.config, name, value)
        check_pass(model, tokenizer, "here")
        assert torch.equal(mlm_loss(model, batch), loss)


def causal(model: torch.nn.Module) -> None:
    model.config.is_decoder = True  # what the loader refuses by name: here the model's own pass obeys it


def other_scale(model: torch.nn.Module) -> None:
    for layer in model.base_model.encoder.layer:
        layer.attention.self.scaling *= 4


def other_types(model: torch.nn.Module) -> None:
    """The first layer's input changes behind the embeddings."""
    model.base_model.encoder.register_forward_pre_hook(lambda _, given: (given[0] + 0.01, *given[1:]))


@pytest.mark.parametrize("change", [causal, other_scale, other_types])
def test_a_model_that_does_something_else_is_refused(encoders: dict, change) -> None:
    model = copy.deepcopy(encoders["bert"].model)
    change(model)
    with pytest.raises(InputError, match=r"encoder here: scores would be .* nats off the model's own pass") as caught:
        check_pass(model, encoders["bert"].tokenizer, "here")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("off", [-1, 1])
def test_a_window_of_another_width_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, off: int) -> None:
    """The short texts lie inside of it: the one that is longer shows it."""
    folder = str(save_type(tmp_path / "modernbert", "modernbert", local_attention=20))
    assert load_encoder(folder).scoring_pass == "fast"

    def relation(body: torch.nn.Module, kind: str, length: int) -> Relation:
        config = copy.copy(body.config)
        config.local_attention = 2 * (config.sliding_window + off)
        body = copy.copy(body)
        body.config = config
        return modernbert_relation(body, kind, length)

    monkeypatch.setitem(FAMILIES, "modernbert", FAMILIES["modernbert"]._replace(relation=relation))
    with pytest.raises(InputError, match="nats off the model's own pass"):
        load_encoder(folder)
    assert all(length + 2 <= 10 for length in LENGTHS)


def test_weights_that_are_not_finite_are_refused(encoders: dict) -> None:
    model = copy.deepcopy(encoders["bert"].model)
    with torch.no_grad():
        model.bert.encoder.layer[0].output.dense.weight[0, 0] = torch.inf
    with pytest.raises(InputError, match="not finite"):
        check_pass(model, encoders["bert"].tokenizer, "here")


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_number_formats_pass(encoders: dict, dtype: torch.dtype) -> None:
    check_pass(copy.deepcopy(encoders["bert"].model).to(dtype), encoders["bert"].tokenizer, "here")


@pytest.mark.parametrize("kind", TYPES)
def test_probe_texts_have_the_ends_of_real_ones_and_the_unknown_token(encoders: dict, kind: str) -> None:
    tokenizer = encoders[kind].tokenizer
    (real,) = encode_texts(tokenizer, ["the parser"], max_length=20)
    texts = probe_texts(tokenizer, 48)
    assert [len(text.positions) for text in texts] == list(LENGTHS)
    for text in texts:
        assert text.input_ids[[0, -1]].tolist() == real.input_ids[[0, -1]].tolist()
        assert text.positions.tolist() == list(range(1, len(text.input_ids) - 1))
    assert tokenizer.unk_token_id in texts[-1].input_ids
    assert max(len(text.input_ids) for text in probe_texts(tokenizer, 4)) == 4


def test_the_tolerance_is_between_rounding_and_a_fault(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "TOLERANCE", probe.TOLERANCE / 10)
    check_pass(encoders["bert"].model, encoders["bert"].tokenizer, "here")
    model = copy.deepcopy(encoders["bert"].model)
    other_scale(model)
    monkeypatch.setattr(probe, "TOLERANCE", probe.TOLERANCE * 100)
    with pytest.raises(InputError, match="nats off"):
        check_pass(model, encoders["bert"].tokenizer, "here")
