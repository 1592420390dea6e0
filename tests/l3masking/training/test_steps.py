"""One optimiser step against plain backward passes, and META-TARTAN's dev gradient against its definition.

The batches come from the streams that the stepper names; losses and gradients are transformers' and torch's own.
"""

from __future__ import annotations

import copy
import dataclasses
from itertools import islice

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from small_task import SCORING, data, encoder, one_thread, scores, settings
from torch import Tensor, nn

from l3masking import rng
from l3masking.masking.corruption import corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import Inputs, encode_task, prepare
from l3masking.scoring.words import encode_as
from l3masking.training.batches import draws, epochs
from l3masking.training.model import ClassificationHead
from l3masking.training.settings import FinetuneConfig, MetaConfig, TrainConfig
from l3masking.training.steps import Auxiliary, Examples, Stepper
from l3masking.training.task_weights import StaticWeighting
from l3masking.training.trajectory import Trajectory

SEED, BATCH = 3, 6
MASKING = MaskingConfig(mean=0.3)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


def trajectory(config: FinetuneConfig, weighting: str, auxiliary: Auxiliary | None, dropout: float = 0.0) -> Trajectory:
    task = encode_task(encoder(dropout), data(), SCORING)
    made = Trajectory(encoder(dropout), task, config, SEED, auxiliary, weighting)
    made.model.train()
    return made


def masks(probability: float | None = None) -> Auxiliary:
    texts = data().mlm_texts
    inputs = Inputs(
        task=encode_task(encoder(0.0), data(), SCORING), mlm=encode_as(SCORING, encoder(0.0).tokenizer, texts)
    )
    made = prepare(
        METHODS["l3masking"], encoder(0.0), inputs, masking=MASKING, config=config(), seed=SEED, scores=scores(texts)
    ).auxiliary
    assert made is not None
    if probability is None:
        return made
    return dataclasses.replace(made, probabilities=[np.full(len(row), probability) for row in made.input_ids])


def config(accumulate: int = 1, buckets: int = 1, **more: object) -> FinetuneConfig:
    train = TrainConfig(batch=BATCH, accumulate=accumulate, max_epochs=2, length_buckets=buckets)
    return dataclasses.replace(settings(dropout=0.0, **more), train=train)


def padded(rows: list[np.ndarray]) -> tuple[Tensor, Tensor]:
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
    return ids, torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])


def classification(model: nn.Module, head: nn.Module, examples: Examples, indices: list[int]) -> Tensor:
    ids, attention = padded([examples.input_ids[index] for index in indices])
    states = model(input_ids=ids, attention_mask=attention, output_hidden_states=True).hidden_states[-1]
    return F.cross_entropy(head.out(torch.tanh(head.dense(states[:, 0]))), examples.labels[indices])


def mlm(model: nn.Module, auxiliary: Auxiliary, indices: list[int], generator: torch.Generator) -> Tensor:
    ordered = sorted(indices, key=lambda index: len(auxiliary.input_ids[index]))
    ids, attention = padded([auxiliary.input_ids[index] for index in ordered])
    wanted = torch.zeros(ids.shape, dtype=torch.float64)
    for row, index in enumerate(ordered):
        wanted[row, : len(auxiliary.probabilities[index])] = torch.from_numpy(auxiliary.probabilities[index])
    corrupted = corrupt(ids, wanted, encoder(0.0).tokenizer, generator, MASKING)
    return model(input_ids=corrupted.input_ids, attention_mask=attention, labels=corrupted.labels).loss


def gradients(made: Trajectory) -> dict[str, Tensor]:
    return {name: p.grad for name, p in made.model.named_parameters() if p.grad is not None}


def assert_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert set(found) == set(expected)
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in expected.items():  # the bias of the keys has no true gradient: rounding, around 1e-9
        assert torch.allclose(found[name], gradient, rtol=1e-3, atol=1e-6 * largest), name


@pytest.mark.parametrize("buckets", [1, 4])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_gradient_is_the_weighed_mean_of_plain_backward_passes(accumulate: int, buckets: int) -> None:
    auxiliary = masks()
    made = trajectory(config(accumulate, buckets), "static", auxiliary)
    made.stepper.weighting = Unequal(num_tasks=2)
    losses = made.stepper.window(1)

    oracle = trajectory(config(), "static", auxiliary).model
    task, generator = encode_task(encoder(0.0), data(), SCORING), rng.stream(SEED, "mask")
    primary = list(islice(draws(48, BATCH, rng.stream(SEED, "order", "primary")), accumulate))
    auxiliaries = list(islice(epochs(48, BATCH, rng.stream(SEED, "order", "mlm")), accumulate))
    sums = [0.0, 0.0]
    for texts, units in zip(primary, auxiliaries, strict=True):
        first = classification(oracle.language_model, oracle.classifier, task.train, texts)
        second = mlm(oracle.language_model, auxiliary, units, generator)
        ((0.7 * first + 0.3 * second) / accumulate).backward()
        sums = [sums[0] + first.item() / accumulate, sums[1] + second.item() / accumulate]
    assert_close(gradients(made), {n: p.grad for n, p in oracle.named_parameters() if p.grad is not None})
    assert losses["primary"].item() == pytest.approx(sums[0], rel=1e-5)
    assert losses["mlm"].item() == pytest.approx(sums[1], rel=1e-5)


class Unequal(StaticWeighting):
    def weights(self) -> Tensor:
        return torch.tensor([0.7, 0.3], dtype=torch.float64)


def test_every_window_starts_from_no_gradient() -> None:
    once, twice = (trajectory(config(), "static", masks()) for _ in range(2))
    once.stepper.window(1)
    twice.stepper.window(1)
    first = {name: gradient.clone() for name, gradient in gradients(once).items()}
    for made in (once, twice):
        made.stepper.window(2)
    assert all(torch.equal(a, b) for a, b in zip(gradients(once).values(), gradients(twice).values(), strict=True))
    assert any(not torch.equal(gradients(once)[name], first[name]) for name in first)
    for parameter in twice.model.parameters():
        if parameter.grad is not None:
            parameter.grad.fill_(1e6)
    for made in (once, twice):
        made.stepper.window(3)
    assert all(torch.equal(a, b) for a, b in zip(gradients(once).values(), gradients(twice).values(), strict=True))


def test_plain_fine_tuning_walks_through_shuffled_passes() -> None:
    made = trajectory(config(2), "static", None)
    made.stepper.window(1)
    oracle, task = trajectory(config(), "static", None).model, encode_task(encoder(0.0), data(), SCORING)
    for texts in islice(epochs(48, BATCH, rng.stream(SEED, "order", "primary")), 2):
        (classification(oracle.language_model, oracle.classifier, task.train, texts) / 2).backward()
    assert_close(gradients(made), {n: p.grad for n, p in oracle.named_parameters() if p.grad is not None})
    assert not [name for name in gradients(made) if ".cls." in name]  # the LM head is left alone


def test_nothing_selected_adds_nothing_and_is_counted() -> None:
    made = trajectory(config(2), "meta", masks(0.0))
    losses = made.stepper.window(1)
    assert set(losses) == {"primary"}
    assert made.stepper.empty_mlm_batches == 2
    made.weighting.update()
    cosines = [logit - 0.5 for logit in made.weighting.state().tolist()]
    assert cosines[1] == 0.0
    assert np.isfinite(cosines[0])
    assert cosines[0] != 0
    alone = trajectory(config(2), "static", masks(0.0))
    alone.stepper.window(1)
    assert_close(gradients(made), gradients(alone))
    assert not [name for name in gradients(made) if ".cls." in name]


def test_masks_do_not_depend_on_the_number_of_chunks() -> None:
    auxiliary, tokenizer = masks(), encoder(0.0).tokenizer
    seen = []
    for buckets in (1, 2, 5):
        chunks = auxiliary.chunks(range(10), buckets, tokenizer, rng.stream(0, "mask"), torch.device("cpu"))
        rows = [
            (ids[attended.bool()].tolist(), labels[attended.bool()].tolist())
            for chunk in chunks
            for ids, attended, labels in zip(*chunk[:3], strict=True)
        ]
        assert all(chunk.attention_mask.sum(dim=1).max() == chunk.input_ids.shape[1] for chunk in chunks)
        seen.append(rows)
    assert seen[0] == seen[1] == seen[2]


def test_a_higher_probability_selects_more_of_the_same_draws() -> None:
    """Arms that differ in probabilities alone share their draws: what the lower one selects, the higher one does."""
    selected = {}
    for probability in (0.2, 0.6):
        chunks = masks(probability).chunks(
            range(12), 1, encoder(0.0).tokenizer, rng.stream(0, "mask"), torch.device("cpu")
        )
        selected[probability] = chunks[0].labels != -100
    assert (selected[0.2] <= selected[0.6]).all()
    assert selected[0.2].sum() < selected[0.6].sum()


def fitted_by_hand(stepper: Stepper, meta: MetaConfig, update: int) -> ClassificationHead:
    """The dev head without dropout, its features computed anew for every step."""
    validation = stepper.validation
    head = ClassificationHead(32, 3, 0.0, rng.stream(SEED, "dev-head", update))
    sample = next(draws(len(validation.labels), meta.head_sample, rng.stream(SEED, "dev-sample", update)))
    optimiser = torch.optim.AdamW(head.parameters(), lr=meta.head_lr, betas=(0.9, 0.98), weight_decay=meta.head_decay)
    for _ in range(meta.head_iterations):
        optimiser.zero_grad()
        classification(stepper.model.language_model, head, validation, sample).backward()
        optimiser.step()
    return head


@pytest.mark.parametrize("scope", ["encoder", "reference"])
def test_cosines_are_those_of_the_definition(scope: str) -> None:
    meta = MetaConfig(lr=1.0, cos_scope=scope, head_lr=1e-2, head_sample=8, head_iterations=4, head_tolerance=0.0)
    auxiliary = masks()
    made = trajectory(config(2, meta=meta), "meta", auxiliary)
    made.stepper.window(1)
    made.weighting.update()

    oracle = trajectory(config(2, meta=meta), "meta", auxiliary)
    model, task, generator = oracle.model, encode_task(encoder(0.0), data(), SCORING), rng.stream(SEED, "mask")
    body, lm_head = model.body_parameters(), model.mlm_head_parameters()
    head = fitted_by_hand(oracle.stepper, meta, 1)

    def flat(loss: Tensor, parameters: list[nn.Parameter]) -> np.ndarray:
        found = torch.autograd.grad(loss, parameters)
        return np.concatenate([gradient.double().numpy().ravel() for gradient in found])

    streams = (
        draws(48, BATCH, rng.stream(SEED, "order", "primary")),
        epochs(48, BATCH, rng.stream(SEED, "order", "mlm")),
        draws(30, BATCH, rng.stream(SEED, "dev-batch")),
    )
    expected = []
    for texts, units, dev_texts in islice(zip(*streams, strict=True), 2):
        dev = flat(classification(model.language_model, head, task.validation, dev_texts), body)
        first = flat(classification(model.language_model, model.classifier, task.train, texts), body)
        whole = flat(mlm(model.language_model, auxiliary, units, generator), body + lm_head)
        second = whole[: len(dev)]
        length = np.linalg.norm(whole if scope == "reference" else second)
        expected.append(
            [
                dev @ first / np.linalg.norm(dev) / np.linalg.norm(first),
                dev @ second / np.linalg.norm(dev) / length,
            ]
        )
    found = [logit - 0.5 for logit in made.weighting.state().tolist()]
    assert found == pytest.approx(np.mean(expected, axis=0).tolist(), rel=1e-3, abs=1e-5)


def test_meta_weights_without_an_auxiliary_task_have_one_cosine() -> None:
    made = trajectory(config(1, meta=MetaConfig(cos_scope="reference")), "meta", None)
    made.stepper.window(1)
    made.weighting.update()
    assert made.weighting.weights().tolist() == [1.0]


def heads(dev_mode: str, dropout: float, precision: str = "float32", **meta: object) -> list[Tensor]:
    settled = dataclasses.replace(
        config(meta=MetaConfig(dev_mode=dev_mode, head_sample=8, **meta)),
        precision=precision,
        model=dataclasses.replace(config().model, dropout=dropout),
    )
    made = trajectory(settled, "meta", masks(), dropout)
    before = copy.deepcopy(made.model.state_dict())
    head = made.stepper.fit_dev_head(1)
    assert made.model.training
    assert all(torch.equal(before[name], value) for name, value in made.model.state_dict().items())
    assert head.training == (dev_mode != "eval")
    return [p.detach() for p in head.parameters()]


def test_dev_mode_says_whether_dropout_is_active() -> None:
    still, with_dropout = heads("train", 0.0), heads("train", 0.5)
    assert all(torch.equal(a, b) for a, b in zip(still, heads("eval", 0.5), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(still, with_dropout, strict=True))


def seen_features(dev_mode: str, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Tensor], Tensor]:
    """What the dev head reads in each of its four steps, and its weights after them."""
    seen: list[Tensor] = []
    forward = ClassificationHead.forward

    def watched(head: ClassificationHead, features: Tensor) -> Tensor:
        seen.append(features.clone())
        return forward(head, features)

    monkeypatch.setattr(ClassificationHead, "forward", watched)
    meta = MetaConfig(dev_mode=dev_mode, head_sample=8, head_iterations=4, head_tolerance=0.0)
    made = trajectory(config(meta=meta), "meta", masks(), 0.3)
    before = torch.default_generator.get_state()
    head = made.stepper.fit_dev_head(1)
    assert torch.equal(before, torch.default_generator.get_state())
    monkeypatch.setattr(ClassificationHead, "forward", forward)
    return seen, head.out.weight.detach()


def test_train_draws_the_features_of_the_dev_head_anew_in_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    anew, weights = seen_features("train", monkeypatch)
    once, _ = seen_features("once", monkeypatch)
    without, _ = seen_features("eval", monkeypatch)
    assert [len(one) for one in (anew, once, without)] == [4, 4, 4]
    assert all(not torch.equal(anew[i], anew[j]) for i in range(4) for j in range(i))
    assert all(torch.equal(one, once[0]) for one in once)
    assert all(torch.equal(one, without[0]) for one in without)
    assert torch.equal(anew[0], once[0]), "the first draw is the same"
    assert not torch.equal(once[0], without[0])
    again, same = seen_features("train", monkeypatch)
    assert all(torch.equal(a, b) for a, b in zip(anew, again, strict=True))
    assert torch.equal(weights, same)


@pytest.mark.parametrize("dev_mode", ["train", "once", "eval"])
def test_the_dev_head_fit_ends_when_its_loss_settles(dev_mode: str) -> None:
    """By a break, or by further steps that change nothing."""
    every = {"head_lr": 0.01, "head_tolerance": 0.0}
    two, ten = (heads(dev_mode, 0.0, head_iterations=n, **every) for n in (2, 10))
    loose = heads(dev_mode, 0.0, head_iterations=10, head_lr=0.01, head_tolerance=100.0)
    assert all(torch.equal(a, b) for a, b in zip(two, loose, strict=True))
    assert not torch.equal(two[0], ten[0])


def test_the_dev_head_learns_at_every_step_in_bf16_too() -> None:
    """Autocast keeps copies of the weights: a fit inside one context would take its gradients at the start only."""
    fit = {"head_lr": 0.05, "head_iterations": 10, "head_tolerance": 1e-12}
    fresh = [p.detach() for p in ClassificationHead(32, 3, 0.0, rng.stream(SEED, "dev-head", 1)).parameters()]
    moves = [
        torch.cat([(a - b).flatten() for a, b in zip(heads("train", 0.0, precision, **fit), fresh, strict=True)])
        for precision in ("float32", "bf16")
    ]
    assert moves[1].norm() == pytest.approx(moves[0].norm().item(), rel=0.05)
    assert F.cosine_similarity(moves[0], moves[1], dim=0) > 0.95
