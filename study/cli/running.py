"""The verbs that compute, and the one that says what would be computed: run, score, plan."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from l3masking.errors import InputError
from study.cli.options import Insecure, Limit, Only, Out, Sets, Space, Uri, find_space
from study.cli.powering import plan_power
from study.cli.watching import notice, slots
from study.exit_codes import DONE, STOPPED, TRIALS_FAILED
from study.signals import interrupting

if TYPE_CHECKING:
    from study.plan.trials import Identities, Trial
    from study.space.spec import StudySpec
    from study.store.places import Place


def run(
    space: Space,
    sets: Sets = None,
    out: Out = None,
    only: Only = None,
    limit: Limit = None,
    tracking_uri: Uri = None,
    insecure_cluster: Insecure = False,
) -> None:
    """Score, train, aggregate and export all that SPACE declares. The same command continues after a stop."""
    _run(space, sets=sets, out=out, only=only, limit=limit, tracking_uri=tracking_uri, insecure=insecure_cluster)


def score(
    space: Space,
    sets: Sets = None,
    out: Out = None,
    only: Only = None,
    limit: Limit = None,
    tracking_uri: Uri = None,
    insecure_cluster: Insecure = False,
) -> None:
    """Score the texts that SPACE needs scores of, and nothing else."""
    given = {"sets": sets, "out": out, "only": only, "limit": limit, "tracking_uri": tracking_uri}
    _run(space, **given, insecure=insecure_cluster, stages=frozenset())


def search(
    space: Space,
    sets: Sets = None,
    out: Out = None,
    only: Only = None,
    limit: Limit = None,
    tracking_uri: Uri = None,
    insecure_cluster: Insecure = False,
) -> None:
    """Score, and search what SPACE declares under `search`, on validation data alone; the grid is left for `run`."""
    _needs_search(find_space(space), sets or ())
    given = {"sets": sets, "out": out, "only": only, "limit": limit, "tracking_uri": tracking_uri}
    _run(space, **given, insecure=insecure_cluster, stages=frozenset({"search"}))


def plan(
    space: Space,
    sets: Sets = None,
    out: Out = None,
    only: Only = None,
    limit: Limit = None,
    calibrate: Annotated[bool, typer.Option("--calibrate", help="Time a few updates of each kind first.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show cells, trials, what is done and left, time and disk, without computing anything. Works offline."""
    from study.estimate.sizes import data_sizes
    from study.estimate.summary import describe, summarize
    from study.estimate.timing_file import read_calibration
    from study.plan.grid import left, make_plan, narrow
    from study.plan.inputs import identify_at_hand
    from study.plan.resolved import Resolved, changed, pinned, read_resolved
    from study.plan.searches import said_of, searches
    from study.space.reader import read_space
    from study.store.briefs import briefs
    from study.store.places import find_place, opened
    from study.store.store import Store

    spec = read_space(find_space(space), sets or ())
    place = find_place(out, spec.name)
    root = opened(place)
    before = read_resolved(root)
    spec = pinned(spec, before)
    resolved = Resolved(spec, identify_at_hand(spec), before.findings if before else {})
    identities = resolved.identities
    whole = make_plan(*resolved)
    trials = narrow(whole, only or (), limit)
    if calibrate:
        _calibrate(spec, identities, left(trials, {brief.key for brief in briefs(Store(root))}), root)
    wanted = searches(spec, identities)
    finished = briefs(Store(root))
    summary = summarize(
        spec,
        trials,
        finished,
        slots=slots(spec.resources),
        sizes=data_sizes(spec, identities),
        calibration=read_calibration(root, spec.resources_of),
        search_trials=sum(search.config.settings for search in wanted),
    )
    power = plan_power(spec, whole, finished)
    if as_json:
        print(json.dumps(summary.as_dict() | {"power": power.as_dict() if power else None}, indent=1))
        return
    again = _without_model(place, trials, {brief.key for brief in finished}) if spec.resources.save_models else []
    print("\n".join([describe(summary, root=root), *said_of(wanted), *again]))
    if power:
        from study.report.power_text import power_lines

        print("\n".join(["", *power_lines(power)]))
    changes = changed(resolved, before) if before else None
    if changes and changes.cells:
        print(f"\nchanged since the last run: {', '.join(changes.keys)}; new trainings for these, old records stay:")
        print("\n".join(f"  {cell}" for cell in changes.cells))


def _without_model(place: Place, trials: Sequence[Trial], done: set[str]) -> list[str]:
    """What to say of finished trainings whose model is not kept; nothing where there are none."""
    from study.store.places import open_store

    lacking = done - open_store(place).models()
    again = sum(not lacking.isdisjoint(trial.keys.values()) for trial in trials)
    return [f"models: a run repeats {again} finished trainings, because no model of them is kept"] if again else []


def _calibrate(spec: StudySpec, identities: Identities, trials: Sequence[Trial], root: Path) -> None:
    """Time what is available, and keep it for later plans. What is said goes to stderr: stdout may be JSON."""
    from study.estimate.timing import calibrate
    from study.estimate.timing_file import write_calibration

    measured = calibrate(spec, identities, trials, lambda line: print(line, file=sys.stderr, flush=True))
    root.mkdir(parents=True, exist_ok=True)
    write_calibration(root, measured)


def _needs_search(file: Path, sets: Sequence[str]) -> None:
    from study.space.reader import read_space

    if read_space(file, sets).search is None:
        raise InputError(f"{file.name}: no `search` is declared, so there is nothing to search: see docs/spaces.md")


def _run(space: str, **options: Any) -> None:
    """Run a space; `options` are fields of RunOptions, None if the command line does not say."""
    try:
        with interrupting():
            code = _run_to_end(space, {name: value for name, value in options.items() if value is not None})
    except KeyboardInterrupt:
        print("stopped: the same command continues")
        code = STOPPED
    raise typer.Exit(code)


def _run_to_end(space: str, given: dict[str, Any]) -> int:
    """The exit code of a run that came to its tables."""
    from study.space.reader import read_space

    file = find_space(space)
    read_space(file, given.get("sets", ()))  # a refused file costs no import of torch

    from study.report.set_tables import terminal_sets
    from study.report.tables import terminal_table
    from study.run import RunOptions, run_study
    from study.status.console import reporter

    options = RunOptions(space=file, **given)
    with reporter() as live:
        finish = run_study(options, live)
    if options.stages:
        console = Console(width=None if sys.stdout.isatty() else 120)
        for table in (terminal_table(finish.cells), *terminal_sets(finish.cells, console.width)):
            console.print(table)
    else:  # scored alone: a table of trainings that were not asked for says nothing
        print(f"scores   {finish.root / 'scores'}")
    tables = ", ".join(file.name for file in finish.files if file.parent.name == "tables")
    print(f"tables   {finish.root / 'tables'} ({tables})")
    print(f"figures  {finish.root / 'figures'}")
    print(f"report   {finish.root / 'report.html'}")
    print(f"mlflow   {finish.tracking_uri}")
    print(f"view     {finish.opening}")
    notice(finish.root)
    if finish.mirror_behind:
        print(f"the MLflow mirror is behind {finish.mirror_behind}")
    if finish.stopped:
        print(f"{finish.stopped}: the same command continues")
        return STOPPED
    if finish.failed:
        print(f"{finish.failed} trial{'s' * (finish.failed != 1)} failed: see `l3study status {finish.root}`")
        return TRIALS_FAILED
    return DONE
