"""Batches in few shapes: the values and gradients of the pass without padding, also where the pass is replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import pytest
import torch
from more_encoders import FAST
from small_encoders import TYPES
from taped import TapeRecorder
from torch import Tensor

from l3masking import rng
from l3masking.encoders.buckets import DOUBLING_STEPS, LEAST, Bucket, bucket_of, filled_up
from l3masking.encoders.load import Encoder, load_encoder
from l3masking.graphs import Programs
from l3masking.masking.corruption import IGNORED
from l3masking.training.batches import Chunk, bucketed, chunk_of
from l3masking.training.model import MultiTaskModel
from l3masking.training.settings import ModelConfig

KINDS = (*TYPES, *FAST)
LENGTHS = (9, 24, 3, 22, 24, 13, 23)


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory, encoders: dict[str, Encoder]) -> dict[str, Encoder]:
    """An encoder of each type with a fast pass. Read only."""
    root = tmp_path_factory.mktemp("buckets")
    return encoders | {kind: load_encoder(str(make(root / kind))) for kind, make in FAST.items()}


def batches(encoder: Encoder, lengths: Sequence[int] = LENGTHS, seed: int = 0) -> tuple[Chunk, Chunk]:
    """Texts of random ids with classes, and the same texts with labels at a third of their ids."""
    generator, tokenizer = rng.stream(seed, "texts"), encoder.tokenizer
    ids = [torch.randint(5, len(tokenizer), (length,), generator=generator).numpy() for length in lengths]
    labelled = chunk_of(ids, range(len(ids)), torch.arange(len(ids)) % 3, tokenizer.pad_token_id)
    taken = torch.rand(labelled.input_ids.shape, generator=generator) < labelled.attention_mask / 3
    return labelled, Chunk.of(*labelled[:2], labelled.input_ids.where(taken, IGNORED))


def found(model: MultiTaskModel, labelled: Chunk, masked: Chunk) -> list[Tensor]:
    """Both losses and the gradient of each, end to end."""
    parameters = [one for one in model.parameters() if one.requires_grad]
    results = list[Tensor]()
    for loss in (model.classification_loss([labelled]), model.mlm_loss([masked])):
        gradients = torch.autograd.grad(loss, parameters, materialize_grads=True)
        results += [loss.detach(), torch.cat([gradient.flatten() for gradient in gradients])]
    return results


def with_head(encoder: Encoder) -> MultiTaskModel:
    return MultiTaskModel(encoder, 3, ModelConfig(), rng.stream(0, "head"))


def test_sizes_are_filled_up_to_few() -> None:
    for name, steps in DOUBLING_STEPS.items():
        least = LEAST[name]
        sizes = [filled_up(size, steps, least) for size in range(1, 20000)]
        assert all(size <= up < size + max(least, size / steps + 1) for size, up in enumerate(sizes, 1))
        assert all(before <= after for before, after in pairwise(sizes))
        assert len({size for size in sizes if 4096 < size <= 8192}) == steps
    assert bucket_of(3450, 121, 520) == Bucket(3584, 128, 640)
    assert bucket_of(1, 1, 1) == Bucket(64, 16, 64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_changes_neither_values_nor_gradients(every: dict, kind: str) -> None:
    model, plain = with_head(every[kind]).eval(), batches(every[kind])
    filled = [bucketed(chunk) for chunk in plain]
    assert [chunk.bucket for chunk in filled] == [Bucket(128, 32, 7), Bucket(128, 32, 64)]
    for one, other in zip(found(model, *filled), found(model, *plain), strict=True):
        assert one.any()
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_and_other_texts_do_not_matter(every: dict, kind: str) -> None:
    encoder, chunk = every[kind], bucketed(batches(every[kind])[0])
    with torch.no_grad():
        together = encoder.text_states(*chunk[:2], bucket=chunk.bucket)
        other = chunk.input_ids.where(chunk.attention_mask.bool(), 7)
        assert torch.equal(encoder.text_states(other, chunk.attention_mask, bucket=chunk.bucket), together)
        for row, length in enumerate(LENGTHS):
            alone = bucketed(Chunk.of(*(tensor[[row], :length] for tensor in chunk[:2]), chunk.labels[[row]]))
            states = encoder.text_states(*alone[:2], bucket=alone.bucket)
            torch.testing.assert_close(states[0], together[row], atol=1e-5, rtol=1e-5)


def replayed(model: MultiTaskModel, like: Chunk, masked_like: Chunk) -> Callable[[Chunk, Chunk], list[Tensor]]:
    """As `found`, of batches of these buckets: called once, then recorded and replayed."""
    recorder = TapeRecorder()
    programs = Programs(lambda: recorder)

    def work(given: Sequence[Tensor]) -> list[Tensor]:
        parts = (given[:3], like), (given[3:], masked_like)
        return found(model, *(Chunk(*tensors, one.lengths, bucket=one.bucket) for tensors, one in parts))

    def run(labelled: Chunk, masked: Chunk) -> list[Tensor]:
        assert (labelled.bucket, masked.bucket) == (like.bucket, masked_like.bucket)
        return programs.run("both", work, [*labelled[:3], *masked[:3]])

    return run


@pytest.mark.parametrize("kind", KINDS)
def test_a_pass_of_one_bucket_can_be_replayed_for_others(every: dict, kind: str) -> None:
    """With dropout: other texts of other lengths, other draws, other weights. It looks at no value on its way."""
    encoder = every[kind].copied()
    model = with_head(encoder).train()
    run = replayed(model, *map(bucketed, batches(encoder)))
    for seed, lengths in enumerate((LENGTHS, LENGTHS, LENGTHS[::-1], (24, 24, 20, 20, 18, 10, 1))):
        texts = [bucketed(chunk) for chunk in batches(encoder, lengths, seed)]
        torch.manual_seed(seed)
        got = run(*texts)
        torch.manual_seed(seed)
        for one, other in zip(got, found(model, *texts), strict=True):
            torch.testing.assert_close(one, other, atol=1e-7, rtol=1e-6)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.01)


def test_dropout_has_the_same_statistics(every: dict) -> None:
    """Mean and spread of the loss over draws; a bucket draws for its filled-up tokens too, so its draws are others."""
    model, chunk = with_head(every["bert"].copied()).train(), batches(every["bert"])[0]
    draws = []
    for part in (chunk, bucketed(chunk)):
        torch.manual_seed(0)
        with torch.no_grad():
            draws.append(torch.stack([model.classification_loss([part]) for _ in range(400)]).double())
    plain, filled = draws
    assert not torch.equal(plain, filled)
    error = ((plain.var() + filled.var()) / 400).sqrt()
    assert abs(plain.mean() - filled.mean()) < 5 * error
    # the logarithm of a standard deviation of n normal numbers has a standard error of 1 / sqrt(2 n)
    assert abs(plain.std().log() - filled.std().log()) < 5 * (1 / 400) ** 0.5
    assert plain.std() > 0.001
