"""What the driver does with each trial that ends: mirror its records, count it, and say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from study.assignment import Assignment
from study.status.console import Reporter
from study.status.progress import Progress
from study.store.store import Store
from study.tracking.mirror import Mirror

if TYPE_CHECKING:
    from study.search.stage import Attempt, SearchStage

OTHER_RESULTS = (
    "its model is not kept: the training gave other results than its record (see conflicts/); repeat it on a machine "
    "like that of the record"
)


class GridTeller:
    """Hears of the trials of the grid."""

    def __init__(self, store: Store, reporter: Reporter, mirror: Mirror, progress: Progress, total: int) -> None:
        self.store, self.reporter, self.mirror, self.progress = store, reporter, mirror, progress
        self.total = total
        self.ends = 0
        self.failed = 0
        if total:
            reporter.step("trainings", 0, total)

    def started(self, assignment: Assignment) -> None:
        """A trial has begun, perhaps not for the first time."""
        self.progress.started(assignment.trial)

    def ended(self, assignment: Assignment, reason: str | None) -> None:
        """A trial has ended, with its records or with the reason of its failure."""
        self.ends += 1
        trial = assignment.trial
        records = [record for key in trial.keys.values() if (record := self.store.read(key)) is not None]
        for record in records:
            self.mirror.add(record)
        done = len(records) == len(trial.keys)
        if done and assignment.resources.save_models and not all(map(self.store.has_model, trial.keys.values())):
            done, reason = False, reason or OTHER_RESULTS
        if not done:
            self.failed += 1
            reason = reason or "its record is damaged"
            self.reporter.say(f"FAILED {trial.name}: {reason}")
        else:
            tests = ", ".join(f"{r['objective']} {100 * r['test'][r['objective']]:.1f} %" for r in records)
            run = records[0]["run"]
            short = f"; memory held {run['micro_batch']} texts at a time" if "micro_batch" in run else ""
            again = "; in float32, as it diverged under bf16" if "retried_in_float32" in records[0] else ""
            self.reporter.say(f"done   {trial.name}: test {tests} ({run['seconds']:.0f} s{short}{again})")
        self.progress.ended(trial, None if done else reason)
        self.reporter.step("trainings", self.ends, self.total)


class SearchTeller:
    """Hears of the settings that searches try."""

    def __init__(self, stage: SearchStage, reporter: Reporter, mirror: Mirror) -> None:
        self.stage, self.reporter, self.mirror = stage, reporter, mirror
        self.total = stage.explorer.total
        self.ends = 0
        self.failed = 0
        if self.total:
            reporter.say(f"{self.total} settings of {len(stage.searches)} searches left to try")
            reporter.step("search", 0, self.total)

    def tried(self, attempt: Attempt) -> None:
        """A setting has its mean, has been given up early, or has failed."""
        self.ends += 1
        search = attempt.search
        values = ", ".join(f"{name} {shown(value)}" for name, value in attempt.values.items())
        name = f"{search.encoder} / {search.dataset} / {search.method} / {values}"
        if attempt.mean is None:
            self.failed += 1
            self.reporter.say(f"FAILED {name}: {attempt.reason}")
            for failure in self.stage.failures(attempt):
                self.mirror.add_search_failure(failure)
        else:
            for record in self.stage.records(attempt):
                self.mirror.add_search(record)
            given_up = "" if attempt.seeds == search.config.seeds else f", given up after {attempt.seeds}"
            self.reporter.say(f"tried  {name}: validation {search.objective} {100 * attempt.mean:.1f} %{given_up}")
        self.reporter.step("search", self.ends, self.total)


def shown(value: object) -> str:
    """A value of a parameter, without the digits that floating-point steps leave."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)
