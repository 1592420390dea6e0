"""A study from its space file to its tables. The same command begins, continues and extends it."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from l3masking.errors import EnvironmentFault, InputError
from l3masking.regimes import METHODS
from l3masking.weighting import WEIGHTINGS, MetaConfig
from study.aggregate import Cell
from study.inputs import identify, sources
from study.plan import left, make_plan, narrow
from study.progress import Reporter
from study.resolved import Resolved, changed, pinned, read_resolved, write_resolved
from study.results import gather
from study.schedule import Finished, Stopped, ray_session, run_on_ray, run_serially
from study.score import ScoreJob, execute_on_ray, execute_serially, score_job
from study.space import read_space
from study.spec import StudySpec, configs
from study.store import Store, write_atomic
from study.tracking import Mirror
from study.trial import Assignment
from study.trials import Identities, Trial


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line says beside the space file."""

    space: Path
    out: Path | None = None  # default: studies/<name>
    sets: Sequence[str] = ()
    only: Sequence[str] = ()
    limit: int | None = None
    tracking_uri: str | None = None  # default: the study's own database
    stages: frozenset[str] = frozenset({"score", "grid"})


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a run ended."""

    root: Path
    cells: list[Cell]
    files: list[Path]
    failed: int  # trials
    stopped: str | None  # why it ended early; None: nothing is left of what was asked for
    tracking_uri: str
    mirror_behind: str | None


def run_study(options: RunOptions, reporter: Reporter) -> Finish:
    """Score, train, aggregate and export what the space declares and the records lack.

    KeyboardInterrupt during scoring and training ends them early and the rest is still done; later it is passed on.
    """
    spec = read_space(options.space, options.sets)
    root = (options.out or Path("studies") / spec.name).absolute()
    store = Store(root)
    with store.lock():
        reporter.say(f"study {spec.name} in {root}")
        spec, identities = settle(root, options.space, spec, reporter)
        plan = make_plan(spec, identities)
        chosen = narrow(plan, options.only, options.limit)
        records = store.records()
        open_trials = left(chosen, {record["key"] for record in records})
        reporter.say(f"{len(chosen)} trainings chosen of {len(plan)}, {len(open_trials)} left to run")
        mirror = Mirror(root, spec.name, description=spec.description, uri=options.tracking_uri, records=records)
        run = _Run(store, spec, identities, reporter, mirror)
        try:
            stopped = run.everything(open_trials, options.stages)
        except (InputError, EnvironmentFault, OSError):
            run.finish(plan, "ended by an error")  # tables and mirror show what there is
            raise
        return run.finish(plan, stopped)


def settle(root: Path, space: Path, spec: StudySpec, reporter: Reporter) -> Resolved:
    """Pin encoders and datasets, say what has changed since the last run, and write space.yaml and resolved.yaml."""
    reporter.say("finding encoders and datasets")
    before = read_resolved(root)
    spec = pinned(spec, before)
    resolved = Resolved(spec, identify(spec, reporter.say))
    if before is not None:
        changes = changed(resolved, before)
        if changes.cells:
            reporter.say(f"changed since the last run: {', '.join(changes.keys)}; these run anew, old records stay:")
            for cell in changes.cells:
                reporter.say(f"  {cell}")
    write_atomic(root / "space.yaml", space.read_bytes())
    write_resolved(root, resolved)
    return resolved


class _Run:
    """The stages of one run."""

    def __init__(
        self, store: Store, spec: StudySpec, identities: Identities, reporter: Reporter, mirror: Mirror
    ) -> None:
        self.store, self.spec, self.identities = store, spec, identities
        self.reporter, self.mirror = reporter, mirror
        self.failed = 0

    def everything(self, trials: Sequence[Trial], stages: frozenset[str]) -> str | None:
        """Score and train; returns why it ended early, or None."""
        serial = self.spec.resources.executor == "serial"
        if serial and self.spec.resources.gpu and not torch.cuda.is_available():
            raise EnvironmentFault(
                f"resources.gpu is {self.spec.resources.gpu:g}: torch finds no GPU here; leave it out"
            )
        try:
            with nullcontext() if serial or not trials else ray_session():
                jobs = {trial.trajectory: self.job(trial) for trial in trials if METHODS[trial.method].needs_scores}
                for job in {job.key: job for job in jobs.values()}.values():
                    folder = self.store.score_dir(job.key)
                    execute = execute_serially if serial else execute_on_ray
                    score_job(job, folder, self.spec.resources, execute, self.scored)
                if "grid" in stages:
                    assignments = [
                        self.assignment(trial, jobs.get(trial.trajectory)) for trial in longest_first(trials)
                    ]
                    finished = self.teller(len(assignments))
                    if serial:
                        run_serially(assignments, finished)
                    else:
                        run_on_ray(assignments, self.spec.resources, finished)
        except (Stopped, KeyboardInterrupt) as stop:
            return str(stop) or "stopped"
        return None

    def job(self, trial: Trial) -> ScoreJob:
        """The scores that a trial needs."""
        encoder, data = sources(self.spec, self.identities, trial.encoder, trial.dataset)
        setting = configs(trial.settings)
        return ScoreJob(encoder=encoder, data=data, scoring=setting.scoring, precision=setting.finetune.precision)

    def assignment(self, trial: Trial, job: ScoreJob | None) -> Assignment:
        encoder, data = sources(self.spec, self.identities, trial.encoder, trial.dataset)
        return Assignment(
            study=self.spec.name,
            trial=trial,
            encoder=encoder,
            data=data,
            root=self.store.root,
            scores=self.store.score_dir(job.key) if job else None,
            resources=self.spec.resources,
            commit=program_commit(),
        )

    def scored(self, name: str, done: int, total: int) -> None:
        self.reporter.step(f"scoring {name}", done, total)

    def teller(self, total: int) -> Finished:
        """Takes each trial that has ended: mirrors its records, counts, and says so."""
        ended = 0
        if total:
            self.reporter.step("trainings", 0, total)

        def finished(assignment: Assignment, reason: str | None) -> None:
            nonlocal ended
            ended += 1
            trial = assignment.trial
            name = " / ".join(part for part in (*trial.cell, f"seed {trial.seed}") if part)
            records = [record for key in trial.keys.values() if (record := self.store.read(key)) is not None]
            for record in records:
                self.mirror.add(record)
            if len(records) < len(trial.keys):
                self.failed += 1
                self.reporter.say(f"FAILED {name}: {reason or 'its record is damaged'}")
            else:
                tests = ", ".join(f"{r['objective']} {100 * r['test'][r['objective']]:.1f} %" for r in records)
                self.reporter.say(f"done   {name}: test {tests} ({records[0]['run']['seconds']:.0f} s)")
            self.reporter.step("trainings", ended, total)

        return finished

    def finish(self, plan: Sequence[Trial], stopped: str | None) -> Finish:
        """Aggregate, export and drain the mirror: also after a stop, so that what is there can be seen."""
        from study.report import export  # after the trials: it draws

        results = gather(self.store, self.spec, plan)
        files = export(self.store.root, results.cells, results.timing)
        for failure in self.store.failures():
            self.mirror.add_failure(failure)
        self.mirror.cells(results.cells)
        self.mirror.artifacts(files)
        return Finish(
            root=self.store.root,
            cells=results.cells,
            files=files,
            failed=self.failed,
            stopped=stopped,
            tracking_uri=self.mirror.uri,
            mirror_behind=self.mirror.close(),
        )


def longest_first(trials: Sequence[Trial]) -> list[Trial]:
    """Trials by what they cost, so that no long one is left alone at the end: passes per step × epochs, then seeds."""

    def cost(trial: Trial) -> float:
        method = METHODS[trial.method]
        passes = 1 + (method.policy is not None) + WEIGHTINGS[method.weighting](2, MetaConfig()).learns
        return passes * trial.settings["train"]["max_epochs"]

    return sorted(trials, key=lambda trial: (-cost(trial), trial.seed))


@lru_cache(maxsize=1)
def program_commit() -> str | None:
    """The commit of the checkout that this program runs from, "+" behind it where files are changed; None outside."""
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():  # installed elsewhere: a checkout around it is not this program's
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
