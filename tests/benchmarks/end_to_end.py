"""Estimate a study from measured updates: python tests/benchmarks/end_to_end.py [--encoder DIR] [--device cuda].

Updates of the space's methods are timed on texts as long as each dataset's, then counted up to the last of its
`max_epochs`: an UPPER BOUND, since early stopping usually ends a training sooner. In it are all updates (optimizer
included), every look at validation, the final stage and the test of both objectives; not in it are scoring (once per
pair, see scoring.py), loading, and Ray. Trainings are counted one after the other, each with the device to itself.
On a GPU every encoder of the space is timed in its own shape, with random weights. On a CPU one encoder stands for all
of them (--encoder, or a random BERT), and GPU-hours are not measured.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import torch
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from training import Bench  # noqa: E402
from training_stl import updater  # noqa: E402
from training_world import World, add_world_arguments, device_words, read_world  # noqa: E402
from warmup import AGREE, LEAST, MOST, Settling  # noqa: E402

from l3masking.data.table import DATASETS  # noqa: E402
from l3masking.errors import InputError  # noqa: E402
from l3masking.methods import METHODS  # noqa: E402
from l3masking.training.evaluation import measure as evaluate  # noqa: E402
from l3masking.training.portions import Portions  # noqa: E402
from l3masking.training.settings import EvaluateConfig, FinalConfig, TrainConfig  # noqa: E402

# layers, width and vocabulary as published; the last is a DistilBERT and is timed as a BERT of six layers
SHAPES = {
    "bert-base": (12, 768, 30522),
    "roberta-base": (12, 768, 50265),
    "scibert": (12, 768, 31090),
    "clinicalbert": (6, 768, 119547),
}
UNREACHED = 10**6  # updates, more than any warm-up and measurement take: the learning rate stays what it is


def updates(bench: Bench, given: argparse.Namespace, *, multi_task: bool) -> Callable[[], object]:
    """A function that trains a fresh model by one update, the next one at each call."""
    model, numbers = bench.fresh_model(), count(1)
    stepper = bench.stepper(model, multi_task=multi_task, buckets=given.buckets)
    update = updater(model, stepper, dataclasses.replace(bench.config.optim, lr=1e-5), total=UNREACHED)
    return lambda: update(next(numbers))


def settled(bench: Bench, given: argparse.Namespace, work: Callable[[], object]) -> tuple[list[float], Settling]:
    """Seconds of the timed repetitions of some work, and the warm-up before them."""
    warm = bench.settling()
    warm.warm_up(lambda: bench.clock(work))
    return [bench.clock(work) for _ in range(given.runs)], warm


def timed(world: World, given: argparse.Namespace) -> dict[str, Any]:
    """Seconds per text and update of the two kinds of training, and per text evaluated: medians over the runs.

    `unsettled` names what was still changing when the warm-up ended.
    """
    bench = Bench(world, given)
    found: dict[str, Any] = {}
    warmed: dict[str, Settling] = {}
    for name in ("stl", "multi"):
        seconds, warmed[name] = settled(bench, given, updates(bench, given, multi_task=name == "multi"))
        found[name] = statistics.median(seconds) / (given.batch * given.accumulate)
    held, tokens = world.validation, Portions(given.batch).tokens
    seconds, warmed["evaluated"] = settled(
        bench, given, lambda: evaluate(bench.model, held, world.num_classes, given.dtype, tokens)
    )
    found["evaluated"] = statistics.median(seconds) / len(held.labels)
    found["warmup"] = {name: warm.seconds for name, warm in warmed.items()}
    return found | {"unsettled": [name for name, warm in warmed.items() if not warm.settled]}


def training_seconds(cost: dict[str, Any], method: str, dataset: str, space: dict[str, Any]) -> dict[str, float]:
    """One training, which serves all objectives, at most: its updates, and seconds in all."""
    train, look = TrainConfig(**space.get("train", {})), EvaluateConfig(**space.get("evaluate", {}))
    final, sizes = FinalConfig(**space.get("final", {})), DATASETS[dataset].expected
    epoch, texts = train.updates_per_epoch(sizes["train"]), train.batch * train.accumulate
    updates = epoch * train.max_epochs
    every = look.every * (epoch if look.unit == "epochs" else 1)
    kind = "multi" if METHODS[method].masks else "stl"
    main = updates * texts * cost[kind] + math.ceil(updates / every) * sizes["validation"] * cost["evaluated"]
    stage = final.max_epochs * (epoch * texts * cost["stl"] + sizes["validation"] * cost["evaluated"])
    ends = (sizes["validation"] + sizes["test"]) * cost["evaluated"]
    finish = len(space["objectives"]) * ((stage if final.enabled else 0.0) + ends)
    return {"updates": updates, "seconds": main + finish}


def measure(given: argparse.Namespace) -> dict[str, Any]:
    """Every cell of the space: updates, seconds of a training, and the hours of the grid."""
    space = yaml.safe_load(given.space.read_text())
    if space.get("preset", "default") != "default" or space.get("variants"):
        raise InputError(f"{given.space}: a space without variants and with `preset: default` is counted here")
    torch.set_num_threads(given.threads)
    on_gpu, costs = given.device == "cuda", {}
    began, cells, words = time.perf_counter(), [], ""
    for pair in space["pairs"]:
        encoder, dataset = pair["encoder"], pair["dataset"]
        key = (encoder if on_gpu else "", dataset)
        if key not in costs:
            shape = dict(zip(("layers", "hidden", "vocabulary"), SHAPES[encoder], strict=True)) if on_gpu else {}
            world = read_world(argparse.Namespace(**{**vars(given), **shape, "lengths": dataset, "texts": None}))
            words = words or world.words.split(",")[0]
            costs[key] = timed(world, given)
        for method in space["methods"]:
            cell = training_seconds(costs[key], method, dataset, space)
            cells.append({"encoder": encoder, "dataset": dataset, "method": method, **costs[key], **cell})
    hours = sum(cell["seconds"] for cell in cells) * space["seeds"] / 3600
    return {
        **device_words(torch.device(given.device)),
        "space": space["name"],
        "encoder": "each its own" if on_gpu else words,
        "dtype": given.dtype,
        "batch": given.batch,
        "accumulate": given.accumulate,
        "warmup": given.warmup,
        "trainings": len(cells) * space["seeds"],
        "cells": cells,
        "gpu_hours_at_most": hours if on_gpu else None,
        "cpu_hours_at_most": None if on_gpu else hours,
        "measured_in_seconds": time.perf_counter() - began,
    }


def describe(found: dict[str, Any]) -> str:
    """The numbers in lines of text; on a CPU all encoders have the same, so that each dataset is told once."""
    lines = [
        f"{found['space']}: {found['trainings']} trainings; {found['device']}, {found['threads']} threads, torch "
        f"{found['torch']}; encoder: {found['encoder']}; {found['dtype']}; timed with batch {found['batch']} x "
        f"{found['accumulate']} in {found['measured_in_seconds']:.0f} s",
        "upper bounds: every training runs to its last epoch, alone on the device",
    ]
    told = set()
    for cell in found["cells"]:
        who = cell["encoder"] if found["gpu_hours_at_most"] is not None else "any encoder, as this one"
        kind = cell["method"] if cell["method"] == "stl" else "rtm, l3masking"
        if (who, cell["dataset"], kind) not in told:
            told.add((who, cell["dataset"], kind))
            line = f"  {who}, {cell['dataset']}, {kind}: {cell['updates']} updates, {cell['seconds']:.0f} s a training"
            unsure = ", ".join(cell["unsettled"])
            lines.append(line + (f" (still changing after {found['warmup']} repetitions: {unsure})" if unsure else ""))
    gpu, cpu = found["gpu_hours_at_most"], found["cpu_hours_at_most"]
    lines.append(f"GPU-hours: {'not measured' if gpu is None else f'at most {gpu:.1f}'}")
    if cpu is not None:
        lines.append(f"CPU-hours, were every encoder this one: at most {cpu:.0f}")
    return "\n".join(lines)


def main() -> None:
    """Print the estimate and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_world_arguments(parser)
    parser.set_defaults(processor_time=False)
    parser.add_argument("--space", type=Path, default=ROOT / "search_spaces" / "paper.yaml")
    parser.add_argument(
        "--batch", type=int, default=64, help="texts timed at once, scaled to the space; few overstate the dev head"
    )
    parser.add_argument("--accumulate", type=int, default=2, help="micro-steps per timed update")
    parser.add_argument("--buckets", type=int, default=1, help="parts of like length per batch")
    parser.add_argument("--runs", type=int, default=5, help="timed updates of each kind")
    parser.add_argument(
        "--warmup",
        type=int,
        default=MOST,
        help=f"most updates before them; fewer once two in a row agree within {AGREE} times (on a GPU after at least "
        f"{LEAST['cuda']})",
    )
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    found = measure(given)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(describe(found))


if __name__ == "__main__":
    main()
