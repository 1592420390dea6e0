"""Whole runs on the small task: that they learn, keep the right weights, count rightly, and repeat to the bit."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from short_runs import NOISY, SHORT, auxiliary, same, task
from small_task import data, encoder, one_thread, run, settings
from torch import Tensor

from l3masking.encoders.weights import restore_weights, weights_of
from l3masking.errors import InputError
from l3masking.masking.settings import MaskingConfig
from l3masking.metrics import METRICS
from l3masking.training import trajectory
from l3masking.training.batches import Chunk
from l3masking.training.early_stopping import Selection
from l3masking.training.evaluation import NonFiniteLoss, Task, check_course
from l3masking.training.loop import fine_tune
from l3masking.training.optim import linear_factor
from l3masking.training.settings import FinalConfig
from l3masking.training.steps import Examples
from l3masking.training.trajectory import Trajectory

NO_FINAL = FinalConfig(enabled=False)


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.mark.parametrize("method", ["stl", "rtm", "l3masking"])
def test_a_learnable_task_is_learned(method: str) -> None:
    config = settings(batch=16, accumulate=1, max_epochs=15, every=15)
    outcome = run(method, config, source=data(96), objectives=["accuracy"])["accuracy"]
    # chance is 1/3; 33 test texts: a standard deviation of .082 there, five of which lead to .74
    assert outcome.test["accuracy"] > 0.75
    assert outcome.validation["accuracy"] > 0.75
    losses = [point["train_loss"] for point in outcome.curve]
    assert losses[-1]["primary"] < 0.7 * losses[0]["primary"]
    if method != "stl":
        assert losses[-1]["mlm"] < losses[0]["mlm"]


@pytest.mark.parametrize("method", ["stl", "rtm"])
def test_the_outcome_belongs_to_the_best_evaluation(method: str) -> None:
    config = settings(batch=4, max_epochs=6, lr=1e-2, every=2, final=NO_FINAL)
    for objective, outcome in run(method, config, source=NOISY).items():
        values = [point["validation"][objective] for point in outcome.curve]
        assert outcome.validation[objective] == max(values)
        best = max(index for index, value in enumerate(values) if value == max(values))  # ties: the latest
        assert outcome.epochs_to_best == outcome.curve[best]["epoch"]
        assert outcome.validation == {name: outcome.curve[best]["validation"][name] for name in METRICS}
        assert outcome.final_stage == {"enabled": False, "epochs": 0, "kept": False}
        assert len(set(values)) > 1


def test_the_weights_left_are_those_that_were_tested(short) -> None:
    for outcome in short.values():
        made = Trajectory(encoder(), task(), SHORT, 0, None, "static")
        restore_weights(made.model, outcome.weights)
        made.model.eval()
        predicted = []
        with torch.no_grad():
            for row in made.task.test.input_ids:  # one by one, without padding
                ids = torch.from_numpy(row)[None]
                chunk = Chunk.of(ids, torch.ones_like(ids), torch.zeros(1))
                predicted.append(int(made.model.classifier(made.model.features([chunk])).argmax()))
        assert predicted == outcome.test_predictions
        labels = list(data().test.labels)
        assert outcome.test == {name: metric(predicted, labels, 3) for name, metric in METRICS.items()}


def test_a_final_stage_that_changes_nothing_is_not_kept() -> None:
    still = FinalConfig(lr=1e-30, max_epochs=5, patience=2)
    without, outcome = (run("stl", settings(max_epochs=4, final=f))["accuracy"] for f in (NO_FINAL, still))
    assert outcome.final_stage == {"enabled": True, "epochs": 2, "kept": False}
    assert same(outcome.weights, without.weights)
    assert (outcome.validation, outcome.test) == (without.validation, without.test)


def test_a_final_stage_that_harms_is_undone() -> None:
    harm = FinalConfig(lr=10.0, max_epochs=2, patience=2)
    config = settings(batch=16, accumulate=1, max_epochs=8, every=6)
    without, outcome = (
        run("stl", dataclasses.replace(config, final=f), source=data(96), objectives=["accuracy"])["accuracy"]
        for f in (NO_FINAL, harm)
    )
    assert without.validation["accuracy"] > 0.6
    assert outcome.final_stage["kept"] is False
    assert same(outcome.weights, without.weights)


def test_a_final_stage_that_helps_is_kept_and_changes_no_lm_head() -> None:
    final = FinalConfig(lr=5e-3, max_epochs=12, patience=4)
    config = settings(batch=16, accumulate=1, max_epochs=1, lr=1e-4, every=1, final=final)
    without, outcome = (
        run("rtm", dataclasses.replace(config, final=f), source=data(96), objectives=["accuracy"])["accuracy"]
        for f in (NO_FINAL, final)
    )
    assert outcome.final_stage["kept"] is True
    assert outcome.validation["accuracy"] > without.validation["accuracy"]
    assert outcome.curve == without.curve  # the stage has no points of its own
    lm_head = [name for name in outcome.weights if ".cls." in name]
    assert lm_head
    assert all(torch.equal(outcome.weights[name], without.weights[name]) for name in lm_head)
    body = "language_model.bert.encoder.layer.0.output.dense.weight"
    assert not torch.equal(outcome.weights[body], without.weights[body])


@dataclass(frozen=True, eq=False)
class Watched(Examples):
    """Examples that write down which of them were read."""

    name: str
    log: list[tuple[str, list[int]]] = field(default_factory=list)

    def chunks(self, indices, num_chunks, pad_id, device):
        self.log.append((self.name, list(indices)))
        return super().chunks(indices, num_chunks, pad_id, device)


@pytest.mark.parametrize("units", [None, "masked"])
def test_the_test_split_is_read_once_and_last(units) -> None:
    log: list[tuple[str, list[int]]] = []
    plain = task()
    parts = {name: getattr(plain, name) for name in ("train", "validation", "test")}
    watched = Task(**{n: Watched(p.input_ids, p.labels, n, log) for n, p in parts.items()}, num_classes=3)
    method = {"auxiliary": auxiliary(), "weighting": "meta"} if units else {}
    fine_tune(encoder(), watched, settings(max_epochs=2), seed=0, objectives=["accuracy"], **method)
    names = [name for name, _ in log]
    assert names.index("test") == len(names) - 1  # 33 short texts are one batch
    assert sorted(log[-1][1]) == list(range(33))
    assert {"train", "validation"} <= set(names)


def test_counts_by_hand() -> None:
    """48 texts, 2 x 8 per update: 3 updates an epoch, 12 in all, seen at 5, 10 and 12."""
    config = settings(max_epochs=4, every=5, final=NO_FINAL)
    seen: list[int] = []
    made = fine_tune(
        encoder(),
        task(),
        config,
        seed=0,
        auxiliary=auxiliary(),
        weighting="static",
        on_evaluation=lambda point: seen.append(point["update"]),
    )
    outcome = made["accuracy"]
    assert seen == [5, 10, 12]
    assert [point["epoch"] for point in outcome.curve] == [5 * 16 / 48, 10 * 16 / 48, 4.0]
    assert (outcome.updates, outcome.primary_examples) == (12, 192)
    assert (outcome.mlm_passes, outcome.epochs_to_stop, outcome.empty_mlm_batches) == (4.0, 4.0, 0)
    assert outcome.curve[0]["task_weights"] == {"primary": 0.5, "mlm": 0.5}


def test_counts_where_a_run_stops_early() -> None:
    """Patience 2: the first evaluation at which the last two lie below the best, and none before."""
    config = settings(batch=4, max_epochs=9, lr=1e-2, every=2, patience=2, final=NO_FINAL)
    for objective, outcome in run("stl", config, source=NOISY).items():
        values = [point["validation"][objective] for point in outcome.curve]
        assert outcome.updates == outcome.curve[-1]["update"] == 2 * len(values) < 45
        assert max(values[-2:]) < max(values)
        for seen in range(3, len(values)):
            assert max(values[:seen][-2:]) == max(values[:seen])
        assert outcome.primary_examples == 8 * outcome.updates
        assert outcome.epochs_to_stop == 8 * outcome.updates / 40


def test_epochs_as_the_unit_of_evaluation() -> None:
    outcome = run("stl", settings(max_epochs=5, every=2, unit="epochs", final=NO_FINAL))["accuracy"]
    assert [point["update"] for point in outcome.curve] == [6, 12, 15]
    assert [point["epoch"] for point in outcome.curve] == [2.0, 4.0, 5.0]


@pytest.mark.parametrize("method", ["stl", "rtm"])
def test_a_batch_larger_than_the_data(method: str) -> None:
    outcome = run(method, settings(batch=64, accumulate=2, max_epochs=2, every=1))["accuracy"]
    assert (outcome.updates, outcome.primary_examples, outcome.epochs_to_stop) == (2, 192, 4.0)
    assert outcome.mlm_passes == (0.0 if method == "stl" else 4.0)


def test_a_mask_mean_of_zero_trains_on_the_primary_task_alone() -> None:
    outcome = run("rtm", SHORT, masking=MaskingConfig(mean=0.0))["accuracy"]
    assert outcome.empty_mlm_batches == 2 * outcome.updates
    assert all(set(point["train_loss"]) == {"primary"} for point in outcome.curve)
    vanilla = dict(encoder().model.named_parameters())
    for name, value in outcome.weights.items():
        if ".cls." in name:
            assert torch.equal(value, vanilla[name.removeprefix("language_model.")])


def test_a_mask_mean_of_one_works() -> None:
    outcome = run("l3masking", settings(max_epochs=1), masking=MaskingConfig(mean=1.0))["accuracy"]
    assert np.isfinite(outcome.curve[-1]["train_loss"]["mlm"])


def test_the_learning_rate_is_zero_at_first_and_each_part_has_its_own() -> None:
    """Warm-up over 2 of 4 updates: nothing moves in the first, and a head rate of 1e-9 holds the head in all."""
    base = settings(max_epochs=4, batch=24, every=1, final=NO_FINAL)
    optim = dataclasses.replace(base.optim, warmup=0.5, head_lr=1e-9)
    made = Trajectory(encoder(), task(), dataclasses.replace(base, optim=optim), 0, auxiliary(), "static")
    at: list[dict[str, Tensor]] = [weights_of(made.model)]
    selections = [Selection(objective="accuracy", config=base.stop)]
    made.main_stage(selections, lambda point: at.append(weights_of(made.model)))
    assert len(at) == 5
    assert same(at[0], at[1])
    word = "language_model.bert.embeddings.word_embeddings.weight"
    assert not torch.equal(at[1][word], at[2][word])
    assert torch.allclose(at[0]["classifier.out.weight"], at[4]["classifier.out.weight"], atol=1e-7, rtol=0)


def test_bf16_trains_and_is_not_float32(short) -> None:
    outcome = run("l3masking", dataclasses.replace(SHORT, precision="bf16"))["accuracy"]
    ours, theirs = (o.curve[0]["train_loss"] for o in (outcome, short["accuracy"]))
    assert ours != theirs
    assert ours == pytest.approx(theirs, rel=0.05)
    assert all(value.dtype == torch.float32 for value in outcome.weights.values())


@pytest.mark.parametrize("method", ["stl", "l3masking"])
def test_a_loss_that_is_not_finite_ends_the_run(method: str) -> None:
    with pytest.raises(NonFiniteLoss, match=r"not finite at update \d+"):
        run(method, settings(lr=1e18, max_epochs=4))


def test_a_final_stage_that_diverges_ends_the_run() -> None:
    with pytest.raises(NonFiniteLoss, match=r"final stage, epoch \d+, update \d+ \(lr 1e\+18\): "):
        run("stl", settings(max_epochs=2, final=FinalConfig(lr=1e18)))


def test_the_message_names_update_learning_rate_and_the_last_finite_loss() -> None:
    """A learning rate of 1e10: the step named is the first whose loss is no number, not the evaluation after it."""
    with pytest.raises(NonFiniteLoss) as failed:
        run("l3masking", settings(lr=1e10, max_epochs=12, every=9))
    found = re.fullmatch(
        r"not finite at update (\d+) \(lr (\S+)\): (.*(?:nan|inf).*); last finite loss: (none|(?:mlm|primary) .*)",
        str(failed.value),
    )
    assert found is not None, str(failed.value)
    total, warmup = 36, 2
    assert float(found[2]) == pytest.approx(1e10 * linear_factor(int(found[1]) - 1, total, warmup), rel=1e-2)


def test_the_first_loss_that_is_not_finite_is_named() -> None:
    losses = [{"primary": torch.tensor(value)} for value in (2.0, 1.5, math.inf, math.nan)]
    how = {"rate": lambda at: at / 100, "earlier": {"primary": 3.0}}
    check_course("", 8, losses, {"primary": 1.0}, **how)
    with pytest.raises(NonFiniteLoss, match=r"^not finite at update 7 \(lr 0.07\): primary inf; .* primary 1.5$"):
        check_course("", 8, losses, {"primary": math.nan}, **how)
    with pytest.raises(NonFiniteLoss, match=r"at update 8 \(lr 0.08\): primary nan; last finite loss: primary 3$"):
        check_course("", 8, losses[3:], {"primary": math.nan}, **how)
    with pytest.raises(NonFiniteLoss, match=r"at update 6 \(lr 0.06\): loss inf; last finite loss: primary 1.5$"):
        check_course("", 6, losses[:2], {"loss": math.inf}, **how)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_that_is_no_number_ends_the_run(value: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(METRICS, "accuracy", lambda *_: value)
    with pytest.raises(NonFiniteLoss, match=f"accuracy {value}"):
        run("stl", settings(max_epochs=1))


def test_weights_that_overflow_on_the_test_texts_alone_end_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    measured = trajectory.measure

    def overflows(model, examples, *how):
        found = measured(model, examples, *how)
        return found._replace(metrics={**found.metrics, "loss": math.nan}) if len(examples.labels) == 33 else found

    monkeypatch.setattr(trajectory, "measure", overflows)
    with pytest.raises(NonFiniteLoss, match="the chosen weights"):
        run("stl", settings(max_epochs=1))


def test_unknown_names_are_refused() -> None:
    for wrong in ({"objectives": ["loss"]}, {"objectives": ["accuracy", "f1"]}, {"weighting": "learned"}):
        with pytest.raises(InputError, match="not a known value"):
            fine_tune(encoder(), task(), SHORT, seed=0, **wrong)
