"""Orders of batches, and padding."""

from __future__ import annotations

from itertools import chain, islice, pairwise

import numpy as np
import pytest
import torch

from l3masking.rng import stream
from l3masking.training.batches import Chunk, by_length, chunk_of, draws, epochs, pad

LENGTHS = [5, 2, 9, 2, 7, 3, 3, 8, 4, 6]
TEXTS = [np.arange(1, length + 1) + 10 * index for index, length in enumerate(LENGTHS)]


def test_an_epoch_is_one_pass_without_repeats_and_drops_the_incomplete_batch() -> None:
    passes = list(islice(epochs(10, 3, stream(0, "order")), 9))
    assert all(len(batch) == 3 for batch in passes)
    orders = [tuple(chain(*passes[start : start + 3])) for start in (0, 3, 6)]
    for order in orders:
        assert len(set(order)) == 9
        assert set(order) < set(range(10))
    assert len(set(orders)) == 3  # a new order every time


def test_a_draw_repeats_nothing_within_a_batch_and_knows_nothing_of_the_last() -> None:
    batches = list(islice(draws(10, 4, stream(0, "order")), 2000))
    assert all(len(set(batch)) == 4 for batch in batches)
    counts = np.bincount(np.concatenate(batches), minlength=10)
    sigma = np.sqrt(2000 * 0.4 * 0.6)
    assert np.abs(counts - 800).max() < 5 * sigma
    overlap = np.mean([len(set(a) & set(b)) for a, b in pairwise(batches)])
    # 4 * 4 / 10 shared on average (hypergeometric, variance .64); the order without end would share far less
    assert abs(overlap - 1.6) < 5 * np.sqrt(0.64 / 1999) * np.sqrt(3)


@pytest.mark.parametrize("sampler", [epochs, draws])
def test_a_batch_larger_than_the_data_is_the_data(sampler) -> None:
    batches = list(islice(sampler(5, 64, stream(0, "order")), 3))
    assert [sorted(batch) for batch in batches] == [[0, 1, 2, 3, 4]] * 3


@pytest.mark.parametrize("sampler", [epochs, draws])
def test_the_generator_alone_decides(sampler) -> None:
    first, again, other = (list(islice(sampler(20, 4, stream(seed, "order")), 7)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("num_chunks", [1, 2, 3, 4, 10, 99])
def test_chunks_hold_every_text_once_in_rising_length(num_chunks: int) -> None:
    parts = by_length(range(10), TEXTS, num_chunks)
    flat = list(chain(*parts))
    assert sorted(flat) == list(range(10))
    assert [LENGTHS[index] for index in flat] == sorted(LENGTHS)
    assert len(parts) == min(num_chunks, 10)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_texts_of_one_length_keep_their_order() -> None:
    assert by_length([3, 6, 1, 5], TEXTS, 1) == [[3, 1, 6, 5]]


def test_padding_by_hand() -> None:
    chunk = chunk_of(TEXTS, [1, 0], torch.tensor([7, 8]), pad_id=99)
    assert chunk.input_ids.tolist() == [[11, 12, 99, 99, 99], [1, 2, 3, 4, 5]]
    assert chunk.attention_mask.tolist() == [[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert chunk.labels.tolist() == [7, 8]
    assert chunk.input_ids.dtype == chunk.attention_mask.dtype == torch.long


def test_a_real_token_with_the_padding_id_is_attended_to() -> None:
    texts = [np.array([1, 0, 2]), np.array([1, 2, 3, 4])]
    assert chunk_of(texts, [0, 1], torch.zeros(2), pad_id=0).attention_mask.tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]


def test_padding_keeps_double_precision() -> None:
    value = 0.1234567890123456
    assert pad([np.array([value]), np.array([0.5, 1.0])], 0.0, torch.float64).tolist() == [[value, 0.0], [0.5, 1.0]]


def test_a_part_of_a_chunk_is_the_chunk_of_its_texts() -> None:
    ids = torch.tensor([[7, 5, 0, 0], [7, 0, 0, 0], [7, 5, 6, 0], [7, 5, 6, 4]])
    labels = torch.tensor([[-100, 5, -100, -100], [-100] * 4, [7, -100, 6, -100], [-100, -100, 6, 4]])
    whole = Chunk.of(ids, (ids > 0).long(), labels)
    assert (whole.lengths, whole.places.counts, whole.predicted) == ((2, 1, 3, 4), (1, 0, 2, 2), 5)
    assert labels[whole.places.rows, whole.places.positions].tolist() == [5, 7, 6, 6, 4]
    for start, end in ((0, 4), (0, 2), (1, 3), (2, 9)):
        part, longest = whole.part(slice(start, end)), max(whole.lengths[start:end])
        alone = Chunk.of(*(tensor[start:end, :longest] for tensor in whole[:3]))
        assert part.lengths == alone.lengths
        assert part.places.counts == alone.places.counts
        pairs = zip((*part[:3], *part.places[:2]), (*alone[:3], *alone.places[:2]), strict=True)
        assert all(torch.equal(ours, theirs) for ours, theirs in pairs)
