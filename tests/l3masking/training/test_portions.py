"""Where memory is short, a training makes the same updates in smaller portions (torch.OutOfMemoryError is made up)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from kept_snapshots import Memory, masked_texts
from short_memory import ShortMemory
from small_task import SCORING, data, digest, encoder, one_thread, scores, settings

from l3masking.masking.settings import MaskingConfig
from l3masking.memory import Halving, OutOfMemory, is_out_of_memory
from l3masking.methods import METHODS
from l3masking.regimes import Training, encode_inputs, encode_task, prepare
from l3masking.training.continual import adapt
from l3masking.training.evaluation import measure
from l3masking.training.mlm import TextSource
from l3masking.training.portions import Portions
from l3masking.training.settings import AdaptConfig, FinalConfig, MaskTuningConfig, MetaConfig

FINAL = FinalConfig(lr=3e-3, max_epochs=2, patience=2)
WINDOWS = ["stl", "rtm", "mtl_static", "mask_tuning", "mask_tuning_no_mlm"]
# long: l3masking and mask_tuning_two_rounds have the same stages
MORE = [pytest.param(method, marks=pytest.mark.long) for method in ("stl", "mask_tuning")]
WHOLE = ["l3masking", "mask_tuning_two_rounds", *MORE]
ROOM = 30  # ids at a time; a batch of 8 texts has up to 112 with padding, and more than 30 without


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    with one_thread():
        yield


def training(method: str, dropout: float, tuning: MaskTuningConfig | None = None) -> Training:
    arm, source = METHODS[method], data(48, 0.4)
    meta = MetaConfig(head_iterations=3, head_sample=20, dev_mode="train" if dropout else "eval")
    config = settings(max_epochs=1, lr=1e-3, every=2, final=FINAL, meta=meta, dropout=dropout)
    inputs = encode_inputs(arm, encoder(dropout), source, SCORING)
    needed = scores(source.mlm_texts) if arm.needs_scores else None
    masking = MaskingConfig(mean=0.2)
    return prepare(arm, encoder(dropout), inputs, masking=masking, config=config, seed=1, scores=needed, tuning=tuning)


def gradients(made: Any) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in made.model.named_parameters() if p.grad is not None}


def assert_same_streams(one: Any, other: Any) -> None:
    left, right = one.stepper.state(), other.stepper.state()
    assert left.tensors.keys() == right.tensors.keys()
    assert all(torch.equal(left.tensors[name], tensor) for name, tensor in right.tensors.items())
    assert left.facts["empty"] == right.facts["empty"]


@pytest.mark.parametrize(("method", "fill"), [*((name, "argmax") for name in WINDOWS), ("mask_tuning", "sample")])
def test_without_dropout_the_gradients_are_those_of_whole_batches(
    method: str, fill: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = training(method, 0.0, MaskTuningConfig(fill=fill))
    whole, short = made.trajectory(), made.trajectory()
    whole.model.train()
    short.model.train()
    expected = whole.stepper.window(1)
    memory = ShortMemory(monkeypatch, ROOM)
    found = short.stepper.window(1)
    assert memory.failed
    assert short.portions.micro_batch in (2, 4)
    right = gradients(whole)
    assert gradients(short).keys() == right.keys()
    largest = max(gradient.abs().max().item() for gradient in right.values())
    for name, gradient in gradients(short).items():
        assert torch.allclose(gradient, right[name], rtol=1e-3, atol=2e-6 * largest), name
    assert found.keys() == expected.keys()
    assert all(torch.allclose(found[name], expected[name], rtol=1e-5) for name in expected)
    assert_same_streams(short, whole)
    if whole.weighting.learns:
        whole.weighting.update()
        short.weighting.update()
        assert torch.allclose(short.weighting.weights(), whole.weighting.weights(), rtol=0, atol=1e-7)


@pytest.mark.parametrize(("method", "begin"), [("stl", 1), ("rtm", 0), ("rtm", 2), ("rtm", 7), ("mask_tuning", 3)])
def test_a_window_that_failed_is_made_again_from_its_beginning(
    method: str, begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whichever pass memory ended: bit by bit as if the portions had been small before. With dropout."""
    made = training(method, 0.1)
    short, small = made.trajectory(), made.trajectory()
    for one in (short, small):
        one.model.train()
    memory = ShortMemory(monkeypatch, ROOM, begin=begin)
    found = short.stepper.window(1)
    assert memory.failed
    small.portions.restore(short.portions.state())
    expected = small.stepper.window(1)
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert all(torch.equal(value, gradients(small)[name]) for name, value in gradients(short).items())
    assert_same_streams(short, small)
    assert short.model.training
    if short.weighting.learns:
        short.weighting.update()
        small.weighting.update()
        assert torch.equal(short.weighting.state(), small.weighting.state())


@pytest.mark.parametrize("method", WHOLE)
def test_a_training_with_short_memory_ends_and_says_so(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows, evaluations, the final stage and the first round.

    Cut anywhere and continued, it has the same bits, also where memory is no longer short: sizes are in the snapshots.
    """
    made = training(method, 0.1)
    memory, whole = ShortMemory(monkeypatch, ROOM), Memory()
    outcomes = made.run(["accuracy"], keeper=whole)
    assert 2 <= memory.failed <= 4 + 1 + math.log2(30), "sizes are kept from one window to the next"
    assert outcomes["accuracy"].micro_batch == 2
    assert {snapshot.facts["stage"] for snapshot in whole.kept} >= {"main", "final"}
    for snapshot in whole.kept:
        if snapshot.facts["stage"] != "first round":  # evaluations, which halve too, come behind it
            memory.room = 10**9
        assert digest(made.run(["accuracy"], keeper=Memory(snapshot))) == digest(outcomes)


def test_without_dropout_a_whole_training_is_the_same_up_to_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    made = training("l3masking", 0.0)
    (plain,) = made.run(["accuracy"]).values()
    ShortMemory(monkeypatch, ROOM)
    (found,) = made.run(["accuracy"]).values()
    assert (plain.micro_batch, found.micro_batch) == (None, 2)
    wanted = [pytest.approx(point["validation"], abs=1e-4) for point in plain.curve]
    assert [point["validation"] for point in found.curve] == wanted
    assert found.test_predictions == plain.test_predictions
    assert found.primary_examples == plain.primary_examples


@pytest.mark.parametrize("static", [False, True])
def test_masked_language_model_training_goes_on_in_portions(static: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = masked_texts()
    source = TextSource(count=len(texts), read=lambda: iter(texts))
    config = AdaptConfig(epochs=2, batch=8, accumulate=2, lr=1e-3, dev_share=0.2, static=static)

    def run(dropout: float, keeper: Memory) -> Any:
        saved = keeper.newest()
        masking = MaskingConfig(mean=0.3)
        return adapt(encoder(dropout), source, config, masking, seed=2, keeper=keeper, saved=saved)

    plain = run(0.0, Memory())
    memory, whole = ShortMemory(monkeypatch, 40), Memory()
    found = run(0.0, Memory())
    assert memory.failed == 2
    assert (plain.micro_batch, found.micro_batch) == (None, 2)
    assert found.masked_share == plain.masked_share, "no draw of a mask is counted twice"
    for name in ("train", "dev"):
        assert [p[name] for p in found.losses] == pytest.approx([p[name] for p in plain.losses], abs=1e-4)
    dropped = run(0.1, whole)
    memory.room = 10**9
    for snapshot in whole.kept:
        again = run(0.1, Memory(snapshot))
        assert again.losses == dropped.losses
        assert all(torch.equal(again.weights[name], value) for name, value in dropped.weights.items())


@pytest.mark.parametrize("method", ["rtm", "mask_tuning"])
def test_one_text_that_does_not_fit_ends_the_training(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = training(method, 0.1)
    memory = ShortMemory(monkeypatch, 3)
    with pytest.raises(OutOfMemory) as failed:
        made.run(["accuracy"])
    length = min(memory.passes)
    assert str(failed.value) == (
        f"out of memory with one text of {length} ids: lower scoring.max_length, or give the process more memory"
    )
    assert memory.failed <= 1 + math.log2(20), "each try halves"
    assert isinstance(failed.value.__cause__, torch.OutOfMemoryError)


def test_evaluation_takes_smaller_batches_and_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    made = training("stl", 0.1).trajectory()
    task = encode_task(encoder(0.1), data(48, 0.4), SCORING)
    plain = measure(made.model, task.validation, 3, "float32", Portions(8).tokens)
    tokens = Portions(8).tokens
    memory = ShortMemory(monkeypatch, 50)
    found = measure(made.model, task.validation, 3, "float32", tokens)
    assert found.predictions == plain.predictions
    assert found.metrics == pytest.approx(plain.metrics, rel=1e-5)
    assert 1 <= memory.failed <= math.log2(30)
    before = memory.failed
    measure(made.model, task.validation, 3, "float32", tokens)
    assert memory.failed == before, "the size is kept"


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError(), True),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"), True),
        (RuntimeError("std::bad_alloc"), True),
        (RuntimeError("CUDA error: device-side assert triggered"), False),
        (ValueError("out of memory"), False),
        (OutOfMemory("out of memory with one text"), False),
    ],
)
def test_what_is_tried_again(error: Exception, short: bool) -> None:
    assert is_out_of_memory(error) is short
    calls: list[int] = []
    one = Halving(8)

    def work() -> int:
        calls.append(one.size)
        if one.size > 2:
            raise error
        return one.size

    if short:
        assert one.attempt(work) == 2
        assert (calls, one.times) == ([8, 4, 2], 2)
    else:
        with pytest.raises(type(error)):
            one.attempt(work)
        assert calls == [8]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100])
def test_tries_are_at_most_the_logarithm(size: int) -> None:
    def always(one: Halving, take: Callable[[], int]) -> int:
        calls: list[int] = []

        def work() -> None:
            calls.append(take())
            one.taking(calls[-1], 10)
            raise MemoryError

        with pytest.raises(OutOfMemory, match="one text of 10 ids"):
            one.attempt(work)
        assert calls[-1] == 1
        return len(calls)

    of_texts, of_tokens = Halving(size), Halving(10 * size + 9, of_tokens=True)
    assert always(of_texts, lambda: of_texts.size) == 1 + int(math.log2(size))
    assert always(of_tokens, lambda: min(size, of_tokens.size // 10)) == 1 + int(math.log2(size))
