"""The pass over masked copies beside the model's own: one copy at a time, whole, unpadded."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from small_encoders import TEXTS, TYPES
from transformers import BertConfig, BertForMaskedLM, ModernBertConfig, ModernBertForMaskedLM

from l3masking.encoders.load import Encoder
from l3masking.memory import OutOfMemory
from l3masking.scoring import forward, scoring
from l3masking.scoring.copies import Copies, mask_rows, pack
from l3masking.scoring.forward import MaskedForward
from l3masking.scoring.layer_pass import Affine, Packed
from l3masking.scoring.scoring import score_texts, score_tokens
from l3masking.scoring.settings import ScoringConfig
from l3masking.scoring.words import EncodedText, encode_texts

METRICS = ("original", "word_l2r", "whole_word")
LENGTH = 34
ONE_WORD = EncodedText(np.arange(20, 32), np.arange(1, 11), np.zeros(10, dtype=np.int64))  # ten pieces


def both_passes(encoder: Encoder, texts: list[EncodedText], metric: str) -> tuple[torch.Tensor, torch.Tensor]:
    """[N, H] states at all read positions: of one batch here, and of the model's body copy by copy."""
    texts = sorted(texts, key=lambda text: len(text.input_ids))
    rows = [row for index, text in enumerate(texts) for row in mask_rows(text, index, metric)]
    slow = []
    with torch.inference_mode():
        copies = pack(rows, texts, encoder.tokenizer.mask_token_id, encoder.device)
        fast = MaskedForward(encoder.model, "float32")(copies)
        for row in rows:
            ids = torch.from_numpy(texts[row.text].input_ids.copy())
            ids[torch.from_numpy(row.masked)] = encoder.tokenizer.mask_token_id
            slow.append(encoder.body(input_ids=ids[None])[0][0, texts[row.text].positions[row.read]])
    return fast, torch.cat(slow)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TYPES)
def test_the_states_are_those_of_the_model(encoders: dict, kind: str, metric: str) -> None:
    encoder = encoders[kind]
    texts = [text for text in encode_texts(encoder.tokenizer, TEXTS, max_length=LENGTH) if len(text.positions)]
    fast, slow = both_passes(encoder, texts, metric)
    assert len({len(text.input_ids) for text in texts}) > 2, "several lengths, one of them twice"
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("activation", ["gelu", "gelu_new", "relu"])
@pytest.mark.parametrize("layers", [1, 3])
def test_any_depth_and_activation(encoders: dict, layers: int, activation: str, metric: str) -> None:
    tokenizer = encoders["bert"].tokenizer
    torch.manual_seed(layers)
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=3,
        intermediate_size=40,
        hidden_act=activation,
        max_position_embeddings=48,
        initializer_range=0.3,  # far from uniform attention
    )
    model = BertForMaskedLM(config).eval()
    encoder = Encoder(model=model, tokenizer=tokenizer, revision="made", max_positions=48)
    texts = [*encode_texts(tokenizer, TEXTS[:2], max_length=LENGTH), ONE_WORD]
    fast, slow = both_passes(encoder, texts, metric)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(
    ("layers", "every", "window", "more"),
    [
        (1, 3, 4, {}),  # all in one layer that sees the whole text
        (5, 3, 6, {"attention_bias": True, "mlp_bias": True, "norm_bias": True}),  # the last layer sees near tokens
        (7, 3, 20, {"hidden_activation": "gelu_new"}),  # the last layer sees all; one text is a token too long
        (3, 1, 4, {"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 40.0}}}),
        (4, 9, 7, {"global_rope_theta": 20.0, "local_rope_theta": 5.0}),  # an odd window, steep rotations
    ],
)
def test_rotary_layers_with_and_without_a_window(
    encoders: dict, layers: int, every: int, window: int, more: dict, metric: str
) -> None:
    tokenizer = encoders["bert"].tokenizer
    config = ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=24,
        num_hidden_layers=layers,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=48,
        pad_token_id=tokenizer.pad_token_id,
        global_attn_every_n_layers=every,
        local_attention=window,
        **more,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(layers)
        model = ModernBertForMaskedLM(config).eval()
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    encoder = Encoder(model=model, tokenizer=tokenizer, revision="made", max_positions=48)
    texts = [*encode_texts(tokenizer, TEXTS[:2], max_length=LENGTH), ONE_WORD]
    assert max(len(text.input_ids) for text in texts) > window // 2 + 1, "further than a token sees"
    fast, slow = both_passes(encoder, texts, metric)
    torch.testing.assert_close(fast, slow, atol=1e-5, rtol=1e-5)


def test_packed_weights_multiply_as_the_plain_ones(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    """oneDNN's order of the weights where the processor has it, and torch's own product where it has not."""
    with_packed = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH)
    block = MaskedForward(encoders["bert"].model, "float32").blocks[0]
    assert isinstance(block.feed_in, Packed) == torch.backends.mkldnn.is_available()

    def lacking(*given: object) -> None:
        raise RuntimeError("the processor lacks this")

    monkeypatch.setattr(torch.ops.mkldnn, "_reorder_linear_weight", lacking)
    assert isinstance(MaskedForward(encoders["bert"].model, "float32").blocks[0].feed_in, Affine)
    for one, other in zip(with_packed, score_tokens(encoders["bert"], TEXTS, max_length=LENGTH), strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)


@pytest.mark.parametrize("metric", METRICS)  # with whole_word several reads a copy
@pytest.mark.parametrize(("where", "name"), [(forward, "CPU_ROWS"), (scoring, "HEAD_READS")])
def test_cuts_inside_a_batch_change_nothing(
    encoders: dict, monkeypatch: pytest.MonkeyPatch, where: object, name: str, metric: str
) -> None:
    whole = score_tokens(encoders["bert"], TEXTS, metric=metric, max_length=LENGTH)
    monkeypatch.setattr(where, name, 3)
    for one, other in zip(whole, score_tokens(encoders["bert"], TEXTS, metric=metric, max_length=LENGTH), strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)


class Small:
    """A pass on a device whose memory holds a number of tokens; with `begin` only from a pass of this number on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int, begin: int = 0) -> None:
        self.tried: list[int] = []
        self.error: Exception = torch.OutOfMemoryError()
        forward = MaskedForward.__call__

        def limited(model: MaskedForward, copies: Copies) -> torch.Tensor:
            self.tried.append(len(copies.pairs))
            if self.tried[-1] > room and len(self.tried) > begin:
                raise self.error
            return forward(model, copies)

        monkeypatch.setattr(MaskedForward, "__call__", limited)


def test_a_batch_that_memory_does_not_hold_is_halved(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH)
    small = Small(monkeypatch, 60)
    steps: list[int] = []
    monkeypatch.setattr(scoring, "HEAD_READS", 8)
    halved = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH, token_budget=250, progress=steps.append)
    for one, other in zip(whole, halved, strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)
    halves = len(small.tried) // 2
    assert max(small.tried[:halves]) > 60 >= max(small.tried[halves:]), "later batches are small enough from the start"
    assert sum(steps) == sum(len(one.positions) for one in {one.input_ids.tobytes(): one for one in whole}.values())


def test_a_single_copy_that_memory_does_not_hold_is_an_error(encoders: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Small(monkeypatch, 3)
    with pytest.raises(OutOfMemory, match=r"one copy of text \d+ \(\d+ ids, '.*'\): lower scoring.max_length"):
        score_tokens(encoders["bert"], TEXTS, max_length=LENGTH, token_budget=250)
    assert len(small.tried) <= 1 + np.log2(250), "tries of what fails at last are at most the logarithm of the batch"


@pytest.mark.parametrize("last", [False, True])
def test_memory_that_ends_in_any_batch_changes_no_score(encoders: dict, monkeypatch, last: bool) -> None:
    """In the first try, or in the last batch alone; of the machine's memory as well."""
    whole = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH, token_budget=100)
    with monkeypatch.context() as patch:
        counted = Small(patch, 10**9)
        score_tokens(encoders["bert"], TEXTS, max_length=LENGTH, token_budget=100)
    large = [number for number, size in enumerate(counted.tried) if size > 40]
    small = Small(monkeypatch, 40, begin=large[-1] if last else 0)
    small.error = RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 64 bytes")
    halved = score_tokens(encoders["bert"], TEXTS, max_length=LENGTH, token_budget=100)
    assert len(small.tried) > len(counted.tried)
    for one, other in zip(whole, halved, strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)


def test_predictions_that_memory_does_not_hold_are_read_in_halves(encoders: dict, monkeypatch) -> None:
    encoder, tried = encoders["bert"], list[int]()
    whole = score_texts(encoder, TEXTS, ScoringConfig(max_length=LENGTH), entropy=True)
    head = type(encoder).mlm_logits

    def small(self, states):
        tried.append(len(states))
        if tried[-1] > 5:
            raise torch.OutOfMemoryError
        return head(self, states)

    monkeypatch.setattr(type(encoder), "mlm_logits", small)
    found = score_texts(encoder, TEXTS, ScoringConfig(max_length=LENGTH), entropy=True)
    assert max(tried) > 5
    for one, other in zip(whole, found, strict=True):
        np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=1e-5, rtol=0)
        np.testing.assert_allclose(one.entropy, other.entropy, atol=1e-5, rtol=0)


def test_another_error_is_not_tried_again(encoders: dict, monkeypatch) -> None:
    small = Small(monkeypatch, 3)
    small.error = RuntimeError("CUDA error: device-side assert triggered")
    with pytest.raises(RuntimeError, match="device-side"):
        score_tokens(encoders["bert"], TEXTS, max_length=LENGTH)
    assert len(small.tried) == 1


def test_copies_share_their_pairs(encoders: dict) -> None:
    """Pairs: a mask for each position and each text once; every copy's tokens and reads found through them."""
    encoder = encoders["bert"]
    texts = sorted(encode_texts(encoder.tokenizer, TEXTS[:2], max_length=LENGTH), key=lambda text: len(text.input_ids))
    rows = [row for index, text in enumerate(texts) for row in mask_rows(text, index, "word_l2r")]
    mask = encoder.tokenizer.mask_token_id
    copies = pack(rows, texts, mask, torch.device("cpu"))
    expected = []
    for row in rows:
        ids = texts[row.text].input_ids.copy()
        ids[row.masked] = mask
        expected.append(ids)
    lengths = [len(text.input_ids) for text in texts]
    assert len(copies.ids) == max(lengths) + sum(lengths)
    assert copies.ids[copies.pairs].tolist() == np.concatenate(expected).tolist()
    assert copies.places[copies.pairs].tolist() == [place for ids in expected for place in range(len(ids))]
    starts = np.cumsum([0, *map(len, expected)])[:-1]
    at = [texts[row.text].positions[row.read][0] for row in rows]
    assert copies.reads.tolist() == (starts + at).tolist()
    assert copies.truth.tolist() == [texts[row.text].input_ids[i] for row, i in zip(rows, at, strict=True)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", TYPES)
def test_a_gpu_gives_the_scores_of_the_cpu(encoders: dict, kind: str, metric: str) -> None:
    on_cpu = encoders[kind]
    on_gpu = replace(on_cpu, model=copy.deepcopy(on_cpu.model).cuda())
    for precision, atol in (("float32", 1e-4), ("bf16", 0.25)):
        slow = score_tokens(on_cpu, TEXTS, metric=metric, max_length=LENGTH)
        for budget in (None, 64):
            fast = score_tokens(
                on_gpu, TEXTS, metric=metric, max_length=LENGTH, precision=precision, token_budget=budget
            )
            for one, other in zip(slow, fast, strict=True):
                np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, atol=atol, rtol=0)
