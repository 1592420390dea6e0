"""Trainings in buckets, as on a GPU, and recorded ones: the updates of a training on the CPU."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import pytest
import torch
from small_task import SCORING, data, encoder, one_thread, run, scores, settings
from taped import TapeRecorder
from torch import Tensor

from l3masking import graphs
from l3masking.encoders import load
from l3masking.graphs import Programs, record_work
from l3masking.masking.settings import MaskingConfig
from l3masking.memory import free_memory
from l3masking.methods import METHODS
from l3masking.regimes import Inputs, encode_task, prepare
from l3masking.scoring.words import encode_as
from l3masking.training import passes
from l3masking.training.outcome import Outcome
from l3masking.training.settings import FinetuneConfig, MetaConfig
from l3masking.training.trajectory import Trajectory

SEED = 3
MASKING = MaskingConfig(mean=0.3)
Forced = Callable[..., TapeRecorder]


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with one_thread():
        yield


@pytest.fixture(autouse=True)
def _process(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("wanted", True), ("failed", False)):
        monkeypatch.setattr(graphs._Process, name, value)


@pytest.fixture
def in_buckets(monkeypatch: pytest.MonkeyPatch) -> Forced:
    """From the call on, trainings on the CPU go as on a GPU, and record their passes where that is asked for."""

    def forced(*, recorded: bool) -> TapeRecorder:
        recorder = TapeRecorder()
        monkeypatch.setattr(load, "BUCKETS_ON", ("cpu",))
        monkeypatch.setattr(passes, "Programs", lambda: Programs(lambda: recorder))
        record_work(recorded)
        return recorder

    return forced


def started(config: FinetuneConfig, weighting: str, dropout: float, device: str = "cpu") -> Trajectory:
    """A training of L3Masking before its first update."""
    placed = encoder(dropout).copied()
    placed.model.to(device)
    task, texts = encode_task(placed, data(), SCORING), data().mlm_texts
    inputs = Inputs(task=task, mlm=encode_as(SCORING, placed.tokenizer, texts))
    given = METHODS["l3masking"], placed, inputs
    training = prepare(*given, masking=MASKING, config=config, seed=SEED, scores=scores(texts))
    made = dataclasses.replace(training, weighting=weighting).trajectory()
    made.model.train()
    return made


def course(made: Trajectory, updates: int = 4) -> list[Tensor]:
    """Losses, gradients and task weights of some updates, each a step of plain descent."""
    found = list[Tensor]()
    for update in range(1, updates + 1):
        losses = made.stepper.window(update)
        gradients = [parameter.grad for parameter in made.model.parameters() if parameter.grad is not None]
        found += [*losses.values(), torch.cat([gradient.flatten() for gradient in gradients]), made.weighting.weights()]
        with torch.no_grad():
            for parameter in made.model.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=0.05)
        if made.weighting.learns:
            made.weighting.update()
    return [tensor.clone() for tensor in found]


def assert_near(found: list[Tensor], wanted: list[Tensor], off: float) -> None:
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=off, rtol=off)


@pytest.mark.parametrize(("weighting", "dev_mode"), [("static", "eval"), ("meta", "eval"), ("meta", "train")])
def test_updates_are_those_without_buckets_and_a_replay_changes_nothing(
    in_buckets: Forced, weighting: str, dev_mode: str
) -> None:
    """Without dropout within rounding; with dropout, whose draws are others in buckets, recorded as not recorded."""
    meta = MetaConfig(head_iterations=3, dev_mode=dev_mode)
    calm, lively = (settings(dropout=dropout, meta=meta) for dropout in (0.0, 0.1))
    wanted, plain = course(started(calm, weighting, 0.0)), course(started(lively, weighting, 0.1))
    for recorded in (False, True):
        in_buckets(recorded=recorded)
        assert_near(course(started(calm, weighting, 0.0)), wanted, 1e-5)
    in_buckets(recorded=False)
    wanted = course(started(lively, weighting, 0.1))
    assert not torch.allclose(wanted[0], plain[0])
    recorder = in_buckets(recorded=True)
    assert_near(course(started(lively, weighting, 0.1)), wanted, 1e-6)
    assert recorder.replayed > recorder.recorded >= 2


def test_smaller_portions_are_recorded_too_and_memory_is_given_back(in_buckets: Forced) -> None:
    config, found = settings(dropout=0.1, batch=12), list[list[Tensor]]()
    for recorded in (False, True):
        recorder = in_buckets(recorded=recorded)
        made = started(config, "static", 0.1)
        found.append(course(made, 2))
        made.portions.texts.size, made.portions.texts.times = 5, 1
        free_memory()
        before = recorder.recorded
        found[-1] += course(made, 3)
        assert (recorder.recorded > before > 0) == recorded
    assert_near(found[1], found[0], 1e-6)


def test_a_batch_without_masks_gives_no_gradient_of_an_earlier_one(in_buckets: Forced) -> None:
    in_buckets(recorded=True)
    made = started(settings(dropout=0.0, accumulate=1), "static", 0.0)
    for update in range(1, 5):
        made.stepper.window(update)
    auxiliary = made.stepper.auxiliary
    made.stepper.auxiliary = dataclasses.replace(auxiliary, probabilities=[0 * row for row in auxiliary.probabilities])
    losses = made.stepper.window(5)
    assert set(losses) == {"primary"}
    assert made.stepper.empty_mlm_batches == 1
    assert not any(parameter.grad.any() for parameter in made.model.mlm_head_parameters() if parameter.grad is not None)


def test_a_whole_training_is_the_same_recorded_or_not(in_buckets: Forced) -> None:
    """With its final stage."""
    outcomes = list[Outcome]()
    for recorded in (False, True):
        recorder = in_buckets(recorded=recorded)
        outcomes.append(run("l3masking", settings(max_epochs=2))["accuracy"])
        assert bool(recorder.replayed) == recorded
    first, second = outcomes
    assert first.test_predictions == second.test_predictions
    for one, other in zip(first.curve, second.curve, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-5)
    assert_near([*second.weights.values()], [*first.weights.values()], 1e-5)


def test_a_training_whose_passes_cannot_be_recorded_goes_on(
    in_buckets: Forced, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    in_buckets(recorded=False)
    wanted = course(started(settings(), "static", 0.1), 3)
    recorder = in_buckets(recorded=True)
    record = recorder.record

    def failing(work: Callable[[], list[Tensor]]) -> graphs.Recorded:
        record(work)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(recorder, "record", failing)
    made = started(settings(), "static", 0.1)
    assert_near(course(made, 3), wanted, 0.0)
    assert recorder.recorded == 1
    assert not made.portions.texts.times
    assert [record.name for record in caplog.records] == ["l3masking.graphs"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("weighting", ["static", "meta"])
def test_on_a_gpu_graphs_give_what_launches_give(
    weighting: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """With dropout; sums in no fixed order differ in their last bits. Without dropout, what a CPU gives."""
    recorded, record = list[int](), graphs.CudaRecorder.record
    monkeypatch.setattr(graphs.CudaRecorder, "record", lambda *given: (recorded.append(1), record(*given))[1])
    meta = MetaConfig(head_iterations=3, dev_mode="train")
    for dropout, off in ((0.1, 1e-4), (0.0, 1e-4)):
        config, found = settings(dropout=dropout, meta=meta), list[list[Tensor]]()
        for wanted in (False, True):
            record_work(wanted)
            found.append(course(started(config, weighting, dropout, "cuda"), 8))
            assert bool(recorded) == wanted
        assert_near(found[1], found[0], off)
        recorded.clear()
        if not dropout:
            on_cpu = course(started(config, weighting, dropout), 8)
            assert_near([tensor.cpu() for tensor in found[1]], on_cpu, 1e-3)
    assert not caplog.records


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_on_a_gpu_a_recording_that_fails_leaves_all_in_order(caplog: pytest.LogCaptureFixture) -> None:
    programs, x = Programs(), torch.ones(64, device="cuda")

    def looks(given: Sequence[Tensor]) -> list[Tensor]:
        return [torch.nn.functional.dropout(given[0], 0.5) * float(given[0].sum())]

    stream = torch.cuda.current_stream()
    for _ in range(4):
        torch.cuda.manual_seed(1)
        (found,) = programs.run("key", looks, [x])
        torch.cuda.manual_seed(1)
        assert torch.equal(found, looks([x])[0])
    assert torch.cuda.current_stream() == stream
    assert len(caplog.records) == 1
    graphs._Process.failed = False
    torch.cuda.empty_cache()
    for _ in range(4):
        torch.cuda.manual_seed(2)
        (found,) = programs.run("other", lambda given: [torch.nn.functional.dropout(given[0], 0.5)], [x])
        torch.cuda.manual_seed(2)
        assert torch.equal(found, torch.nn.functional.dropout(x, 0.5))
    assert len(caplog.records) == 1
