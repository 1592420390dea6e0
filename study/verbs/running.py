"""The verbs that compute, and the one that says what would be computed: run, score, plan."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from study.verbs.options import Limit, Only, Out, Sets, Space, Uri, find_space
from study.verbs.watching import notice, slots

STOPPED = 75  # the exit code of a run that the same command continues


def run(
    space: Space,
    sets: Sets = None,
    out: Out = None,
    only: Only = None,
    limit: Limit = None,
    tracking_uri: Uri = None,
) -> None:
    """Score, train, aggregate and export all that SPACE declares. The same command continues after a stop."""
    _run(space, sets=sets, out=out, only=only, limit=limit, tracking_uri=tracking_uri)


def score(
    space: Space, sets: Sets = None, out: Out = None, only: Only = None, limit: Limit = None, tracking_uri: Uri = None
) -> None:
    """Score the texts that SPACE needs scores of, and nothing else."""
    _run(space, sets=sets, out=out, only=only, limit=limit, tracking_uri=tracking_uri, stages=frozenset())


def search(
    space: Space, sets: Sets = None, out: Out = None, only: Only = None, limit: Limit = None, tracking_uri: Uri = None
) -> None:
    """Score, and search what SPACE declares under `search`, on validation data alone; the grid is left for `run`."""
    _run(space, sets=sets, out=out, only=only, limit=limit, tracking_uri=tracking_uri, stages=frozenset({"search"}))


def plan(
    space: Space,
    sets: Sets = None,
    out: Out = None,
    only: Only = None,
    limit: Limit = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Show cells, trials, what is done and what is left, without computing anything. Works offline."""
    from study.inputs import identify_at_hand
    from study.plan import make_plan, narrow
    from study.resolved import Resolved, changed, identified, pinned, read_resolved
    from study.space import read_space
    from study.store import Store
    from study.summary import describe, summarize

    spec = read_space(find_space(space), sets or ())
    root = out or Path("studies") / spec.name
    before = read_resolved(root)
    spec = pinned(spec, before)
    identities = identified(identify_at_hand(spec), before)
    trials = narrow(make_plan(spec, identities), only or (), limit)
    records = Store(root).records()
    summary = summarize(spec, trials, records, slots=slots(spec.resources))
    if as_json:
        print(json.dumps(summary.as_dict(), indent=1))
        return
    print(describe(summary, trials, (record["key"] for record in records)))
    changes = changed(Resolved(spec, identities), before) if before else None
    if changes and changes.cells:
        print(f"\nchanged since the last run: {', '.join(changes.keys)}; these would run anew:")
        print("\n".join(f"  {cell}" for cell in changes.cells))


def _run(space: str, **options: Any) -> None:
    """Run a space; `options` are fields of RunOptions, None where the command line does not say."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it stops a run as Ctrl-C does
    try:
        code = _run_to_end(space, {name: value for name, value in options.items() if value is not None})
    except KeyboardInterrupt:
        print("stopped: the same command continues")
        code = STOPPED
    raise typer.Exit(code)


def _run_to_end(space: str, given: dict[str, Any]) -> int:
    """The exit code of a run that came to its tables."""
    from study.progress import reporter
    from study.report import terminal_table
    from study.run import RunOptions, run_study

    options = RunOptions(space=find_space(space), **given)
    with reporter() as live:
        finish = run_study(options, live)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(terminal_table(finish.cells))
    tables = ", ".join(file.name for file in finish.files if file.parent.name == "tables")
    print(f"tables   {finish.root / 'tables'} ({tables})")
    print(f"figures  {finish.root / 'figures'}")
    print(f"mlflow   {finish.tracking_uri}")
    notice(finish.root)
    if finish.mirror_behind:
        print(f"the MLflow mirror is behind ({finish.mirror_behind}); the next run catches up")
    if finish.stopped:
        print(f"{finish.stopped}: the same command continues")
        return STOPPED
    if finish.failed:
        print(f"{finish.failed} trials failed: see `l3study status {finish.root}`")
        return 1
    return 0
