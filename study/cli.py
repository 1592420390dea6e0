"""The command line: `l3study VERB`, or `python -m study VERB`.

Exit codes: 0 all trials done; 1 some failed (tables are written and marked); 2 wrong usage, space file or data; 3 the
environment lacks something; 75 stopped before the end: the same command continues.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from l3masking.errors import EnvironmentFault, InputError

if TYPE_CHECKING:
    from study.spec import Resources

STOPPED = 75
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does masking the tokens that a vanilla masked language model finds unlikely help? One command, one table.",
)

Space = Annotated[str, typer.Argument(help="A space file, or a bare name of one in search_spaces/.")]
Folder = Annotated[Path, typer.Argument(help="A study's folder, as `run` made it.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the space file.")]
Out = Annotated[Path | None, typer.Option("--out", help="The study's folder; default studies/<name>.")]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="NAME=VALUE", help="encoder, dataset, method, variant or seed.")
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="At most N trainings.")]
Uri = Annotated[str | None, typer.Option("--tracking-uri", help="Mirror into this MLflow store or server instead.")]


@app.callback()
def common(debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library logs.")] = False) -> None:
    """Settings of all verbs."""
    os.environ["L3STUDY_DEBUG"] = "1" if debug else os.environ.get("L3STUDY_DEBUG", "")
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not debug:
        _quiet()


@app.command(epilog="Example: l3study run quickstart --set seeds=5")
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


@app.command(epilog="Example: l3study score quickstart")
def score(
    space: Space, sets: Sets = None, out: Out = None, only: Only = None, limit: Limit = None, tracking_uri: Uri = None
) -> None:
    """Score the texts that SPACE needs scores of, and nothing else."""
    _run(space, sets=sets, out=out, only=only, limit=limit, tracking_uri=tracking_uri, stages=frozenset({"score"}))


@app.command(epilog="Example: l3study plan quickstart --json")
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
    from study.resolved import Resolved, changed, pinned, read_resolved
    from study.space import read_space
    from study.store import Store
    from study.summary import describe, summarize

    spec = read_space(find_space(space), sets or ())
    root = out or Path("studies") / spec.name
    before = read_resolved(root)
    spec = pinned(spec, before)
    identities = identify_at_hand(spec)
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


@app.command(epilog="Example: l3study status studies/quickstart")
def status(folder: Folder) -> None:
    """Show how far a study is, and why trials failed."""
    from study.plan import left, make_plan
    from study.results import planned
    from study.store import Store
    from study.summary import describe, summarize

    spec, identities = planned(folder)
    store = Store(folder)
    trials = make_plan(spec, identities)
    records = store.records()
    done = {record["key"] for record in records}
    print(describe(summarize(spec, trials, records, slots=slots(spec.resources)), trials, done))
    notice(folder)
    keys = {key for trial in left(trials, done) for key in trial.keys.values()}
    failures = [failure for failure in store.failures() if failure["key"] in keys]
    for failure in failures:
        cell = [str(failure[name]) for name in ("encoder", "dataset", "method", "variant") if failure[name]]
        print(f"FAILED {' / '.join(cell)} / seed {failure['seed']} / {failure['objective']}: {failure['reason']}")
    if failures:
        print("the same `l3study run` tries them again")


@app.command(epilog="Example: l3study export studies/quickstart --format md,tex")
def export(
    folder: Folder,
    formats: Annotated[str, typer.Option("--format", help="Comma separated: md, tex, csv, json.")] = "md,tex,csv,json",
) -> None:
    """Write tables and figures again from the records."""
    from study.results import write_tables

    _, files = write_tables(folder, [name.strip() for name in formats.split(",")])
    print("\n".join(str(file) for file in files))


@app.command(epilog="Example: l3study prefetch local_files")
def prefetch(space: Space, sets: Sets = None) -> None:
    """Fetch the encoders and datasets that SPACE needs, so that a machine without a network can run it."""
    from study.inputs import prefetch as fetch
    from study.space import read_space

    print("\n".join(fetch(read_space(find_space(space), sets or ()))))


def slots(resources: Resources) -> int:
    """Trials that run at a time, as far as this machine tells."""
    fits = max(1, int((os.cpu_count() or 1) // resources.cpu))
    return min(fits, resources.workers or fits)


def notice(root: Path) -> None:
    """Say where something was moved aside, in whichever process that happened."""
    for name, what in (("conflicts", "computed twice with different results"), ("quarantine", "damaged")):
        found = sorted((root / name).glob("*"))
        if found:
            print(f"{len(found)} files were {what}: see {root / name}")


def find_space(name: str) -> Path:
    """The space file of a path, or of a bare name in search_spaces/ here or beside the package."""
    folders = (Path("search_spaces"), Path(__file__).resolve().parent.parent / "search_spaces")
    candidates = [Path(name), *(folder / f"{name}.yaml" for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    from study.checked import nearest

    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise InputError(f"{name}: no such file and no space of this name; {nearest(name, known)}")


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


def _quiet() -> None:
    """Keep libraries' chatter out of the output; warnings of ours come as one line."""
    warnings.simplefilter("ignore")
    for module in ("study", "l3masking"):
        warnings.filterwarnings("always", module=rf"{module}(\.|$)")
    warnings.showwarning = lambda message, *rest, **more: print(f"warning: {message}", file=sys.stderr)
    for name, value in {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}.items():
        os.environ.setdefault(name, value)


def main() -> None:
    """Run the command line: one line for what the user can mend, a traceback with --debug, wherever that stands."""
    if "--debug" in sys.argv[1:]:
        sys.argv[1:] = ["--debug", *(word for word in sys.argv[1:] if word != "--debug")]
    try:
        app()
    except (InputError, EnvironmentFault, OSError) as error:  # OSError: a full disk, no permission, no such cluster
        if os.environ.get("L3STUDY_DEBUG"):
            traceback.print_exc()
        said = error if isinstance(error, InputError | EnvironmentFault) else f"{type(error).__name__}: {error}"
        print(f"l3study: {said}", file=sys.stderr)
        sys.exit(2 if isinstance(error, InputError) else 3)
