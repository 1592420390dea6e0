"""Masked-LM training of a whole model, against a plain loop that spells every step out."""

from __future__ import annotations

import math

import pytest
import torch
from small_task import data, encoder, one_thread, tokenizer

from l3masking.errors import InputError
from l3masking.masking.collator import MaskingCollator
from l3masking.masking.corruption import IGNORED
from l3masking.masking.settings import MaskingConfig
from l3masking.rng import stream
from l3masking.training.mlm import MlmConfig, near_batches, train_mlm, updates_of

CONFIG = MlmConfig(epochs=2, batch=10, lr=5e-3, warmup=0.3, decay=0.1, clip=0.5)


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


def fixed_masks(features):
    """Every third token is masked, so that both loops meet the same ones."""
    batch = tokenizer().pad(features, return_tensors="pt")
    ids = batch["input_ids"]
    chosen = (torch.arange(ids.shape[1]) % 3 == 1) & (ids != tokenizer().pad_token_id)
    labels = torch.where(chosen, ids, IGNORED)
    return {**batch, "input_ids": torch.where(chosen, tokenizer().mask_token_id, ids), "labels": labels}


def rate(update: int, total: int) -> float:
    """Of update 1, 2, ...: up to the peak in a share of the updates, then down towards 0."""
    rise = max(1, math.floor(CONFIG.warmup * total))
    return CONFIG.lr * (update / rise if update <= rise else (total - update + 1) / (total - rise))


def plain(model, rows) -> list[float]:
    """AdamW by hand: one tensor at a time, moments in double precision."""
    total = CONFIG.epochs * math.ceil(len(rows) / CONFIG.batch)
    parameters = list(model.parameters())
    first, second = ([torch.zeros_like(p, dtype=torch.float64) for p in parameters] for _ in range(2))
    order, losses = stream(7, "order"), []
    for part in [part for _ in range(CONFIG.epochs) for part in near_batches(rows, CONFIG.batch, order)]:
        batch = fixed_masks([{"input_ids": rows[index]} for index in part])
        logits = model(batch["input_ids"], attention_mask=batch["attention_mask"]).logits.log_softmax(dim=-1)
        places = [(i, j) for i, row in enumerate(batch["labels"].tolist()) for j, x in enumerate(row) if x != IGNORED]
        loss = -sum(logits[i, j, batch["labels"][i, j]] for i, j in places) / len(places)
        model.zero_grad()
        loss.backward()
        losses.append(float(loss.detach()))
        norm = sum(float(p.grad.double().pow(2).sum()) for p in parameters) ** 0.5
        update, lr = len(losses), rate(len(losses), total)
        for p, m, v in zip(parameters, first, second, strict=True):
            gradient = p.grad.double() * min(1.0, CONFIG.clip / (norm + 1e-6))
            m.mul_(CONFIG.betas[0]).add_(gradient, alpha=1 - CONFIG.betas[0])
            v.mul_(CONFIG.betas[1]).add_(gradient**2, alpha=1 - CONFIG.betas[1])
            mean, square = m / (1 - CONFIG.betas[0] ** update), v / (1 - CONFIG.betas[1] ** update)
            step = mean / (square.sqrt() + CONFIG.eps) + CONFIG.decay * p.detach().double()
            p.data.copy_((p.detach().double() - lr * step).float())
    return losses


def test_training_is_that_of_a_plain_loop() -> None:
    rows = tokenizer()(list(data().train.texts[:45]))["input_ids"]
    fast, slow = encoder().copied().model.eval(), encoder().copied().model.eval()
    seen: list[tuple[int, int, int]] = []
    losses = train_mlm(
        fast,
        rows,
        fixed_masks,
        CONFIG,
        order=stream(7, "order"),
        progress=lambda n, of, all_: seen.append((n, of, len(all_))),
    )
    assert seen == [(n, 10, n) for n in range(1, 11)]
    assert losses == pytest.approx(plain(slow, rows), rel=1e-4)
    assert losses[-1] < losses[0]
    for one, other in zip(fast.parameters(), slow.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
    assert not fast.training


def test_a_batch_without_masks_moves_nothing_but_decay() -> None:
    model = encoder().copied().model.eval()
    before = [parameter.detach().clone() for parameter in model.parameters()]
    rows = tokenizer()(list(data().train.texts[:5]))["input_ids"]
    collate = MaskingCollator(tokenizer(), MaskingConfig(mean=0.0), seed=0)
    config = MlmConfig(epochs=1, batch=5, lr=0.5, warmup=0.0, decay=0.0)
    assert train_mlm(model, rows, collate, config, order=stream(0, "order")) == [0.0]
    assert all(torch.equal(one, other) for one, other in zip(before, model.parameters(), strict=True))


def test_gradients_are_cleared_clipped_together_and_scheduled() -> None:
    """Plain descent of two numbers whose gradient is (3, 4): norm 5, clipped to 1."""
    one, two = (torch.nn.Parameter(torch.tensor(start)) for start in (10.0, 20.0))
    optimiser = torch.optim.SGD([one, two], lr=1.0)

    def gradients(update: int) -> str:
        optimiser.zero_grad()
        (3 * one + 4 * two).backward()
        torch.nn.utils.clip_grad_norm_([one, two], 1.0)
        return f"update {update}"

    made = list(updates_of(optimiser, gradients, lambda done: 1.0 / (done + 1), total=2))
    assert made == [(1, "update 1"), (2, "update 2")]
    assert one.item() == pytest.approx(10 - 0.6 * 1.5)
    assert two.item() == pytest.approx(20 - 0.8 * 1.5)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"epochs": 0}, "epochs is 0: at least 1"),
        ({"lr": 0.0}, "lr is 0.0: it must be above 0"),
        ({"warmup": 2.0}, "warmup is 2.0: a share"),
    ],
)
def test_what_cannot_be_trained_with_is_refused(changes, text: str) -> None:
    with pytest.raises(InputError, match=text):
        MlmConfig(**changes)
