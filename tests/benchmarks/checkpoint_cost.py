"""Measure what checkpoints cost a training: python tests/benchmarks/checkpoint_cost.py [--megabytes 1750].

Trainings of ten minutes, one after the other in one study. Their updates are not computed: the clock is set forward
from one evaluation to the next. The saves are real: tensors of this size, which for a BERT-base are the weights, two
moments and the best weights, are written and synced by the rules and the code of a study. Told are the saves of each
training, the minute of the first, and their share of the training's time. The first training knows nothing of the
disk; the later ones know how long the last save took.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from l3masking.training.checkpoint import Snapshot
from study.checkpoints import LEAST_REST, TrialCheckpoints


def main() -> None:
    """Print a line per training and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=1750, help="size of a checkpoint, of a million bytes each")
    parser.add_argument("--minutes", type=float, default=10, help="length of a training")
    parser.add_argument("--every", type=float, default=10, help="seconds between two evaluations")
    parser.add_argument("--trainings", type=int, default=3, help="one after the other")
    parser.add_argument("--out", type=Path, help="folder on the disk to measure; default: that of temporary files")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    parts = max(1, round(given.megabytes / 10))  # of ten megabytes, as the layers of an encoder
    tensors = {str(part): torch.randn(round(given.megabytes * 1e6 / 4 / parts)) for part in range(parts)}
    snapshot = Snapshot({}, tensors)
    with tempfile.TemporaryDirectory(dir=given.out) as folder:
        found = [
            training(Path(folder) / str(number), snapshot, 60 * given.minutes, given.every)
            for number in range(given.trainings)
        ]
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    for number, row in enumerate(found, start=1):
        first = "" if row["first_minute"] is None else f", the first at minute {row['first_minute']:.1f}"
        print(
            f"training {number}: {row['saves']} saves{first}, {row['seconds']:.1f} s (processor "
            f"{row['cpu_seconds']:.1f} s), {100 * row['share']:.2f} % of {row['minutes']:.1f} minutes (goal: at most "
            f"{100 / LEAST_REST:g} %)"
        )


def training(folder: Path, snapshot: Snapshot, length: float, every: float) -> dict[str, Any]:
    """One training of `length` seconds beside its saves, with an evaluation each `every` seconds."""
    trained, saved, saves, used = 0.0, 0.0, 0, 0.0
    first: float | None = None
    began = time.monotonic()
    trial = TrialCheckpoints(
        folder,
        minutes=5.0,
        objectives=["accuracy"],
        made_with={},
        clock=lambda: time.monotonic() - began + trained,
    )
    keeper, there = trial.stage("training"), set[Path]()
    while trained < length:
        trained += every
        before, cpu = time.monotonic(), time.process_time()
        keeper.offer(lambda: snapshot)
        saved, used = saved + time.monotonic() - before, used + time.process_time() - cpu
        new = set(folder.glob("training/*.json")) - there
        there |= new
        saves += len(new)
        first = (trained / 60) if new and first is None else first
    return {
        "saves": saves,
        "first_minute": first,
        "seconds": saved,
        "cpu_seconds": used,
        "minutes": (trained + saved) / 60,
        "share": saved / (trained + saved),
    }


if __name__ == "__main__":
    main()
