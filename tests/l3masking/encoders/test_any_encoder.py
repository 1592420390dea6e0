"""Encoders of further types: the fast pass, the model's own, and training, each against one text at a time."""

import copy
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import small_task
import torch
import torch.nn.functional as F
from more_encoders import FAST, OWN, save_type
from one_mask import METRICS, slow_scores
from small_encoders import POSITIONS, TEXTS, TYPES

from l3masking.encoders.families import family_of, own_head
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.errors import InputError
from l3masking.masking.corruption import IGNORED, corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.regimes import run_method
from l3masking.rng import stream
from l3masking.scoring.copies import mask_rows, pack
from l3masking.scoring.forward import MaskedForward, OwnForward
from l3masking.scoring.probe import check_pass
from l3masking.scoring.scoring import score_tokens
from l3masking.scoring.words import encode_texts
from l3masking.training.batches import Chunk, chunk_of
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

LENGTH = 30
ALL = (*FAST, *OWN)


@pytest.fixture(scope="module")
def more(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Encoder]:
    """Encoders of all these types. Read only."""
    torch.set_num_threads(1)
    root = tmp_path_factory.mktemp("more-encoders")
    return {kind: load_encoder(str(make(root / kind))) for kind, make in (FAST | OWN).items()}


def masked_chunk(encoder: Encoder, lengths: tuple[int, ...] = (LENGTH, LENGTH, 9)) -> Chunk:
    """Three texts, some of their tokens masked, padded to the longest."""
    tokenizer = encoder.tokenizer
    ids = [
        encode_texts(tokenizer, [text], max_length=length)[0].input_ids
        for text, length in zip((TEXTS[0], TEXTS[5], TEXTS[1]), lengths, strict=True)
    ]
    plain = chunk_of(ids, range(len(ids)), torch.tensor([0, 1, 2]), tokenizer.pad_token_id)
    found = corrupt(plain.input_ids, 0.4 * plain.attention_mask.double(), tokenizer, stream(1, "mask"), MaskingConfig())
    return Chunk.of(found.input_ids, plain.attention_mask, found.labels)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", ALL)
def test_scores_equal_one_mask_at_a_time(more: dict, kind: str, metric: str) -> None:
    encoder = more[kind]
    assert encoder.scoring_pass == ("fast" if kind in FAST else "own")
    texts = [*TEXTS[:3], TEXTS[4]]
    scores = score_tokens(encoder, texts, metric=metric, max_length=LENGTH, token_budget=200)
    for score, text in zip(scores, encode_texts(encoder.tokenizer, texts, max_length=LENGTH), strict=True):
        np.testing.assert_allclose(score.log_likelihood, slow_scores(encoder, text, metric), atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", [*FAST, *TYPES])
def test_both_passes_give_the_same_states(more: dict, encoders: dict, kind: str) -> None:
    encoder = more.get(kind) or encoders[kind]
    texts = sorted(
        encode_texts(encoder.tokenizer, [*TEXTS[:3], TEXTS[5]], max_length=LENGTH), key=lambda text: len(text.input_ids)
    )
    rows = [row for index, text in enumerate(texts) for row in mask_rows(text, index, "whole_word")]
    copies = pack(rows, texts, encoder.tokenizer.mask_token_id, encoder.device)
    assert len(copies.runs) > 1
    with torch.inference_mode():
        fast, own = (make(encoder.model, "float32")(copies) for make in (MaskedForward, OwnForward))
        torch.testing.assert_close(fast, own, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(encoder.mlm_logits(own), own_head(encoder.model, own), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_bf16_stays_near_float32(more: dict, kind: str) -> None:
    full, half = (
        score_tokens(more[kind], TEXTS[:1], max_length=LENGTH, precision=precision)[0].log_likelihood
        for precision in ("float32", "bf16")
    )
    assert half.dtype == np.float32
    assert not np.array_equal(full, half)
    np.testing.assert_allclose(half, full, atol=0.5, rtol=0)


@pytest.mark.parametrize("kind", ALL)
def test_mlm_loss_is_that_of_transformers_on_full_logits(more: dict, kind: str) -> None:
    encoder = more[kind]
    model = MultiTaskModel(encoder, 3, ModelConfig(), stream(0, "head")).eval()
    chunk = masked_chunk(encoder)
    assert (chunk.labels != IGNORED).sum() > 10
    with torch.no_grad():
        logits = encoder.model(input_ids=chunk.input_ids, attention_mask=chunk.attention_mask).logits
        wanted = F.cross_entropy(logits.flatten(0, 1), chunk.labels.flatten())
        torch.testing.assert_close(model.mlm_loss([chunk]), wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_states_are_those_of_the_body_at_any_place_of_a_padded_batch(more: dict, kind: str) -> None:
    """Also where layers share their weights, and the last use of a layer is not its only one."""
    encoder, chunk = more[kind], masked_chunk(more[kind])
    rows, positions = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0, 3, 7, 1, 8])
    with torch.no_grad():
        whole = encoder.body(input_ids=chunk.input_ids, attention_mask=chunk.attention_mask)[0]
        found = encoder.states_at(chunk.input_ids, chunk.attention_mask, rows, positions)
    torch.testing.assert_close(found, whole[rows, positions], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_padding_changes_no_state_of_a_text(more: dict, kind: str) -> None:
    encoder, chunk = more[kind], masked_chunk(more[kind])
    places = torch.arange(9)
    with torch.no_grad():
        padded = encoder.states_at(chunk.input_ids, chunk.attention_mask, torch.full((9,), 2), places)
        alone = encoder.body(input_ids=chunk.input_ids[2:, :9])[0][0]
    torch.testing.assert_close(padded, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ALL)
def test_gradients_reach_the_body_and_the_head_and_a_few_updates_lower_the_loss(more: dict, kind: str) -> None:
    encoder = more[kind].copied()
    model = MultiTaskModel(encoder, 3, ModelConfig(dropout=0.0), stream(0, "head")).eval()
    chunk = masked_chunk(encoder)
    labelled = Chunk.of(chunk.input_ids, chunk.attention_mask, torch.tensor([0, 1, 2]))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    losses = []
    for _ in range(8):
        loss = model.mlm_loss([chunk]) + model.classification_loss([labelled])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    reached = {id(one) for one in model.parameters() if one.grad is not None and one.grad.abs().max() > 0}
    embeddings, decoder = encoder.model.get_input_embeddings(), encoder.model.get_output_embeddings()
    assert {id(embeddings.weight), id(decoder.weight)} <= reached
    for group in (model.body_parameters(), model.mlm_head_parameters(), list(model.classifier.parameters())):
        assert sum(id(one) in reached for one in group) >= 0.8 * len(group)
    assert all(id(one) not in {id(body) for body in model.body_parameters()} for one in model.mlm_head_parameters())


@pytest.mark.parametrize("kind", ALL)
def test_a_whole_run_of_the_multi_task_model(more: dict, kind: str) -> None:
    """Weights, snapshots and evaluation too, of a model that has dropout."""
    encoder, source = more[kind], small_task.data(24)
    before = {name: value.clone() for name, value in encoder.model.state_dict().items()}
    config = small_task.settings(max_epochs=2)
    outcomes, _ = run_method(
        "rtm",
        encoder,
        source,
        scoring=small_task.SCORING,
        masking=MaskingConfig(mean=0.3),
        config=config,
        seed=0,
        objectives=("accuracy",),
        scores=None,
    )
    (outcome,) = outcomes.values()
    assert all(torch.isfinite(value).all() for value in outcome.weights.values())
    word_embeddings = encoder.model.get_input_embeddings().weight
    (name,) = (name for name, value in encoder.model.named_parameters() if value is word_embeddings)
    assert not torch.equal(outcome.weights[f"language_model.{name}"], word_embeddings)
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("kind", ["roberta-prelayernorm", "mpnet", "xlm-roberta"])
def test_positions_behind_the_padding_id_shorten_the_longest_text(more: dict, kind: str) -> None:
    encoder = more[kind]
    limit = POSITIONS - encoder.tokenizer.pad_token_id - 1
    assert encoder.max_positions == limit
    (score,) = score_tokens(encoder, ["the parser " * 40], max_length=limit, metric="whole_word")
    assert len(score.input_ids) == limit
    with pytest.raises(InputError, match=f"{limit} positions"):
        score_tokens(encoder, TEXTS[:1], max_length=limit + 1)


def test_types_that_count_positions_behind_the_padding_id_are_known() -> None:
    kinds = ("roberta-prelayernorm", "data2vec-text", "longformer", "mpnet", "roberta")
    assert all(family_of(kind).pads_positions for kind in kinds)
    assert not any(family_of(kind).pads_positions for kind in ("bert", "ernie", "modernbert", "deberta-v2"))


def test_an_mpnet_with_another_padding_id_is_refused(tmp_path: Path) -> None:
    """Its positions are counted from id 1, whatever the configuration says."""
    with pytest.raises(InputError, match="pad_token_id: 0, and a mpnet model counts its positions from 1"):
        load_encoder(str(save_type(tmp_path / "mpnet", "mpnet")))


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("nystromformer", "what a nystromformer model gives for a text changes with the padding behind it"),
        ("fnet", "what a fnet model gives for a text changes with the padding behind it"),
        ("mbart", "a mbart model is an encoder-decoder"),
    ],
)
def test_types_that_cannot_be_scored_exactly_get_one_line(tmp_path: Path, kind: str, words: str) -> None:
    settings = {"d_model": 16, "encoder_ffn_dim": 24, "decoder_ffn_dim": 24} if kind == "mbart" else {}
    with pytest.raises(InputError, match=words) as caught:
        load_encoder(str(save_type(tmp_path / kind, kind, **settings)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["albert", "mpnet", "deberta-v2", "modernbert"])
def test_threads_score_as_one_after_the_other(more: dict, kind: str) -> None:
    lengths = [5, 9, 14, LENGTH] * 2

    def values(length: int) -> list[list[float]]:
        return [score.log_likelihood.tolist() for score in score_tokens(more[kind], TEXTS[:2], max_length=length)]

    alone = {length: values(length) for length in set(lengths)}
    with ThreadPoolExecutor(4) as pool:
        for length, found in zip(lengths, pool.map(values, lengths), strict=True):
            assert found == alone[length]


def test_a_pass_that_takes_other_arguments_gets_one_line(more: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    def forward(inputs: torch.Tensor) -> None:
        pytest.fail("called with other arguments")

    model = copy.deepcopy(more["megatron-bert"].model)
    monkeypatch.setattr(model.base_model, "forward", forward)
    with pytest.raises(InputError, match=r"encoder here: its own forward pass can't be followed .TypeError") as caught:
        check_pass(model, more["megatron-bert"].tokenizer, "here")
    assert "\n" not in str(caught.value)


def test_a_pass_of_its_own_leaves_the_model_as_it_was(more: dict) -> None:
    encoder = more["deberta-v2"]
    body, state = encoder.body, copy.deepcopy(encoder.model.state_dict())
    check_pass(encoder.model, encoder.tokenizer, "here")
    score_tokens(encoder, TEXTS[:2], max_length=LENGTH)
    assert encoder.body is body
    assert not encoder.model.training
    for name, value in encoder.model.state_dict().items():
        assert torch.equal(value, state[name])
