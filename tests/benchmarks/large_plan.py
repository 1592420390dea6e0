"""Measure the plan of a large study: python tests/benchmarks/large_plan.py [--trials N] [--json FILE].

The paper's grid with more seeds, ten thousand trials in all. Three numbers: the work alone (make_plan, summarize,
describe) with the time of each part; the same where a record of every second trial is there (in memory, as large as a
summary needs them); and the whole verb `l3study plan`, Python's start and imports included. Memory is the peak of a
process that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]
GOALS = {"work_seconds": 5.0, "verb_seconds": 5.0, "mib": 1024.0}


def main() -> None:
    """Print a line and write all numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=10_000, help="at least so many")
    parser.add_argument("--json", type=Path, help="file for the numbers")
    given = parser.parse_args()
    found = measure(given.trials)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    print(
        f"{found['trials']} trials: plan {found['work_seconds']:.2f} s ({found['mib']:.0f} MiB), with records "
        f"{found['with_records_seconds']:.2f} s, verb {found['verb_seconds']:.2f} s "
        f"({found['verb_cpu_seconds']:.2f} s of them at work, {found['verb_mib']:.0f} MiB)"
    )


def measure(trials: int) -> dict[str, Any]:
    """All numbers. Imports are done before the clock starts, as a user's second plan has them in the disk cache."""
    from study.estimate.summary import describe, summarize
    from study.plan.grid import make_plan
    from study.plan.trials import Identities
    from study.space.reader import read_space

    space = PROJECT / "search_spaces" / "paper.yaml"
    seeds = -(-trials // 24)
    spec = read_space(space, [f"seeds={seeds}"])
    known = Identities(
        encoders={pair.encoder: f"{pair.encoder}-commit" for pair in spec.pairs},
        datasets={pair.dataset: f"{pair.dataset}-hash" for pair in spec.pairs},
    )
    plan, planning = timed(lambda: make_plan(spec, known))
    summary, counting = timed(lambda: summarize(spec, plan, []))
    text, describing = timed(lambda: describe(summary))
    assert summary.trajectories == len(plan) >= trials
    assert len(text.splitlines()) > 24
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    records = [record for trial in plan[::2] for record in records_of(trial)]
    counted, with_records = timed(lambda: summarize(spec, plan, records))
    assert counted.done == len(records)
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "study", "plan", str(space), "--set", f"seeds={seeds}", "--json"]
        said, verb = timed(
            lambda: (
                subprocess.run(
                    [*words, "--out", folder], cwd=PROJECT, capture_output=True, text=True, check=True
                ).stdout
            )
        )
    assert json.loads(said)["trajectories"] == len(plan)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "trials": len(plan),
        "make_plan_seconds": planning,
        "summarize_seconds": counting,
        "describe_seconds": describing,
        "work_seconds": planning + counting + describing,
        "mib": peak,
        "records": len(records),
        "with_records_seconds": planning + with_records + describing,
        "verb_seconds": verb,
        "verb_cpu_seconds": used.ru_utime + used.ru_stime,
        "verb_mib": used.ru_maxrss / 1024,
        "goals": GOALS,
    }


def records_of(trial: Any) -> list[dict[str, Any]]:
    """What a summary reads of the records of a trial."""
    who = {"encoder": trial.encoder, "dataset": trial.dataset, "method": trial.method, "settings": trial.settings}
    more = {"trajectory": trial.trajectory, "run": {"seconds": 1.0}, "curve": [{}] * 20}
    return [{**who, **more, "key": key, "objective": name} for name, key in trial.keys.items()]


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and its seconds."""
    started = time.perf_counter()
    found = work()
    return found, time.perf_counter() - started


if __name__ == "__main__":
    main()
