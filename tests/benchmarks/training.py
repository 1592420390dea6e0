"""Time training steps: python tests/benchmarks/training.py [--encoder DIR --texts FILE.jsonl] [--device cuda].

Five comparisons, each paired in this process, the sides in alternating order, ratios as medians over the runs:
bare      a META-TARTAN step (window, clipping, task weights; no optimizer) against its three bare forward and
          backward passes on the same batches, made beforehand: same weights, precision, padding and dropout
released  the same step against one shaped as in the released code (released_step.py), on the same texts
padded    the META-TARTAN step, and the STL step, against the same through the model's own pass on padded batches
mask_tuning  a Mask-tuning step against an STL step, the optimizer included in both, on the same batches
adapt     an update of masked-LM training before fine-tuning (no optimizer) against its bare passes
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # l3masking

from released_step import Micro, ReleasedStepper, Window
from training_adapt import adapt_seconds
from training_stl import stl_seconds
from training_world import World, add_world_arguments, device_words, read_world
from warmup import AGREE, LEAST, MOST, Settling

from l3masking import rng
from l3masking.encoders.families import ForwardPass
from l3masking.errors import InputError
from l3masking.precision import autocast
from l3masking.training.batches import Chunk, draws
from l3masking.training.flat_gradients import cosine
from l3masking.training.model import ClassificationHead, MultiTaskModel
from l3masking.training.settings import FinetuneConfig
from l3masking.training.steps import Stepper
from l3masking.training.task_weights import WEIGHTINGS

PARTS = ("bare", "released", "padded", "mask_tuning", "adapt")
STEP_SIDES = ("step", "bare", "released", "padded")


class Bench:
    """One world, timed with one set of settings. All sides of `steps` share the same weights, which stay."""

    def __init__(self, world: World, given: argparse.Namespace) -> None:
        self.world, self.given, self.seed = world, given, 0
        self.config = FinetuneConfig(precision=given.dtype)
        self.device = world.encoder.device
        self.model = self.fresh_model()
        self.released = ReleasedStepper(
            self.model,
            world.train,
            world.validation,
            world.auxiliary,
            self.config.meta,
            precision=given.dtype,
            dropout=self.config.model.dropout,
            clip=self.config.optim.clip,
            seed=self.seed,
        )

    def fresh_model(self, forward: ForwardPass = "fast") -> MultiTaskModel:
        encoder = self.world.encoder.copied().through(forward)
        return MultiTaskModel(encoder, self.world.num_classes, self.config.model, rng.stream(self.seed, "head")).train()

    def stepper(self, model: MultiTaskModel, *, multi_task: bool, buckets: int) -> Stepper:
        """As finetune.Trajectory makes it."""
        return Stepper(
            model,
            self.world.train,
            self.world.validation,
            self.world.auxiliary if multi_task else None,
            WEIGHTINGS["meta" if multi_task else "static"](2 if multi_task else 1, self.config.meta, self.device),
            self.config.meta,
            model_config=self.config.model,
            batch=self.given.batch,
            accumulate=self.given.accumulate,
            num_chunks=buckets,
            precision=self.given.dtype,
            seed=self.seed,
        )

    def clock(self, work: Callable[[], object]) -> float:
        """Seconds of some work, the device's part included; with `--processor-time` those of this process alone."""
        start = self.now()
        work()
        return self.now() - start

    def now(self) -> float:
        """Seconds on the clock, once the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.process_time() if self.given.processor_time else time.perf_counter()

    def settling(self) -> Settling:
        """A warm-up of at most `--warmup` repetitions."""
        most = self.given.warmup
        return Settling(least=min(LEAST[self.device.type], most), most=most)

    def paired(self, works_of: Callable[[range], Mapping[str, Callable[[], object]]]) -> dict[str, list[float]]:
        """Seconds per update of each side, one value per run after warm-up; the order of the sides alternates.

        works_of: from the numbers of some updates to the work of each side on them.
        """
        seconds: dict[str, list[float]] = {}
        update, warm = 0, self.settling()
        for run, timed in enumerate(warm.rounds(self.given.runs)):
            count = self.given.steps if timed else 1
            works = works_of(range(update + 1, update + 1 + count))
            update += count
            taken = {side: self.clock(works[side]) / count for side in (works if run % 2 else reversed(works))}
            if not timed:
                warm.seconds.append(sum(taken.values()))
                continue
            for side in works:
                seconds.setdefault(side, []).append(taken[side])
        return seconds

    def steps(self, sides: Sequence[str]) -> dict[str, list[float]]:
        """Seconds per window of each side, one value per run."""
        stepper = self.stepper(self.model, multi_task=True, buckets=self.given.buckets)
        scribe = self.stepper(self.model, multi_task=True, buckets=self.given.buckets)  # draws what `stepper` will
        padded = self.stepper(self.fresh_model("own"), multi_task=True, buckets=self.given.buckets)

        def works_of(numbers: range) -> dict[str, Callable[[], object]]:
            windows = [draw(scribe, number) for number in numbers]
            batches = [collate(scribe, window) for window in windows]
            head = stepper.fit_dev_head(0)
            works: dict[str, Callable[[], object]] = {
                "step": lambda: [self.whole(stepper, number) for number in numbers],
                "bare": lambda: [self.bare(stepper, batch, head) for batch in batches],
                "padded": lambda: [self.whole(padded, number) for number in numbers],
                "released": lambda: [self.released.window(window) for window in windows],
            }
            return {side: works[side] for side in sides}

        return self.paired(works_of)

    def whole(self, stepper: Stepper, update: int) -> None:
        """What finetune.Trajectory does for an update, without the optimizer."""
        stepper.window(update)
        stepper.model.clip(self.config.optim.clip)
        stepper.weighting.update()

    def bare(self, stepper: Stepper, window: Sequence[Sequence[list[Chunk]]], head: ClassificationHead) -> None:
        """Forward and backward passes of one window, and nothing else."""
        for primary, mlm, dev in window:
            passes: list[tuple[Callable[[], Any], list]] = [
                (lambda mlm=mlm: self.model.mlm_loss(mlm), stepper.spans["mlm"].parameters),
                (lambda primary=primary: self.model.classification_loss(primary), stepper.spans["primary"].parameters),
                (lambda dev=dev: self.model.classification_loss(dev, head), stepper.spans["dev"].parameters),
            ]
            for forward, parameters in passes:
                with autocast(self.device, self.given.dtype):
                    loss = forward()
                if loss is not None:
                    torch.autograd.grad(loss, parameters, allow_unused=True)

    def parts(self) -> dict[str, float]:
        """Seconds per window of what a step does beside its passes: medians, each part timed alone."""
        stepper = self.stepper(self.model, multi_task=True, buckets=self.given.buckets)
        accumulate, flat, spans = self.given.accumulate, self.model.gradients, stepper.spans
        _, mlm, dev = collate(stepper, draw(stepper, 1))[0]
        with autocast(self.device, self.given.dtype):
            losses = {"mlm": self.model.mlm_loss(mlm), "dev": self.model.classification_loss(dev)}
        flat.clear()
        gradients = {name: flat.of(loss, spans[name], name) for name, loss in losses.items()}
        shared = gradients["mlm"][-len(gradients["dev"]) :]
        sample = stepper.chunks(self.world.validation, draw(stepper, 2).sample)

        def features() -> None:
            with torch.no_grad(), autocast(self.device, self.given.dtype):
                self.model.features(sample)

        def add() -> None:
            for name, gradient in gradients.items():
                flat.add(spans[name], gradient, 0.5)

        works: dict[str, tuple[int, Callable[[], object]]] = {
            "dev head, features": (1, features),
            "dev head, whole": (1, lambda: stepper.fit_dev_head(2)),
            "drawing, masking, padding": (1, lambda: collate(stepper, draw(stepper, 1))),
            "dot products": (accumulate, lambda: [cosine(gradients["dev"], shared) for _ in gradients]),
            "adding gradients": (accumulate, add),
            "clipping": (1, lambda: self.model.clip(self.config.optim.clip)),
        }
        return {
            name: times * statistics.median(self.clock(work) for _ in range(self.given.runs))
            for name, (times, work) in works.items()
        }


def draw(scribe: Stepper, update: int) -> Window:
    """Text numbers of the scribe's next window: those that another Stepper of its seed draws in its own."""
    size, name = len(scribe.validation.labels), rng.stream(scribe.seed, "dev-sample", update)
    micros = [
        Micro(mlm=next(scribe._mlm), primary=next(scribe._primary), dev=next(scribe._dev))
        for _ in range(scribe.accumulate)
    ]
    return Window(next(draws(size, scribe.meta.head_sample, name)), micros)


def collate(scribe: Stepper, window: Window) -> list[tuple[list[Chunk], list[Chunk], list[Chunk]]]:
    """The batches of a window, per micro-step: primary, masked LM (freshly masked), dev."""
    pad = scribe.model.encoder.tokenizer
    return [
        (
            scribe.chunks(scribe.train, micro.primary),
            scribe.auxiliary.chunks(micro.mlm, scribe.num_chunks, pad, scribe._masks, scribe.device),
            scribe.chunks(scribe.validation, micro.dev),
        )
        for micro in window.micros
    ]


def measure(world: World, given: argparse.Namespace) -> dict[str, Any]:
    """All numbers: seconds per window or update and run, ratios per run, their medians."""
    torch.set_num_threads(given.threads)
    if len(world.train.labels) < given.batch or len(world.validation.labels) < given.batch:
        raise InputError(f"--batch {given.batch}: more than the {len(world.validation.labels)} validation texts")
    bench = Bench(world, given)
    keys = ("batch", "accumulate", "buckets", "steps", "runs", "warmup", "dtype")
    found: dict[str, Any] = {
        "world": world.words,
        **device_words(bench.device),
        **{key: getattr(given, key) for key in keys},
        "seconds": {},
        "ratios": {},
    }
    sides = [side for side in STEP_SIDES if side == "step" or side in given.parts]
    if len(sides) > 1:
        found["seconds"] |= bench.steps(sides)
        found["parts"] = bench.parts()
    seconds = found["seconds"]
    if "bare" in seconds:
        found["ratios"]["bare"] = ratios(seconds["step"], seconds["bare"])
    if "released" in seconds:
        found["ratios"]["released"] = ratios(seconds["released"], seconds["step"])
        found["released_head_iterations"] = statistics.fmean(bench.released.iterations)
    if "padded" in seconds:
        found["ratios"]["padded"] = ratios(seconds["step"], seconds["padded"])
    if others := [part for part in ("padded", "mask_tuning") if part in given.parts]:
        seconds |= stl_seconds(bench, ["stl", *("stl_padded" if part == "padded" else part for part in others)])
    if "stl_padded" in seconds:
        found["ratios"]["stl_padded"] = ratios(seconds["stl"], seconds["stl_padded"])
    if "mask_tuning" in seconds:
        found["ratios"]["mask_tuning"] = ratios(seconds["mask_tuning"], seconds["stl"])
    if "adapt" in given.parts:
        seconds |= adapt_seconds(bench)
        found["ratios"]["adapt"] = ratios(seconds["adapt"], seconds["adapt_bare"])
    found["medians"] = {name: statistics.median(values) for name, values in found["ratios"].items()}
    return found


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """Run by run."""
    return [a / b for a, b in zip(above, below, strict=True)]


def describe(found: dict[str, Any]) -> str:
    """The numbers in lines of text."""
    lines = [
        f"{found['world']}; {found['dtype']}, batch {found['batch']} x {found['accumulate']}, "
        f"{found['buckets']} length buckets",
        f"{found['device']}, {found['threads']} threads, torch {found['torch']}; {found['runs']} runs of "
        f"{found['steps']} steps a side",
    ]
    names = {
        "bare": "META-TARTAN step / its three bare passes",
        "released": "step shaped as released / META-TARTAN step",
        "padded": "META-TARTAN step / the same on padded batches",
        "stl_padded": "STL step / the same on padded batches",
        "mask_tuning": "Mask-tuning step / STL step",
        "adapt": "adapt update / its bare passes",
    }
    bars = {
        "bare": "at most 1.15",
        "released": "at least 4",
        "padded": "at most 0.75",
        "stl_padded": "at most 0.75",
        "mask_tuning": "at most 2.2",
        "adapt": "at most 1.1",
    }
    for name, values in found["ratios"].items():
        spread = f"{min(values):.3f} to {max(values):.3f}"
        lines.append(f"{names[name]}: {found['medians'][name]:.3f} ({spread}; bar: {bars[name]})")
    for name, values in found["seconds"].items():
        lines.append(f"seconds per step, {name}: {statistics.median(values):.4f}")
    if "released_head_iterations" in found:
        lines.append(f"passes of the released dev head's fit: {found['released_head_iterations']:.1f} a step")
    if "parts" in found:
        whole = statistics.median(found["seconds"]["step"])
        lines += [f"  of a step, {name}: {part:.4f} s ({part / whole:.1%})" for name, part in found["parts"].items()]
    return "\n".join(lines)


def arguments() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_world_arguments(parser)
    parser.add_argument("--batch", type=int, default=32, help="texts per micro-step and task")
    parser.add_argument("--accumulate", type=int, default=2, help="micro-steps per update; one dev head serves all")
    parser.add_argument("--buckets", type=int, default=1, help="parts of like length per batch (train.length_buckets)")
    parser.add_argument("--steps", type=int, default=1, help="updates per side and run")
    parser.add_argument("--runs", type=int, default=5, help="paired runs")
    parser.add_argument(
        "--warmup",
        type=int,
        default=MOST,
        help=f"most untimed runs before, of one update; fewer once two in a row agree within {AGREE} times (on a GPU "
        f"after at least {LEAST['cuda']})",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument(
        "--processor-time", action="store_true", help="count the processor's seconds, for a CPU that others use too"
    )
    parser.add_argument("--json", type=Path, help="file for the numbers")
    return parser


def main() -> None:
    """Print ratios, seconds and parts, and write all numbers."""
    given = arguments().parse_args()
    found = measure(read_world(given), given)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(describe(found))


if __name__ == "__main__":
    main()
