"""A study from its space file to its tables. The same command begins, continues and extends it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from l3masking.errors import EnvironmentFault, InputError
from study.aggregate import Cell
from study.assign import Assigner
from study.checkout import program_commit
from study.distant.luggage import vanishes
from study.distant.nodes import check_shared
from study.distant.places import Place, find_place, open_store
from study.inputs import identify
from study.mirror.page import opening
from study.outlook.briefs import briefs
from study.outlook.fit import check_on_ray
from study.outlook.forecast import Forecast
from study.outlook.sizes import passes
from study.plan import left, make_plan, narrow
from study.resolved import FILE, Resolved, changed, identified, pinned, read_resolved, write_resolved
from study.schedule import Stopped, most_slots, ray_session, run_on_ray, run_serially
from study.score import Done, ScoreJob, Shard, execute_on_ray, execute_serially, score_job
from study.searching.plan import Search, searches
from study.searching.space import FIRST_SEED, SEARCH_FOLDER
from study.space import read_space
from study.spec import Resources, StudySpec, plain
from study.store import Store, write_atomic
from study.tracking import Mirror
from study.trials import Identities, Trial
from study.watching.live import Progress
from study.watching.progress import Reporter, followed
from study.watching.telling import GridTeller, SearchTeller


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

    KeyboardInterrupt during scoring and training ends them early and the rest is still done; later it is passed on.
    """
    spec = read_space(options.space, options.sets)
    place = find_place(options.out, spec.name)
    store = open_store(place)
    with store.lock(), followed(store.root, reporter) as progress:
        reporter.say(f"study {spec.name} in {place}")
        if vanishes(options.out):
            reporter.say("warning: this is the job's own folder, which vanishes with it: give --out a lasting one")
        spec, identities = settle(store.root, options.space, spec, reporter)
        store.push()  # to a URL, before hours of work
        narrow(make_plan(spec, identities), options.only, options.limit)  # a wrong filter is told before any work
        mirror = Mirror(
            store.root,
            spec.name,
            description=spec.description,
            uri=options.tracking_uri,
            datasets=spec.datasets,
            records=store.records(),
            searched=Store(store.root / SEARCH_FOLDER).records(),
        )
        run = _Run(place, store, spec, identities, reporter, mirror, progress, options)
        try:
            stopped = run.everything()
        except (InputError, EnvironmentFault, OSError):
            run.finish("ended by an error")  # tables and mirror show what there is
            raise
        finish = run.finish(stopped)
        progress.close("stopped" if stopped else "finished")
        return finish


def settle(root: Path, space: Path, spec: StudySpec, reporter: Reporter) -> Resolved:
    """Pin encoders and datasets, say what has changed since the last run, and write space.yaml and resolved.yaml."""
    reporter.say("finding encoders and datasets")
    before = read_resolved(root)
    spec = pinned(spec, before)
    resolved = Resolved(spec, identified(identify(spec, reporter.say), before))
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
        self,
        place: Place,
        store: Store,
        spec: StudySpec,
        identities: Identities,
        reporter: Reporter,
        mirror: Mirror,
        progress: Progress,
        options: RunOptions,
    ) -> None:
        self.place, self.store, self.spec, self.identities = place, store, spec, identities
        self.reporter, self.mirror, self.progress, self.options = reporter, mirror, progress, options
        self.serial = spec.resources.executor == "serial"
        self.done = {brief.key for brief in briefs(store)}  # records before the grid, which alone makes new ones
        self.failed = 0
        self.session = ExitStack()
        self.connected = False

    def everything(self) -> str | None:
        """Score, search and train; returns why it ended early, or None."""
        if self.serial and self.spec.resources.gpu and not torch.cuda.is_available():
            raise EnvironmentFault(
                f"resources.gpu is {self.spec.resources.gpu:g}: torch finds no GPU here; leave it out"
            )
        plan = make_plan(self.spec, self.identities)
        self.progress.expect(self.chosen(), self.done)
        self.mirror.plan(plan)
        with self.session:
            try:
                self.score()
                if "search" in self.options.stages:
                    self.search()
                if "grid" in self.options.stages:
                    self.grid()
            except (Stopped, KeyboardInterrupt) as stop:
                return str(stop) or "stopped"
        return None

    def chosen(self) -> list[Trial]:
        """The trials that the command line asks for, as the plan is now."""
        return narrow(make_plan(self.spec, self.identities), self.options.only, self.options.limit)

    def open_trials(self) -> list[Trial]:
        """Of those the ones without a record, each training once: a found setting may be the declared one."""
        return list({trial.trajectory: trial for trial in left(self.chosen(), self.done)}.values())

    def open_searches(self) -> list[Search]:
        """The searches that a chosen trial waits for."""
        waiting = {(t.encoder, t.dataset, t.method) for t in self.chosen() if t.pending}
        found = searches(self.spec, self.identities)
        return [search for search in found if (search.encoder, search.dataset, search.method) in waiting]

    @property
    def assigner(self) -> Assigner:
        return Assigner(spec=self.spec, identities=self.identities, root=self.place, commit=program_commit())

    def connect(self) -> None:
        """Join Ray, with the first thing that needs it."""
        if not self.connected:
            self.session.enter_context(ray_session())
            check_shared(self.place)
            self.connected = True

    def score(self) -> None:
        """All scores that chosen trials and their searches need."""
        wanted = [trial for trial in self.open_trials() if not trial.pending]
        for search in self.open_searches():
            wanted += [search.trial(self.identities, values, FIRST_SEED) for values in search.scoring_values()]
        jobs = [job for trial in wanted if (job := self.assigner.job(trial)) is not None]
        for job in {job.key: job for job in jobs}.values():
            resources = self.spec.resources_of(job.encoder.name, job.data.name)
            score_job(job, self.store.score_place(job.key), resources, self.execute_scoring, self.scored)

    def execute_scoring(
        self, job: ScoreJob, place: Place, resources: Resources, missing: Sequence[Shard]
    ) -> Iterable[Done]:
        if self.serial:
            return execute_serially(job, place, resources, missing)
        if missing:
            self.connect()
        return execute_on_ray(job, place, resources, missing)

    def scored(self, name: str, done: int, total: int) -> None:
        self.reporter.step(f"scoring {name}", done, total)

    def search(self) -> None:
        """Try settings on validation data until every search that is asked for has tried enough; keep what it found."""
        wanted = self.open_searches()
        if not wanted:
            return
        from study.search import Stage
        from study.searching.tune import tune_searches  # Optuna and Ray Tune, which only a search needs

        stage = Stage(self.place, wanted, self.assigner.of_search)
        teller = SearchTeller(stage, self.reporter, self.mirror)
        try:
            if self.serial:
                stage.serially(teller.tried)
            elif stage.explorer.total:
                self.connect()
                check_on_ray(self.store.root, [stage.sample(search) for search in wanted])
                takes = [self.spec.resources_of(search.encoder, search.dataset) for search in wanted]
                tune_searches(stage, takes, teller.tried)
        finally:
            self.failed += teller.failed
            found = {key: plain(finding) for key, finding in stage.findings().items()}
            self.identities = dataclasses.replace(self.identities, found={**self.identities.found, **found})
            write_resolved(self.store.root, Resolved(self.spec, self.identities))
            self.store.push(FILE)
            self.mirror.findings(self.identities.found.values())
            self.mirror.plan(make_plan(self.spec, self.identities))
            self.progress.expect(self.chosen(), self.done)

    def grid(self) -> None:
        """Train what is left."""
        trials = [trial for trial in self.open_trials() if not trial.pending]
        total = len(make_plan(self.spec, self.identities))
        self.reporter.say(f"{len(self.chosen())} trainings chosen of {total}, {len(trials)} left to run")
        assignments = [self.assigner.of_grid(trial) for trial in longest_first(trials)]
        if assignments and not self.serial:
            self.connect()
            check_on_ray(self.store.root, assignments)
        slots = 1 if self.serial or not trials else most_slots(a.resources for a in assignments)
        forecast = Forecast(self.store, self.spec, self.identities, trials, slots=slots)
        for line in forecast.before():
            self.reporter.say(line)
        teller = GridTeller(self.store, self.reporter, self.mirror, self.progress, len(assignments))
        try:
            if self.serial:
                run_serially(assignments, teller)
            else:
                run_on_ray(assignments, teller)
        finally:
            self.failed += teller.failed
        if not teller.failed:
            for line in forecast.after():
                self.reporter.say(line)

    def finish(self, stopped: str | None) -> Finish:
        """Aggregate, export and drain the mirror: also after a stop, so that what is there can be seen."""
        from study.results import write_tables  # after the trials: it draws

        self.store.pull()  # of a URL: what failed on other machines
        results, files = write_tables(self.store.root)
        for failure in self.store.failures():
            self.mirror.add_failure(failure)
        self.mirror.cells(results.cells)
        self.mirror.artifacts([*files, self.store.root / "space.yaml", self.store.root / "resolved.yaml"])
        behind = self.mirror.close()
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


def longest_first(trials: Sequence[Trial]) -> list[Trial]:
    """Trials by what they cost, so that no long one is left alone at the end: passes per step × epochs, then seeds."""

    def cost(trial: Trial) -> float:
        return float(passes(trial.method) * trial.settings["train"]["max_epochs"])

    return sorted(trials, key=lambda trial: (-cost(trial), trial.seed))
