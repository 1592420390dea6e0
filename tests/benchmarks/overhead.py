"""Measure what a study costs beside its trainings: python tests/benchmarks/overhead.py [--trials N] [--json FILE].

Trainings of one update each, by the real trainable on a tiny random encoder: first the bare computation in this
process, then whole studies in turn (records, MLflow) and under Ray Tune on two workers (Ray, Tune, records, MLflow).
Overhead per trial is the wall time of the study, from its first line to its last, minus that of the computation on as
many workers, over the number of trials; everything is in it, the start of Ray too. --profile FILE keeps where the
driver of the Ray run spent its time (pstats).
"""

from __future__ import annotations

import argparse
import contextlib
import cProfile
import io
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))  # the tiny study of the tests

GOAL = 1.0  # seconds per trial
WORKERS = 2
ONE_UPDATE: dict[str, Any] = {
    "methods": ["stl", "rtm"],
    "objectives": ["accuracy"],
    "train": {"batch": 24, "accumulate": 1, "max_epochs": 1},
    "evaluate": {"every": 1, "unit": "epochs"},
    "final": {"enabled": False},
}


def main() -> None:
    """Print a line and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=200, help="an even number")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    parser.add_argument("--profile", type=Path, help="file for the profile of the driver under Ray")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="l3study-overhead-") as folder:
        found = measure(Path(folder), given.trials, given.profile)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['trials']} trials of {1000 * found['compute_per_trial']:.0f} ms: overhead per trial "
        f"{found['ray_overhead']:.3f} s under Ray Tune on {WORKERS} workers ({found['ray_start']:.1f} s before the "
        f"first, {found['ray_end']:.1f} s after the last; a worker spends {found['ray_inside']:.3f} s in a trial and "
        f"{found['ray_between']:.3f} s between two), {found['serial_overhead']:.3f} s in turn"
    )


def measure(folder: Path, trials: int, profile: Path | None) -> dict[str, Any]:
    """All numbers."""
    from small_study import write_study

    from study.assign import Assigner
    from study.plan.grid import make_plan
    from study.plan.inputs import identify
    from study.space.reader import read_space
    from study.trial import run_trial

    space = write_study(folder, seeds=trials // 2, resources={"workers": WORKERS}, **ONE_UPDATE)
    spec = read_space(space)
    identities = identify(spec, lambda line: None)
    assigner = Assigner(spec=spec, identities=identities, root=folder / "bare", commit=None)
    assignments = [assigner.of_grid(trial) for trial in make_plan(spec, identities)]
    run_trial(assignments[0])  # what is loaded once per process is loaded
    started = time.perf_counter()
    for assignment in assignments:
        (record,) = run_trial(assignment)
        assert record["updates"] == 1
    compute = time.perf_counter() - started
    serial = study(space, folder / "serial", "resources.executor=serial", len(assignments))
    with profiled(profile):
        ray = study(space, folder / "ray", "resources.executor=ray", len(assignments))
    count = len(assignments)
    return {
        "trials": count,
        "workers": WORKERS,
        "compute_per_trial": compute / count,
        "serial_wall": serial["wall"],
        "serial_overhead": (serial["wall"] - compute) / count,
        "ray_wall": ray["wall"],
        "ray_start": ray["first"],
        "ray_end": ray["wall"] - ray["last"],
        "ray_inside": ray["inside"],  # a training, as its record has it
        "ray_between": WORKERS * (ray["last"] - ray["first"]) / (count - 1) - ray["inside"],
        "ray_overhead": (ray["wall"] - compute / WORKERS) / count,
        "goal": GOAL,
    }


def study(space: Path, out: Path, executor: str, count: int) -> dict[str, float]:
    """Seconds of a whole run, and those until its first and its last trial had ended."""
    from study.run import RunOptions, run_study
    from study.status.console import PlainReporter

    ends: list[float] = []

    class Noted(PlainReporter):
        def say(self, line: str) -> None:
            if line.startswith(("done", "FAILED")):
                ends.append(time.perf_counter() - started)

    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        finish = run_study(RunOptions(space=space, out=out, sets=[executor]), Noted())
    wall = time.perf_counter() - started
    assert finish.failed == 0
    assert finish.mirror_behind is None, finish.mirror_behind
    records = [json.loads(path.read_text()) for path in (out / "records").iterdir()]
    assert len(records) == count == len(ends)
    inside = statistics.median(record["run"]["seconds"] for record in records)  # the first ones load the program
    return {"wall": wall, "first": ends[0], "last": ends[-1], "inside": inside}


@contextlib.contextmanager
def profiled(target: Path | None) -> Iterator[None]:
    """The driver's main thread under the profiler, where that is asked for; it is then slower."""
    if target is None:
        yield
        return
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        yield
    finally:
        profiler.disable()
        profiler.dump_stats(target)


if __name__ == "__main__":
    main()
