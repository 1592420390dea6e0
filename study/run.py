"""A study from its space file to its tables. The same command begins, continues and extends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from l3masking.errors import EnvironmentFault, InputError
from study.artefacts import make_artefacts
from study.assign import Assigner
from study.cluster.job_files import vanishes
from study.estimate.disk import lacking_space
from study.estimate.forecast import Forecast
from study.estimate.sizes import longest_first
from study.events import GridTeller, SearchTeller
from study.executor import make_executor
from study.plan.data_audit import FactsKeeper
from study.plan.declared import earlier_in_words, redeclared
from study.plan.grid import left, make_plan, narrow
from study.plan.inputs import LookAtData, identify
from study.plan.resolved import RESOLVED_FILE, Resolved, changed, pinned, read_resolved, write_resolved
from study.plan.searches import Search, said_of, searches
from study.plan.trials import Trial
from study.results.aggregate import Cell
from study.space.reader import read_space
from study.space.search_section import SEARCH_FOLDER
from study.space.spec import StudySpec, plain
from study.status.console import Reporter, followed
from study.status.progress import Progress
from study.store.briefs import briefs
from study.store.free_disk import check_free
from study.store.places import CHECKPOINTS, Place, find_place, open_store
from study.store.store import Store, write_atomic
from study.tracking.mirror import END_SECONDS, STOP_SECONDS, Mirror
from study.tracking.views import opening
from study.version import program_commit
from study.work.stopping import AtOnce, Stopped


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """What the command line says beside the space file."""

    space: Path
    out: Place | None = None  # a folder or a URL; default: studies/<name>
    sets: Sequence[str] = ()
    only: Sequence[str] = ()
    limit: int | None = None
    tracking_uri: str | None = None  # default: the study's own database
    stages: frozenset[str] = frozenset({"search", "grid"})  # after scoring, which each of them needs
    insecure: bool = False  # whether a cluster without a token is joined


@dataclass(frozen=True, kw_only=True)
class Finish:
    """How a run ended."""

    root: Path
    cells: list[Cell]
    files: list[Path]
    failed: int  # trials
    stopped: str | None  # why it ended early; None: nothing is left of what was asked for
    tracking_uri: str
    mirror_behind: str | None  # why, and what to do; None: it is not
    opening: str  # what shows the cells in MLflow: a command, or the link of a server


def run_study(options: RunOptions, reporter: Reporter) -> Finish:
    """Score, search, train, aggregate and export what the space declares and the records lack.

    SIGTERM or KeyboardInterrupt during scoring and training ends them early and the rest is still done. Later, and
    where it is the second one, KeyboardInterrupt is passed on.
    """
    spec = read_space(options.space, options.sets)
    place = find_place(options.out, spec.name)
    store = open_store(place)
    with store.lock(), followed(store.root, reporter) as progress:
        reporter.say(f"study {spec.name} in {place}")
        check_free(store.root)
        if vanishes(options.out):
            reporter.say(
                "warning: this folder belongs to the job and is deleted with it: give --out a folder that stays"
            )
        facts = FactsKeeper(store.root, spec)
        resolved = settle(store.root, spec, reporter, facts.look)
        plan = make_plan(*resolved)
        narrow(plan, options.only, options.limit)  # a wrong filter is refused before the study changes
        done = {brief.key for brief in briefs(store)}  # a record of a newer program is refused here too
        write_atomic(store.root / "space.yaml", options.space.read_bytes())
        write_resolved(store.root, resolved)
        facts.write()
        store.push()  # to a URL, before hours of work
        mirror = Mirror(
            store.root,
            spec.name,
            description=spec.description,
            uri=options.tracking_uri,
            datasets=resolved.spec.datasets,
            records=store.records(),
            searched=Store(store.root / SEARCH_FOLDER).records(),
        )
        run = _Run(place, store, resolved, plan, done, reporter, mirror, progress, options)
        if line := lacking_space(store.root, resolved.spec, run.open_trials()):
            reporter.say(line)
        try:
            stopped = run.everything()
        except (InputError, EnvironmentFault, OSError):
            run.finish("ended by an error")  # tables and mirror show what there is
            raise
        finish = run.finish(stopped)
        progress.close("stopped" if stopped else "finished")
        return finish


def settle(root: Path, spec: StudySpec, reporter: Reporter, look: LookAtData | None = None) -> Resolved:
    """Pin encoders and datasets, and say what has changed since the last run. `look`: as `identify` takes it."""
    reporter.say("finding encoders and datasets")
    before = read_resolved(root)
    spec = redeclared(pinned(spec, before), before, lambda: len(briefs(Store(root))))
    resolved = Resolved(spec, identify(spec, reporter.say, look), before.findings if before else {})
    if before is not None:
        known = earlier_in_words(before.spec.compare)
        for line in earlier_in_words(spec.compare)[len(known) :]:
            reporter.say(f"warning: {line}")
        changes = changed(resolved, before)
        if changes.cells:
            keys = ", ".join(changes.keys)
            reporter.say(f"changed since the last run: {keys}; new trainings for these, old records stay:")
            for cell in changes.cells:
                reporter.say(f"  {cell}")
    return resolved


class _Run:
    """The stages of one run."""

    def __init__(
        self,
        place: Place,
        store: Store,
        resolved: Resolved,
        plan: list[Trial],
        done: set[str],
        reporter: Reporter,
        mirror: Mirror,
        progress: Progress,
        options: RunOptions,
    ) -> None:
        self.place, self.store, self.resolved = place, store, resolved
        self.reporter, self.mirror, self.progress, self.options = reporter, mirror, progress, options
        self.done = done  # records before the grid, which alone makes new ones
        if resolved.spec.resources.save_models:  # a training whose model is not kept is repeated; its record stays
            self.done &= store.models()
        self.failed = 0
        self.assigner = Assigner(
            spec=resolved.spec, identities=resolved.identities, root=place, commit=program_commit()
        )
        self.adopt(plan)

    def adopt(self, plan: list[Trial]) -> None:
        """Go by `plan`: that of the start, and after a search the one with what was found."""
        self.plan = plan
        self.chosen = narrow(self.plan, self.options.only, self.options.limit)
        self.mirror.plan(self.plan)
        self.progress.expect(self.chosen, self.done)

    def everything(self) -> str | None:
        """Score, search and train; returns why it ended early, or None."""
        resources, insecure = self.resolved.spec.resources, self.options.insecure
        self.executor = make_executor(resources, self.store, self.place, insecure=insecure)
        try:
            self.executor.check(self.assigner.encoders(self.open_trials()))
            self.choose_gpus()
            self.artefacts()
            if "search" in self.options.stages:
                self.search()
            if "grid" in self.options.stages:
                self.grid()
        except AtOnce:
            raise
        except (Stopped, KeyboardInterrupt) as stop:
            return str(stop) or "stopped"
        finally:
            self.executor.close()
        return None

    def open_trials(self) -> list[Trial]:
        """The chosen trials without a record, each training once: a found setting may be the declared one."""
        return list({trial.trajectory: trial for trial in left(self.chosen, self.done)}.values())

    def open_searches(self) -> list[Search]:
        """The searches that a chosen trial waits for."""
        waiting = {(t.encoder, t.dataset, t.method) for t in self.chosen if t.pending}
        found = searches(self.resolved.spec, self.resolved.identities)
        return [search for search in found if (search.encoder, search.dataset, search.method) in waiting]

    def wanted(self) -> list[Trial]:
        """The trials that chosen ones and their searches train, or others of the same sizes that read as much."""
        wanted = [trial for trial in self.open_trials() if not trial.pending]
        for search in self.open_searches():
            values = search.artefact_values()
            seeds = search.config.seed_list  # each may have splits, and so importance, of its own
            wanted += [search.trial(self.resolved.identities, value, seed) for value in values for seed in seeds]
        return wanted

    def choose_gpus(self) -> None:
        """Measure what trainings take of a GPU, where they share one or are to."""
        shares, lines = self.executor.shares([self.assigner.of_grid(trial) for trial in self.wanted()])
        for line in lines:
            self.reporter.say(line)
        self.assigner = dataclasses.replace(self.assigner, spec=self.assigner.spec.with_gpus(shares))

    def artefacts(self) -> None:
        """All scores and importances that chosen trials and their searches need."""
        resources = self.assigner.spec.resources_of
        jobs = [
            (job, resources(trial.encoder, trial.dataset))
            for trial in self.wanted()
            for job in self.assigner.jobs(trial).values()
        ]
        lost = make_artefacts(
            {job.key: (job, own) for job, own in jobs}.values(),
            lambda job: self.store.artefact_place(job.room, job.key),
            self.executor.make,
            self.reporter.step,
        )
        for reason in dict.fromkeys(lost.values()):
            self.reporter.say(f"FAILED {reason} (the arms that need it fail; the others run)")
        self.assigner = dataclasses.replace(self.assigner, lost=lost)

    def search(self) -> None:
        """Try settings on validation data until every search that is asked for has tried enough; keep what it found."""
        wanted = self.open_searches()
        if not wanted:
            return
        from study.search.stage import SearchStage  # Optuna, which only a search needs

        for line in said_of(wanted):
            self.reporter.say(line)
        stage = SearchStage(self.place, wanted, self.assigner.of_search)
        teller = SearchTeller(stage, self.reporter, self.mirror)
        try:
            self.executor.search(stage, teller.tried)
        finally:
            self.failed += teller.failed
            found = {key: plain(finding) for key, finding in stage.findings().items()}
            self.resolved = self.resolved._replace(findings={**self.resolved.findings, **found})
            write_resolved(self.store.root, self.resolved)
            self.store.push(RESOLVED_FILE)
            self.mirror.findings(self.resolved.findings.values())
            self.adopt(make_plan(*self.resolved))

    def grid(self) -> None:
        """Train what is left."""
        spec, identities = self.assigner.spec, self.resolved.identities
        finished = {trial.trajectory for trial in self.plan if self.done.issuperset(trial.keys.values())}
        for trajectory in self.store.artefacts(CHECKPOINTS) & finished:  # of runs that ended between a record and this
            self.store.discard(CHECKPOINTS, trajectory)
        trials = [trial for trial in self.open_trials() if not trial.pending]
        self.reporter.say(f"{len(self.chosen)} trainings chosen of {len(self.plan)}, {len(trials)} left to run")
        assignments = [self.assigner.of_grid(trial) for trial in longest_first(trials)]
        slots = self.executor.prepare(assignments)
        forecast = Forecast(self.store, spec, identities, trials, slots=slots)
        for line in forecast.before():
            self.reporter.say(line)
        teller = GridTeller(self.store, self.reporter, self.mirror, self.progress, len(assignments))
        try:
            self.executor.train(assignments, teller)
        finally:
            self.failed += teller.failed
        if not teller.failed:
            for line in forecast.after():
                self.reporter.say(line)

    def finish(self, stopped: str | None) -> Finish:
        """Aggregate, export and drain the mirror: also after a stop, so that what is there can be seen."""
        from study.report.publish import publish  # after the trials: it draws

        self.store.pull()  # of a URL: what failed on other machines
        results, files = publish(self.store, self.resolved, self.plan)
        for failure in self.store.failures():
            self.mirror.add_failure(failure)
        self.mirror.cells(results.cells)
        self.mirror.artifacts([*files, self.store.root / "space.yaml", self.store.root / "resolved.yaml"])
        behind = self.mirror.close(STOP_SECONDS if stopped else END_SECONDS)
        return Finish(
            root=self.store.root,
            cells=results.cells,
            files=files,
            failed=self.failed,
            stopped=stopped,
            tracking_uri=self.mirror.uri,
            mirror_behind=f"({behind}); {self.mirror.advice}" if behind else None,
            opening=opening(self.store.root, self.mirror.uri, self.mirror.page),
        )
