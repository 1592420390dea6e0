"""The training benchmarks run on a tiny encoder, time the same batches on both sides, and write finite numbers."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import end_to_end
import pytest
import torch
import training
import training_adapt
import warmup
from small_task import one_thread
from training_world import LENGTHS, read_world

from l3masking.training.steps import Auxiliary, Examples, Stepper

TINY = ["--layers", "1", "--hidden", "16", "--vocabulary", "90", "--num-texts", "60"]
SMALL = [*TINY, "--batch", "4", "--runs", "2", "--warmup", "0"]


@pytest.fixture(scope="module")
def given() -> argparse.Namespace:
    return training.arguments().parse_args(SMALL)


@pytest.fixture
def main(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Callable[..., str]]:
    """A benchmark in this process; what it said."""

    def called(benchmark: ModuleType, *words: object) -> str:
        monkeypatch.setattr(sys, "argv", [f"{benchmark.__name__}.py", *map(str, words)])
        benchmark.main()
        return capsys.readouterr().out

    with one_thread():
        yield called


def test_training_is_measured(main: Callable[..., str], tmp_path: Path) -> None:
    told = main(training, *SMALL, "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert (
        set(found["ratios"])
        == set(found["medians"])
        == {*("bare", "released", "padded", "stl_padded", "mask_tuning", "adapt")}
    )
    for name, (above, below) in {
        "bare": ("step", "bare"),
        "released": ("released", "step"),
        "padded": ("step", "padded"),
        "stl_padded": ("stl", "stl_padded"),
        "mask_tuning": ("mask_tuning", "stl"),
        "adapt": ("adapt", "adapt_bare"),
    }.items():
        values = [a / b for a, b in zip(found["seconds"][above], found["seconds"][below], strict=True)]
        assert found["ratios"][name] == pytest.approx(values)
        assert found["medians"][name] == pytest.approx(sum(values) / 2), "two runs"
        assert all(math.isfinite(value) and value > 0 for value in values)
    assert found["parts"]["dev head, whole"] > found["parts"]["dev head, features"] > 0
    assert 1 <= found["released_head_iterations"] <= 10
    assert "META-TARTAN step / its three bare passes: " in told


def test_one_comparison_alone(given: argparse.Namespace) -> None:
    alone = argparse.Namespace(**{**vars(given), "parts": ["bare"]})
    with one_thread():
        found = training.measure(read_world(alone), alone)
    assert list(found["ratios"]) == ["bare"]
    assert set(found["seconds"]) == {"step", "bare"}


def test_bare_passes_get_the_batches_of_the_step(given: argparse.Namespace) -> None:
    bench = training.Bench(read_world(given), given)
    stepper, scribe = (bench.stepper(bench.model, multi_task=True, buckets=2) for _ in range(2))
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    class Watched(Auxiliary):
        def chunks(self, *words):
            made = super().chunks(*words)
            seen.extend((chunk.input_ids, chunk.labels) for chunk in made)
            return made

    def watched(examples: Examples, indices):
        made = Stepper.chunks(stepper, examples, indices)
        seen.extend((chunk.input_ids, chunk.labels) for chunk in made)
        return made

    stepper.auxiliary = Watched(**vars(stepper.auxiliary))
    stepper.chunks = watched
    for update in (1, 2):
        seen.clear()
        bench.whole(stepper, update)
        window = training.draw(scribe, update)
        expected = list(scribe.chunks(scribe.validation, window.sample))
        for primary, mlm, dev in training.collate(scribe, window):
            expected += [*dev, *mlm, *primary]
        assert len(seen) == len(expected) == 2 * (1 + 3 * 2)
        for (ids, labels), chunk in zip(seen, expected, strict=True):
            assert torch.equal(ids, chunk.input_ids)
            assert torch.equal(labels, chunk.labels)


def test_bare_passes_of_the_stage_before_fine_tuning_get_its_batches(given: argparse.Namespace) -> None:
    bench = training.Bench(read_world(given), given)
    stage, scribe = (training_adapt.adaptation(bench) for _ in range(2))
    masked = training_adapt.masked_windows(scribe)
    for window in itertools.islice(stage.windows(), 2):
        for chunk, expected in zip([stage.masked_batch(b, fixed=False) for b in window], next(masked), strict=True):
            assert torch.equal(chunk.input_ids, expected.input_ids)
            assert torch.equal(chunk.labels, expected.labels)


def test_the_released_shape_computes_the_gradients_of_the_same_losses(given: argparse.Namespace) -> None:
    """Where padding and dropout play no part, both shapes have the same classification gradient."""
    bench = training.Bench(read_world(given), given)
    bench.model.eval()
    train, longest = bench.world.train, max(len(row) for row in bench.world.train.input_ids)
    indices = [index for index, row in enumerate(train.input_ids) if len(row) == longest][:3]
    bench.released.width = longest
    theirs = bench.released.classification_loss(train, indices, bench.model.classifier)
    stepper = bench.stepper(bench.model, multi_task=True, buckets=1)
    ours = bench.model.classification_loss(stepper.chunks(train, indices))
    assert theirs.item() == pytest.approx(ours.item(), abs=1e-6)
    body = bench.model.body_parameters()
    pairs = zip(
        *(torch.autograd.grad(loss, body, materialize_grads=True, allow_unused=True) for loss in (theirs, ours)),
        strict=True,
    )
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in pairs)


def test_the_released_step_fills_gradients_and_moves_its_weights(given: argparse.Namespace) -> None:
    bench = training.Bench(read_world(given), given)
    scribe = bench.stepper(bench.model, multi_task=True, buckets=1)
    bench.released.window(training.draw(scribe, 1))
    norms = [parameter.grad.norm() for parameter in bench.model.classifier.parameters()]
    assert torch.stack(norms).norm() <= 1 + 1e-3, "clipped"
    assert all(norm > 0 for norm in norms)
    assert bench.released.logits != [0.5, 0.5]
    assert max(abs(logit - 0.5) for logit in bench.released.logits) <= bench.released.meta.lr, "cosines"


@pytest.mark.parametrize("name", LENGTHS)
def test_generated_texts_have_the_lengths_of_the_data(given: argparse.Namespace, name: str) -> None:
    world = read_world(argparse.Namespace(**{**vars(given), "lengths": name, "num_texts": 2000}))
    lengths = sorted(len(row) for row in world.train.input_ids)
    assert LENGTHS[name][0] <= lengths[0] <= lengths[-1] == 128
    # 900 of 1,800 below the median, give or take 5 standard deviations of 21
    below = sum(length < LENGTHS[name][5] for length in lengths)
    assert below <= 900 + 106
    if name == "acl-arc":
        assert below >= 900 - 106 - 40, "40: those equal to it"


def test_the_whole_study_is_estimated(main: Callable[..., str], tmp_path: Path) -> None:
    told = main(end_to_end, *TINY, "--batch", 2, "--runs", 1, "--warmup", 3, "--json", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["trainings"] == 240
    assert found["gpu_hours_at_most"] is None
    assert "GPU-hours: not measured" in told
    updates = {cell["dataset"]: cell["updates"] for cell in found["cells"]}
    assert updates == {"acl-arc": 1950, "ohsumed": 3000, "imdb": 29250}
    for cell in found["cells"]:
        assert cell["warmup"].keys() == {"stl", "multi", "evaluated"}
        assert all(2 <= len(seconds) <= 3 for seconds in cell["warmup"].values())
        assert set(cell["unsettled"]) <= cell["warmup"].keys()
    hours = sum(10 * cell["seconds"] for cell in found["cells"]) / 3600
    assert found["cpu_hours_at_most"] == pytest.approx(hours)


class Clock:
    """A clock that stands still until told how long the next piece of work takes."""

    def __init__(self, seconds: list[float], afterwards: float) -> None:
        self.left, self.afterwards, self.now = list(seconds), afterwards, 0.0

    def perf_counter(self) -> float:
        return self.now

    def work(self) -> None:
        self.now += self.left.pop(0) if self.left else self.afterwards


def test_what_is_timed_is_warm(given: argparse.Namespace, monkeypatch) -> None:
    """As on the GPU where six updates took 15 times as long as the later ones: none of them is timed."""
    slow = [30.0, 2.0, 1.9, 2.0, 2.1, 2.0, 0.4]
    clock = Clock(slow, afterwards=0.13)
    monkeypatch.setattr(training.time, "perf_counter", clock.perf_counter)
    bench = training.Bench(read_world(given), argparse.Namespace(**{**vars(given), "warmup": 40}))
    monkeypatch.setitem(training.LEAST, bench.device.type, training.LEAST["cuda"])
    seconds, warm = end_to_end.settled(bench, given, clock.work)
    assert seconds == pytest.approx([0.13] * given.runs)
    assert warm.seconds == pytest.approx([*slow, 0.13, 0.13, 0.13])
    assert warm.settled


def test_the_warm_up_ends_where_two_repetitions_agree() -> None:
    for seconds, repeated in (
        ([1.0, 1.2, 9.0], 2),  # they agree at once
        ([5.0, 3.0, 2.0, 1.5, 1.3, 1.0], 5),  # 1.5 and 1.3 are the first two within 1.25
        ([1.0, 9.0, 9.0, 1.1, 1.0], 5),  # two that agree, but were disturbed: the fastest so far was 1.0
    ):
        left, warm = list(seconds), warmup.Settling(least=2)
        warm.warm_up(lambda left=left: left.pop(0))
        assert warm.settled
        assert len(warm.seconds) == repeated


def test_the_warm_up_ends_where_nothing_agrees_and_says_so() -> None:
    warm = warmup.Settling(least=2, most=4)
    warm.warm_up(lambda: 2.0 ** len(warm.seconds))
    assert warm.seconds == [1, 2, 4, 8]
    assert not warm.settled
    none = warmup.Settling(least=0, most=0)
    assert list(none.rounds(3)) == [True] * 3
    assert not none.settled


def test_a_training_is_counted_to_its_last_epoch() -> None:
    space = {"objectives": ["accuracy", "macro_f1"]}
    cost = {"stl": 1.0, "multi": 10.0, "evaluated": 0.5}
    # ACL-ARC: 13 updates of 128 texts an epoch, 150 epochs, a look at 114 texts every 30; twice 10 epochs at the end
    main = 1950 * 128 * 10.0 + 65 * 114 * 0.5
    finish = 2 * (10 * (13 * 128 * 1.0 + 114 * 0.5) + (114 + 139) * 0.5)
    found = end_to_end.training_seconds(cost, "rtm", "acl-arc", space)
    assert found == {"updates": 1950, "seconds": pytest.approx(main + finish)}
    short = end_to_end.training_seconds(cost, "stl", "acl-arc", {**space, "final": {"enabled": False}})
    assert short["seconds"] == pytest.approx(1950 * 128 + 65 * 114 * 0.5 + 2 * 253 * 0.5)
