"""The multi-task model against transformers' own losses and against formulas written out."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_encoders import MAKERS, TEXTS, TYPES
from torch import nn

from l3masking.encoders.load import Encoder, load_encoder
from l3masking.errors import InputError
from l3masking.masking.corruption import IGNORED, corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.scoring.words import encode_texts
from l3masking.training.batches import Chunk, chunk_of
from l3masking.training.model import ClassificationHead, MultiTaskModel
from l3masking.training.settings import ModelConfig


@pytest.fixture(scope="module", params=TYPES)
def encoder(request, tmp_path_factory) -> Encoder:
    return load_encoder(str(MAKERS[request.param](Path(tmp_path_factory.mktemp(request.param)))))


@pytest.fixture
def model(encoder: Encoder) -> MultiTaskModel:
    return MultiTaskModel(encoder, 3, ModelConfig(), stream(0, "head")).eval()


@pytest.fixture
def ids(encoder: Encoder) -> list[np.ndarray]:
    return [text.input_ids for text in encode_texts(encoder.tokenizer, TEXTS, max_length=24)]


def masked(encoder: Encoder, ids: list[np.ndarray], indices: list[int], probability: float) -> Chunk:
    plain = chunk_of(ids, indices, torch.empty(0), encoder.tokenizer.pad_token_id)
    wanted = probability * plain.attention_mask.double()
    corrupted = corrupt(plain.input_ids, wanted, encoder.tokenizer, stream(1, "mask"), MaskingConfig())
    return Chunk.of(corrupted.input_ids, plain.attention_mask, corrupted.labels)


def test_mlm_loss_is_that_of_transformers_on_full_logits(encoder, model, ids) -> None:
    chunk = masked(encoder, ids, list(range(len(ids))), 0.4)
    assert (chunk.labels != IGNORED).sum() > 10
    with torch.no_grad():
        theirs = encoder.model(input_ids=chunk.input_ids, attention_mask=chunk.attention_mask, labels=chunk.labels).loss
        assert model.mlm_loss([chunk]).item() == pytest.approx(theirs.item(), rel=1e-5)


def test_mlm_loss_over_chunks_is_the_mean_over_all_selected_positions(encoder, model, ids) -> None:
    chunks = [masked(encoder, ids, [0, 1, 3], 0.3), masked(encoder, ids, [2, 5], 0.9), masked(encoder, ids, [4], 0.0)]
    total, count = 0.0, 0
    with torch.no_grad():
        for chunk in chunks:
            logits = encoder.model(input_ids=chunk.input_ids, attention_mask=chunk.attention_mask).logits
            total += F.cross_entropy(logits.flatten(0, 1), chunk.labels.flatten(), reduction="sum").item()
            count += int((chunk.labels != IGNORED).sum())
        assert model.mlm_loss(chunks).item() == pytest.approx(total / count, rel=1e-5)


def test_no_selected_position_gives_no_loss(encoder, model, ids) -> None:
    assert model.mlm_loss([masked(encoder, ids, [0, 1], 0.0), masked(encoder, ids, [4], 0.0)]) is None


def test_classification_loss_is_that_of_the_texts_one_by_one_without_padding(encoder, model, ids) -> None:
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    head = model.classifier
    single = []
    with torch.no_grad():
        for row, label in zip(ids, labels.tolist(), strict=True):
            states = encoder.model(input_ids=torch.from_numpy(row)[None], output_hidden_states=True).hidden_states[-1]
            hidden = np.tanh(states[0, 0].numpy() @ head.dense.weight.numpy().T + head.dense.bias.numpy())
            logits = hidden @ head.out.weight.numpy().T + head.out.bias.numpy()
            single.append(np.log(np.exp(logits).sum()) - logits[label])
        pad_id = encoder.tokenizer.pad_token_id
        whole = [chunk_of(ids, list(range(7)), labels, pad_id)]
        cut = [chunk_of(ids, part, labels[part], pad_id) for part in ([6, 0], [1, 5, 2], [4, 3])]
        for chunks in (whole, cut):
            assert model.classification_loss(chunks).item() == pytest.approx(float(np.mean(single)), rel=1e-4)


def test_another_head_can_be_given(encoder, model, ids) -> None:
    chunks = [chunk_of(ids, [0, 1], torch.tensor([2, 1]), encoder.tokenizer.pad_token_id)]
    other = ClassificationHead(encoder.hidden_size, 3, 0.1, stream(9, "head")).eval()
    with torch.no_grad():
        expected = F.cross_entropy(other(model.features(chunks)), torch.tensor([2, 1]))
        assert model.classification_loss(chunks, other).item() == expected.item()
        assert model.classification_loss(chunks).item() != expected.item()


def test_body_lm_head_and_classifier_share_out_all_parameters(encoder, model) -> None:
    body, lm_head = model.body_parameters(), model.mlm_head_parameters()
    parts = [{id(p) for p in part} for part in (body, lm_head, list(model.classifier.parameters()))]
    assert len(body) + len(lm_head) == len(parts[0]) + len(parts[1])  # nothing twice
    assert sum(map(len, parts)) == len(set.union(*parts))  # nothing in two parts
    assert set.union(*parts) == {id(p) for p in model.parameters()}
    assert lm_head


def test_the_decoder_tied_to_the_embeddings_belongs_to_the_body(encoder, model) -> None:
    decoder = encoder.model.get_output_embeddings().weight
    assert decoder is encoder.model.get_input_embeddings().weight
    assert id(decoder) in {id(p) for p in model.body_parameters()}
    assert id(decoder) not in {id(p) for p in model.mlm_head_parameters()}


def test_the_body_has_no_pooler(encoder, model) -> None:
    """Every body parameter takes part in both losses: an unused one would decay for nothing."""
    assert not [name for name, _ in encoder.body.named_parameters() if "pooler" in name]


def test_a_fresh_head_has_torch_default_bounds_and_shape_of_distribution() -> None:
    hidden, classes = 64, 7
    head, bound = ClassificationHead(hidden, classes, 0.1, stream(3, "head")), 1 / math.sqrt(64)
    theirs = nn.Linear(hidden, hidden)  # torch's default has the same bound
    assert theirs.weight.abs().max() <= bound
    assert theirs.weight.abs().max() > 0.99 * bound
    for layer, shape in ((head.dense, (hidden, hidden)), (head.out, (classes, hidden))):
        assert layer.weight.shape == shape
        for values in (layer.weight.detach().flatten(), layer.bias.detach()):
            assert values.abs().max() <= bound
        weights = layer.weight.detach().flatten().double() / bound  # U(-1, 1): variance 1/3, fourth moment 1/5
        n = len(weights)
        assert abs(weights.mean()) < 5 * math.sqrt(1 / 3 / n)
        assert abs((weights**2).mean() - 1 / 3) < 5 * math.sqrt((1 / 5 - 1 / 9) / n)
    assert head.dense.bias.abs().max() > 0.5 * bound  # biases are drawn too, as torch does


def test_a_head_depends_on_its_generator_alone() -> None:
    def weights(seed: int) -> list[torch.Tensor]:
        return [p.detach() for p in ClassificationHead(16, 3, 0.1, stream(seed, "head")).parameters()]

    before = torch.get_rng_state()
    first, again, other = weights(1), weights(1), weights(2)
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_dropout_of_the_head_stands_before_both_layers_and_only_in_training() -> None:
    head = ClassificationHead(8, 2, 0.5, stream(0, "head"))
    features = torch.linspace(-1, 1, 8).repeat(4, 1)
    head.eval()
    still = head(features)
    assert torch.equal(still, still[:1].repeat(4, 1))
    head.train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        moved = head(features)
        torch.manual_seed(5)
        x = F.dropout(features, 0.5)
        x = F.dropout(torch.tanh(x @ head.dense.weight.T + head.dense.bias), 0.5)
        expected = x @ head.out.weight.T + head.out.bias
    assert torch.allclose(moved, expected, atol=1e-6)
    assert len({tuple(row) for row in moved.tolist()}) > 1


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_a_dropout_outside_its_range_is_refused(dropout: float) -> None:
    with pytest.raises(InputError, match=r"model\.dropout"):
        ModelConfig(dropout=dropout)
