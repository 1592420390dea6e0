"""Masked-LM training before fine-tuning, against a plain loop that spells every step out."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_task import data, encoder, one_thread, tokenizer

from l3masking.errors import InputError
from l3masking.masking.applied import MaskedText
from l3masking.masking.corruption import IGNORED, corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.scoring.words import encode_texts
from l3masking.training import continual
from l3masking.training.continual import adapt
from l3masking.training.evaluation import NonFiniteLoss
from l3masking.training.mlm import TextSource
from l3masking.training.settings import AdaptConfig

MASKING = MaskingConfig(mean=0.3)
SHORT = AdaptConfig(epochs=3, batch=8, accumulate=2, lr=5e-3, warmup=0.5, dev_share=0.0)


def source(count: int = 48, mean: float = 0.3) -> TextSource:
    """The training texts of the small task under one mask probability."""
    texts = []
    for text in encode_texts(tokenizer(), data().train.texts[:count], max_length=16):
        row = np.zeros(len(text.input_ids))
        row[text.positions] = mean
        texts.append(MaskedText(text.input_ids, row))
    return TextSource(count=count, read=lambda: iter(texts))


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


def plain_update(model, optimiser, windows, lr: float) -> None:
    """One update: each text by itself, whole logits, sums by hand."""
    optimiser.zero_grad()
    for batch in windows:
        total, count = 0.0, 0
        for ids, labels in batch:
            logits = model(input_ids=torch.tensor([ids])).logits[0]
            for position, label in enumerate(labels):
                if label != IGNORED:
                    total = total - torch.log_softmax(logits[position], dim=-1)[label]
                    count += 1
        (total / count / len(windows)).backward()
    norm = sum(float(p.grad.pow(2).sum()) for p in model.parameters()) ** 0.5
    for parameter in model.parameters():
        parameter.grad.mul_(min(1.0, 1.0 / (norm + 1e-6)))
    for group in optimiser.param_groups:
        group["lr"] = lr
    optimiser.step()


def test_two_updates_are_those_of_a_plain_loop():
    """8 texts, batches of 4, two micro-steps: two updates of one pass each."""
    config = dataclasses.replace(SHORT, epochs=2, batch=4, warmup=0.0)
    texts = list(source(8).read())
    found = adapt(encoder(0.0), source(8), config, MASKING, seed=5)
    model = copy.deepcopy(encoder(0.0).model).train()
    biased = ("bias", "LayerNorm.weight")
    groups = [
        {"params": [p for n, p in model.named_parameters() if not n.endswith(biased)], "weight_decay": 0.01},
        {"params": [p for n, p in model.named_parameters() if n.endswith(biased)], "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)
    order, masks = stream(5, "adapt", "order"), stream(5, "adapt", "mask")
    for rate in (2 / 3, 1 / 3):  # linear down to 0 at the update after the last
        near = sorted(torch.randperm(8, generator=order).tolist(), key=lambda i: len(texts[i].input_ids))
        halves = [near[:4], near[4:]]
        window = []
        for half in torch.randperm(2, generator=order).tolist():
            batch = [texts[i] for i in halves[half]]
            longest = max(len(text.input_ids) for text in batch)
            ids = torch.zeros((4, longest), dtype=torch.long)
            chances = torch.zeros((4, longest), dtype=torch.float64)
            for row, text in enumerate(batch):
                ids[row, : len(text.input_ids)] = torch.tensor(text.input_ids)
                chances[row, : len(text.input_ids)] = torch.tensor(text.probabilities)
            drawn = corrupt(ids, chances, tokenizer(), masks, MASKING)
            lengths = [len(text.input_ids) for text in batch]
            window.append(
                [
                    (drawn.input_ids[row, :length].tolist(), drawn.labels[row, :length].tolist())
                    for row, length in enumerate(lengths)
                ]
            )
        plain_update(model, optimiser, window, config.lr * rate)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found.weights[name], parameter.detach(), atol=1e-5, rtol=0)  # of steps of 5e-3
    assert (found.updates, found.best_update, found.passes, found.texts) == (2, 2, 2.0, 8)


def test_training_lowers_the_loss_of_texts_that_it_did_not_see():
    config = dataclasses.replace(SHORT, epochs=12, dev_share=0.25, warmup=0.1)
    found = adapt(encoder(), source(), config, MASKING, seed=0)
    losses = [point["dev"] for point in found.losses]
    assert losses[-1] < 0.92 * losses[0]
    kept = next(point for point in found.losses if point["update"] == found.best_update)
    assert kept["dev"] == min(losses)


def test_a_source_that_is_read_again_gives_what_one_in_memory_gives(monkeypatch):
    texts = list(source().read())
    reads = []

    def read():
        reads.append(1)
        yield from texts

    first = adapt(encoder(), source(), SHORT, MASKING, seed=3)
    second = adapt(encoder(), TextSource(count=48, read=read), SHORT, MASKING, seed=3)
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    assert len(reads) == SHORT.epochs
    monkeypatch.setattr(continual, "SHUFFLED", 16)  # another order, the same number of updates
    assert adapt(encoder(), source(), SHORT, MASKING, seed=3).updates == first.updates


def masks_of(config: AdaptConfig, monkeypatch) -> list[dict[int, list[int]]]:
    """Labels of each text by its number, one dictionary per pass."""
    seen: list[dict[int, list[int]]] = [{}]
    masked = continual._Adaptation.masked_batch

    def spy(self, batch, *, fixed):
        chunk = masked(self, batch, fixed=fixed)
        if len(seen[-1]) == 48:
            seen.append({})
        for row, (number, text) in enumerate(batch):
            seen[-1][number] = chunk.labels[row, : len(text.input_ids)].tolist()
        return chunk

    monkeypatch.setattr(continual._Adaptation, "masked_batch", spy)
    adapt(encoder(), source(), config, MASKING, seed=1)
    return seen


def test_static_masks_stay_and_fresh_ones_change(monkeypatch):
    static = masks_of(dataclasses.replace(SHORT, static=True), monkeypatch)
    assert len(static) == 3
    assert static[0] == static[1] == static[2]
    monkeypatch.undo()
    fresh = masks_of(SHORT, monkeypatch)
    assert sum(fresh[0][text] == fresh[1][text] for text in fresh[0]) < 24


def test_the_encoder_stays_and_the_run_repeats():
    before = copy.deepcopy(encoder().model.state_dict())
    first, second = (adapt(encoder(), source(), SHORT, MASKING, seed=4) for _ in range(2))
    assert all(torch.equal(first.weights[name], second.weights[name]) for name in first.weights)
    other = adapt(encoder(), source(), SHORT, MASKING, seed=5)
    assert not all(torch.equal(first.weights[name], other.weights[name]) for name in first.weights)
    assert all(torch.equal(value, before[name]) for name, value in encoder().model.state_dict().items())


def test_the_share_of_masked_tokens_is_counted():
    found = adapt(encoder(), source(), dataclasses.replace(SHORT, epochs=40), MASKING, seed=0)
    texts = list(source().read())
    expected = sum(text.probabilities.sum() for text in texts) / sum(len(text.input_ids) for text in texts)
    tokens = 40 * sum(len(text.input_ids) for text in texts)
    assert abs(found.masked_share - expected) < 5 * (expected * (1 - expected) / tokens) ** 0.5


@pytest.mark.parametrize(
    ("config", "texts", "updates"),
    [
        (SHORT, 48, 9),
        (dataclasses.replace(SHORT, updates=4), 48, 4),
        (SHORT, 5, 3),  # fewer than one update takes: each pass is one
        (dataclasses.replace(SHORT, dev_share=0.5), 48, 3),
    ],
)
def test_number_of_updates(config, texts, updates):
    told = []
    found = adapt(encoder(), source(texts), config, MASKING, seed=0, progress=lambda *event: told.append(event))
    assert found.updates == updates
    assert told == [(update, updates) for update in range(1, updates + 1)]


def test_masks_nothing_moves_nothing_but_decay():
    found = adapt(encoder(), source(mean=0.0), dataclasses.replace(SHORT, decay=0.0), MASKING, seed=0)
    assert all(torch.equal(found.weights[name], value) for name, value in encoder().model.named_parameters())
    assert found.masked_share == 0


def test_what_cannot_be_trained_is_refused():
    with pytest.raises(InputError, match="holds no text"):
        adapt(encoder(), TextSource(count=0, read=lambda: iter(())), SHORT, MASKING, seed=0)
    with pytest.raises(NonFiniteLoss, match=r"adapt, update \d+ \(lr \de\+\d+\)"):
        adapt(encoder(), source(), dataclasses.replace(SHORT, lr=1e30, warmup=0.0), MASKING, seed=0)


def test_loss_of_a_plain_pass_on_held_out_texts():
    """The dev loss against each masked text alone through the whole model."""
    config = dataclasses.replace(SHORT, epochs=1, dev_share=0.25, updates=1)
    found = adapt(encoder(), source(), config, MASKING, seed=7)
    model = copy.deepcopy(encoder().model).eval()
    model.load_state_dict(found.weights, strict=False)
    total, count = 0.0, 0
    for number, text in enumerate(source().read()):
        if number % 4 == 3:
            chances = torch.tensor(text.probabilities)[None]
            drawn = corrupt(
                torch.tensor(text.input_ids)[None], chances, tokenizer(), stream(7, "adapt", "mask", number), MASKING
            )
            with torch.no_grad():
                logits = model(input_ids=drawn.input_ids).logits[0]
            total += float(F.cross_entropy(logits, drawn.labels[0], ignore_index=IGNORED, reduction="sum"))
            count += int((drawn.labels != IGNORED).sum())
    assert found.losses[-1]["dev"] == pytest.approx(total / count, abs=1e-5)
