"""The pass without padding against the model's own on padded batches: values, gradients, and where dropout lies."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import pytest
import torch
from more_encoders import FAST
from small_encoders import POSITIONS, TEXTS, TYPES
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from l3masking import rng
from l3masking.encoders import dropout, joined
from l3masking.encoders.joined import NEAR_LENGTHS
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.masking.corruption import corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.precision import Precision, autocast
from l3masking.scoring.words import encode_texts
from l3masking.training.batches import Chunk, chunk_of
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

KINDS = (*TYPES, *FAST)
LENGTHS = (9, 24, 3, 22, 24, 13, 23)  # ids of the texts
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory, encoders: dict[str, Encoder]) -> dict[str, Encoder]:
    """An encoder of each type with a fast pass. Read only."""
    root = tmp_path_factory.mktemp("joined")
    return encoders | {kind: load_encoder(str(make(root / kind))) for kind, make in FAST.items()}


@pytest.fixture(params=["near", "all"])
def grouping(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Attention in texts of near lengths, and (as on a GPU) in all texts at once."""
    monkeypatch.setattr(joined, "NEAR_LENGTHS", {"cpu": NEAR_LENGTHS["cpu" if request.param == "near" else "cuda"]})
    return str(request.param)


def batches(encoder: Encoder) -> tuple[Chunk, Chunk]:
    """A batch of texts of several lengths in no order, with classes; and the same texts with masked tokens."""
    tokenizer = encoder.tokenizer
    long = " ".join([TEXTS[0], TEXTS[5], TEXTS[1]])
    ids = [encode_texts(tokenizer, [long], max_length=length)[0].input_ids for length in LENGTHS]
    assert tuple(map(len, ids)) == LENGTHS
    labelled = chunk_of(ids, range(len(ids)), torch.tensor([0, 1, 2, 0, 1, 2, 0]), tokenizer.pad_token_id)
    chances = 0.3 * labelled.attention_mask.double()
    found = corrupt(labelled.input_ids, chances, tokenizer, rng.stream(1, "mask"), MaskingConfig())
    return labelled, Chunk.of(found.input_ids, labelled.attention_mask, found.labels)


def losses_and_gradients(model: MultiTaskModel, precision: Precision = "float32") -> tuple[list[Tensor], list[Tensor]]:
    labelled, masked = batches(model.encoder)
    with autocast(CPU, precision):
        losses = [model.classification_loss([labelled]), model.mlm_loss([masked])]
    parameters = [one for one in model.parameters() if one.requires_grad]
    found = [torch.autograd.grad(loss, parameters, materialize_grads=True) for loss in losses]
    return [loss.detach() for loss in losses], [gradient for part in found for gradient in part]


def pair(encoder: Encoder, model: Callable[[MultiTaskModel], MultiTaskModel]) -> tuple[MultiTaskModel, MultiTaskModel]:
    """The same weights behind the fast pass and behind the model's own."""
    made = (MultiTaskModel(encoder.through(way), 3, ModelConfig(), rng.stream(0, "head")) for way in ("fast", "own"))
    fast, own = (model(one) for one in made)
    return fast, own


@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients_are_those_of_the_padded_pass(every: dict, kind: str, grouping: str) -> None:
    fast, own = (losses_and_gradients(model) for model in pair(every[kind], MultiTaskModel.eval))
    for found, wanted in zip(fast[0] + fast[1], own[0] + own[1], strict=True):
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    assert sum(bool(gradient.any()) for gradient in fast[1]) > len(fast[1]) / 2


@pytest.mark.parametrize("kind", KINDS)
def test_autocast_rounds_as_in_the_padded_pass(every: dict, kind: str) -> None:
    models = pair(every[kind], MultiTaskModel.eval)
    fast, own = (losses_and_gradients(model, "bf16") for model in models)
    exact, _ = losses_and_gradients(models[1])
    for found, wanted, true in zip(fast[0], own[0], exact, strict=True):
        assert found.dtype == torch.float32
        assert abs(found - true) < 2 * abs(wanted - true) + 0.02 * true


@pytest.mark.parametrize("kind", KINDS)
def test_other_texts_and_padding_ids_change_nothing(every: dict, kind: str, grouping: str) -> None:
    encoder, (given, _) = every[kind], batches(every[kind])
    with torch.no_grad():
        together = encoder.text_states(given.input_ids, given.attention_mask)
        other = torch.where(given.attention_mask.bool(), given.input_ids, 7)
        assert torch.equal(encoder.text_states(other, given.attention_mask), together)
        for row, length in enumerate(given.attention_mask.sum(dim=1).tolist()):
            alone = encoder.text_states(
                given.input_ids[row : row + 1, :length], torch.ones(1, length, dtype=torch.long)
            )
            torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "xlm-roberta", "bert"])
def test_a_padding_id_inside_a_text_moves_positions_as_in_the_models(every: dict, kind: str) -> None:
    """Random tokens may be drawn from all ids under `masking.random_exclude_special: false`."""
    encoder, (given, _) = every[kind], batches(every[kind])
    given.input_ids[:, 1] = encoder.tokenizer.pad_token_id
    assert (given.attention_mask.sum(dim=1) > 2).any()
    with torch.no_grad():
        found, wanted = (
            encoder.through(way).text_states(given.input_ids, given.attention_mask) for way in ("fast", "own")
        )
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_may_hold_more_tokens_than_there_are_positions(every: dict, kind: str) -> None:
    encoder, (given, _) = every[kind], batches(every[kind])
    many = [tensor.repeat(5, 1) for tensor in given[:2]]
    assert many[1].sum() > 2 * POSITIONS
    with torch.no_grad():
        torch.testing.assert_close(
            encoder.text_states(*many)[:7], encoder.text_states(*given[:2]), atol=1e-5, rtol=1e-5
        )


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """All texts in one group, and torch's own dropout; notes the texts and the rate of each attention."""
    monkeypatch.setattr(joined, "NEAR_LENGTHS", {"cpu": NEAR_LENGTHS["cuda"]})
    for module in (joined, dropout):
        monkeypatch.setattr(module, "draws_slowly", lambda _: False)
    seen, attention = list[tuple[int, float]](), nn.functional.scaled_dot_product_attention

    def noted(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
        seen.append((len(query), dropout_p))
        return attention(query, key, value, attn_mask=attn_mask, dropout_p=dropout_p)

    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", noted)
    return seen


def written_out(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None, dropout_p: float) -> Tensor:
    """Attention as an equation."""
    logits = query @ key.mT / math.sqrt(query.shape[-1])
    weights = (logits if attn_mask is None else logits + attn_mask).softmax(-1)
    return nn.functional.dropout(weights, dropout_p, training=dropout_p > 0) @ value


@pytest.mark.parametrize("kind", KINDS)
def test_attention_with_dropout_as_on_a_gpu_is_the_equation(
    every: dict, kind: str, as_on_a_gpu: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the same draws: losses and gradients of all texts in one call each layer, with the layer's rate."""
    encoder = with_rates(every[kind])
    model = MultiTaskModel(encoder, 3, ModelConfig(), rng.stream(0, "head")).train()

    def trained() -> tuple[list[Tensor], list[Tensor]]:
        with rng.dropout(CPU, 7, "x"):
            return losses_and_gradients(model)

    losses, gradients = trained()
    rates = [layer.drops.attention for layer in encoder.family.layers(encoder.body)]
    assert as_on_a_gpu == [(len(LENGTHS), rate) for rate in rates] * 2
    assert all(rates)
    monkeypatch.setattr(nn.functional, "scaled_dot_product_attention", written_out)
    for found, wanted in zip(losses + gradients, [one for part in trained() for one in part], strict=True):
        torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    model.eval()
    assert abs(losses_and_gradients(model)[0][1] - losses[1]) > 1e-3, "dropout works"


class Drops(TorchFunctionMode):
    """Notes rate and size of every dropout that works."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[float, int]] = []

    def __torch_function__(
        self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        kwargs = kwargs or {}
        if function is nn.functional.dropout:
            named = dict(zip(("input", "p", "training"), args, strict=False)) | kwargs
            if named.get("training", True) and named["p"]:
                self.found.append((named["p"], named["input"].numel()))
        return function(*args, **kwargs)


def with_rates(encoder: Encoder) -> Encoder:
    """A copy in training mode, in which each kind of dropout has a rate of its own."""
    config, rate = encoder.model.config.to_dict(), 0.05
    names = [name for name, value in config.items() if "drop" in name and value is not None and "classif" not in name]
    for name in names:
        config[name] = rate = rate + 0.05
    made = type(encoder.model)._from_config(encoder.model.config.from_dict(config), attn_implementation="eager")
    made.load_state_dict(encoder.model.state_dict())
    assert len(names) >= 2
    return dataclasses.replace(encoder, model=made.train())


@pytest.mark.parametrize("kind", KINDS)
def test_dropout_has_the_rates_and_places_of_the_model(every: dict, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the same order and over as many numbers: of texts of one length, whose every token is read."""
    encoder = with_rates(every[kind])
    ids = batches(encoder)[0].input_ids[[1, 3], :9]
    given = (ids, torch.ones_like(ids), *torch.nonzero(torch.ones_like(ids), as_tuple=True))
    with Drops() as own:
        encoder.body(input_ids=ids, attention_mask=given[1])
    monkeypatch.setattr(joined, "dropped", lambda x, rate: nn.functional.dropout(x, rate) if rate else x)
    with Drops() as fast:
        encoder.states_at(*given)
    assert fast.found == own.found
    assert len({rate for rate, _ in own.found}) >= 2
    encoder.model.eval()
    with Drops() as fast:
        encoder.states_at(*given)
    assert not fast.found
