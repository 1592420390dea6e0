"""Mask-tuning against a plain implementation of one update, and what its parts promise."""

from __future__ import annotations

import copy
import dataclasses
import math

import numpy as np
import pytest
import torch
from small_task import SCORING, data, digest, encoder, one_thread, settings, tokenizer

from l3masking.encoders.weights import weights_of
from l3masking.errors import InputError
from l3masking.masking.corruption import IGNORED, corrupt
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.regimes import Training, encode_inputs, prepare
from l3masking.rng import stream
from l3masking.stages import MaskTune
from l3masking.training import steps
from l3masking.training.batches import epochs
from l3masking.training.filling import choose, predicted
from l3masking.training.settings import FinalConfig, MaskTuningConfig, ModelConfig
from l3masking.training.two_rounds import first_round

SIGMAS = 5
SPECIAL = torch.arange(5)


@pytest.fixture(autouse=True)
def alone():
    with one_thread():
        yield


def training(
    name: str = "mask_tuning",
    tuning: MaskTuningConfig | None = None,
    *,
    dropout: float = 0.1,
    seed: int = 0,
    max_epochs: int = 4,
    **changes,
) -> Training:
    method, made = METHODS[name], encoder(dropout)
    config = settings(max_epochs=max_epochs, every=6, **changes)
    if not dropout:
        config = dataclasses.replace(config, model=ModelConfig(dropout=0.0))
    inputs = encode_inputs(method, made, data(), SCORING)
    tuning = tuning or MaskTuningConfig(rate=0.3)
    return prepare(method, made, inputs, masking=MaskingConfig(), config=config, seed=seed, tuning=tuning)


@pytest.mark.parametrize(
    ("rate", "least", "eligible", "wanted"),
    [(0.05, 1, 10, 1), (0.05, 1, 50, 2), (0.3, 1, 9, 3), (0.05, 2, 1, 1), (1.0, 1, 4, 4), (0.05, 1, 0, 0)],
)
def test_as_many_tokens_as_asked_for_are_masked(rate, least, eligible, wanted) -> None:
    weights = torch.zeros(200, eligible + 3, dtype=torch.float64)
    weights[:, 1 : eligible + 1] = 0.2
    config = MaskTuningConfig(rate=rate, least=least)
    chosen = choose(weights, torch.full((200,), eligible), config, stream(1, "mask"))
    assert chosen.sum(dim=1).tolist() == [wanted] * 200
    assert not chosen[weights == 0].any()
    if 0 < wanted < eligible:
        shares = chosen[:, 1 : eligible + 1].double().mean(dim=0)
        chance = wanted / eligible
        assert (shares - chance).abs().max() < SIGMAS * math.sqrt(chance * (1 - chance) / 200)


def test_one_of_two_is_chosen_in_proportion_to_its_weight() -> None:
    weights = torch.tensor([[0.75, 0.25]], dtype=torch.float64).expand(20_000, 2)
    chosen = choose(weights, torch.full((20_000,), 2), MaskTuningConfig(rate=0.5), stream(2, "mask"))
    share = float(chosen[:, 0].double().mean())
    assert abs(share - 0.75) < SIGMAS * math.sqrt(0.75 * 0.25 / 20_000)


def logits() -> torch.Tensor:
    """Three rows over the vocabulary, a special token the likeliest of each."""
    values = torch.randn((3, len(tokenizer())), generator=torch.Generator().manual_seed(0))
    values[:, 0] = 50.0
    return values


def test_the_likeliest_token_is_filled_in_and_never_a_special_one() -> None:
    expected = logits()
    expected[:, SPECIAL] = -math.inf
    found = predicted(logits(), torch.zeros(3, dtype=torch.long), tokenizer(), MaskTuningConfig(), stream(0, "x"))
    assert found.tolist() == expected.argmax(dim=1).tolist()
    other = predicted(logits(), found, tokenizer(), MaskTuningConfig(forbid_original=True), stream(0, "x"))
    assert other.tolist() == expected.topk(2, dim=1).indices[:, 1].tolist()


@pytest.mark.parametrize("fill", ["argmax", "sample", "top_k"])
def test_rows_beyond_the_vocabulary_are_never_filled_in(fill: str) -> None:
    """Some models have more rows than their tokenizer has tokens."""
    wide = torch.cat([logits(), torch.full((3, 7), 60.0)], dim=1)
    found = predicted(wide, torch.zeros(3, dtype=torch.long), tokenizer(), MaskTuningConfig(fill=fill), stream(0, "x"))
    assert found.min() >= 5
    assert found.max() < len(tokenizer())


@pytest.mark.parametrize(("fill", "top"), [("sample", None), ("top_k", 3)])
def test_sampled_tokens_follow_the_prediction(fill: str, top: int | None) -> None:
    row = logits()[:1]
    row[:, SPECIAL] = -math.inf
    if top is not None:
        row = torch.where(row >= row.topk(top).values[:, -1:], row, -math.inf)
    chances = torch.softmax(row.double(), dim=-1)[0]
    config = MaskTuningConfig(fill=fill, top_k=top or 1)
    many = logits()[:1].expand(30_000, -1)
    found = predicted(many, torch.zeros(30_000, dtype=torch.long), tokenizer(), config, stream(3, "x"))
    shares = torch.bincount(found, minlength=len(chances)).double() / 30_000
    spread = (chances * (1 - chances) / 30_000).sqrt()
    assert torch.all((shares - chances).abs() <= SIGMAS * spread + 1e-12)


def test_an_update_is_that_of_a_plain_implementation() -> None:
    """Loops, whole logits and one text at a time, without dropout: the same loss and the same gradients."""
    tuning = MaskTuningConfig(rate=0.3, alpha=0.7)
    made = training(tuning=tuning, dropout=0.0, batch=4, accumulate=2)
    stepper = made.trajectory().stepper
    losses = stepper.window(1)

    model, head = copy.deepcopy(made.encoder.model).train(), copy.deepcopy(stepper.model.classifier)
    order, masks = epochs(len(made.task.train.labels), 4, stream(0, "order", "primary")), stream(0, "mask")
    parts = {"primary": [], "mlm": []}
    total = 0.0
    for _ in range(2):
        batch = sorted(next(order), key=lambda index: len(made.task.train.input_ids[index]))
        longest = len(made.task.train.input_ids[batch[-1]])
        weights = torch.zeros(4, longest, dtype=torch.float64)
        for row, index in enumerate(batch):
            weights[row, : len(made.tuning.weights[index])] = torch.from_numpy(made.tuning.weights[index])
        eligible = torch.tensor([int((made.tuning.weights[index] > 0).sum()) for index in batch])
        chosen = choose(weights, eligible, tuning, masks)
        mlm, fine = [], []
        for row, index in enumerate(batch):
            ids = made.task.train.input_ids[index].tolist()
            places = [place for place in range(len(ids)) if chosen[row, place]]
            assert len(places) == max(1, round(0.3 * (len(ids) - 2)))
            masked = [tokenizer().mask_token_id if place in places else one for place, one in enumerate(ids)]
            scores = model(input_ids=torch.tensor([masked])).logits[0]
            perturbed = list(ids)
            for place in places:
                mlm.append(-torch.log_softmax(scores[place], dim=-1)[ids[place]])
                allowed = [one for one in range(len(tokenizer())) if one >= 5]
                perturbed[place] = max(allowed, key=lambda one, place=place: float(scores[place, one].detach()))
            first = model.bert(input_ids=torch.tensor([perturbed]))[0][:, 0]
            answer = torch.log_softmax(head(first), dim=-1)[0]
            fine.append(-answer[int(made.task.train.labels[index])])
        parts["mlm"].append(sum(mlm) / len(mlm))
        parts["primary"].append(sum(fine) / 4)
        total = total + (0.7 * parts["mlm"][-1] + 0.3 * parts["primary"][-1]) / 2
    total.backward()
    for name, values in parts.items():
        assert float(losses[name]) == pytest.approx(float(sum(values).detach() / 2), abs=1e-6)
    theirs = dict(stepper.model.language_model.named_parameters())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(theirs[name].grad, parameter.grad, atol=1e-6, rtol=1e-5)
    for mine, other in zip(stepper.model.classifier.parameters(), head.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, atol=1e-6, rtol=1e-5)


def test_the_ends_of_alpha() -> None:
    """1: the classification head gets no gradient. 0: nor does the LM head, as in the ablation."""
    for alpha, still in ((1.0, "head"), (0.0, "lm_head")):
        stepper = training(tuning=MaskTuningConfig(alpha=alpha, rate=0.3)).trajectory().stepper
        stepper.window(1)
        assert all(not parameter.grad.any() for parameter in stepper.model.gradients.span(still).parameters)
    plain = training("mask_tuning_no_mlm").trajectory().stepper
    assert set(plain.window(1)) == {"primary"}
    assert all(not parameter.grad.any() for parameter in plain.model.mlm_head_parameters())


def test_alpha_1_moves_no_classification_head() -> None:
    made = training(tuning=MaskTuningConfig(alpha=1.0, rate=0.3), lr=3e-3, final=FinalConfig(enabled=False))
    still = dataclasses.replace(made.config, optim=dataclasses.replace(made.config.optim, head_decay=0.0))
    made = dataclasses.replace(made, config=still)
    before = weights_of(made.trajectory().model)
    after = made.run(("accuracy",))["accuracy"].weights
    heads = [name for name in before if name.startswith("classifier")]
    assert len(heads) == 4
    assert all(torch.equal(before[name], after[name]) for name in heads)
    assert not torch.equal(before["language_model.cls.predictions.bias"], after["language_model.cls.predictions.bias"])


def test_groups_of_tokens_are_refused() -> None:
    method = dataclasses.replace(METHODS["mask_tuning"], stages=(MaskTune(policy="whole_word"),))
    inputs = encode_inputs(method, encoder(), data(), SCORING)
    with pytest.raises(InputError, match="policy whole_word masks groups of tokens together"):
        prepare(method, encoder(), inputs, masking=MaskingConfig(), config=settings(), seed=0)


def planned(made: Training) -> int:
    return made.config.train.planned_updates(len(made.task.train.labels))


def test_the_first_of_two_rounds_masks_as_many_tokens_as_mask_tuning(monkeypatch: pytest.MonkeyPatch) -> None:
    made, counts = training("mask_tuning_two_rounds", max_epochs=1), []

    def counted(ids, probabilities, *given):
        drawn = corrupt(ids, probabilities, *given)
        for row, chances in zip(drawn.labels != IGNORED, probabilities, strict=True):
            counts.append((int(row.sum()), max(1, round(0.3 * int((chances > 0).sum())))))
        return drawn

    monkeypatch.setattr(steps, "corrupt", counted)
    first_round(made.encoder, made.task.train, made.tuning, made.config, seed=0, updates=planned(made))
    assert len(counts) == 48
    assert all(masked == wanted for masked, wanted in counts)


def test_it_learns_and_repeats_and_shares_its_trajectory() -> None:
    with_both = training(lr=3e-3).run(("accuracy", "macro_f1"))
    assert digest(with_both) == digest(training(lr=3e-3).run(("accuracy", "macro_f1")))
    alone = training(lr=3e-3).run(("macro_f1",))
    assert digest({"macro_f1": with_both["macro_f1"]}) == digest(alone)
    curve = with_both["accuracy"].curve
    learned = training(tuning=MaskTuningConfig(alpha=0.3), lr=3e-3, max_epochs=30).run(("accuracy",))["accuracy"].curve
    assert learned[-1]["train_loss"]["primary"] < 0.8 * learned[0]["train_loss"]["primary"]
    assert set(curve[0]["train_loss"]) == {"primary", "mlm"}
    assert curve[0]["task_weights"] == pytest.approx({"primary": 0.4, "mlm": 0.6})


def test_head_and_order_are_those_of_plain_fine_tuning() -> None:
    mine, plain = training().trajectory(), training("stl").trajectory()
    assert all(
        torch.equal(a, b)
        for a, b in zip(mine.model.classifier.parameters(), plain.model.classifier.parameters(), strict=True)
    )
    assert next(mine.stepper._primary) == next(plain.stepper._primary)
    assert mine.total == plain.total


def test_two_rounds_perturb_once_and_then_fine_tune() -> None:
    made = training("mask_tuning_two_rounds", lr=3e-3)
    trained, texts = first_round(made.encoder, made.task.train, made.tuning, made.config, seed=0, updates=planned(made))
    before = dict(made.encoder.model.named_parameters())
    assert any(not torch.equal(value, before[name]) for name, value in trained.model.named_parameters())
    for old, new in zip(made.task.train.input_ids, texts.input_ids, strict=True):
        assert len(old) == len(new)
        assert (old[0], old[-1]) == (new[0], new[-1])
        changed = int((old != new).sum())
        assert changed <= max(1, round(0.3 * (len(old) - 2)))
        assert not np.isin(new[1:-1], SPECIAL.numpy()).any() or np.array_equal(old, new)
    assert any(not np.array_equal(a, b) for a, b in zip(made.task.train.input_ids, texts.input_ids, strict=True))
    outcome = made.run(("accuracy",))["accuracy"]
    assert set(outcome.curve[0]["train_loss"]) == {"primary"}


def test_a_text_without_tokens_costs_nothing() -> None:
    made = training()
    nothing = dataclasses.replace(made.tuning, weights=[np.zeros_like(row) for row in made.tuning.weights])
    stepper = dataclasses.replace(made, tuning=nothing).trajectory().stepper
    losses = stepper.window(1)
    assert set(losses) == {"primary"}
    assert stepper.empty_mlm_batches == made.config.train.accumulate
    assert math.isfinite(float(losses["primary"]))


@pytest.mark.parametrize(
    "wrong", [{"alpha": 1.1}, {"alpha": -0.1}, {"rate": 0.0}, {"least": 0}, {"top_k": 0}, {"fill": "best"}]
)
def test_refused_settings(wrong: dict) -> None:
    with pytest.raises(InputError, match=f"mask_tuning.{next(iter(wrong))}"):
        MaskTuningConfig(**wrong)


def test_loss_of_masked_tokens_alone_is_the_mean_over_them() -> None:
    """Of two chunks with different numbers of masks the mean is over all masks, not over chunks."""
    base = training(dropout=0.0)
    few = base.trajectory().stepper
    train = dataclasses.replace(base.config.train, length_buckets=3)
    many = dataclasses.replace(base, config=dataclasses.replace(base.config, train=train)).trajectory().stepper
    first, second = few.window(1), many.window(1)
    for name in first:
        assert float(first[name]) == pytest.approx(float(second[name]), abs=1e-5)
