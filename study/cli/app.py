"""The command line: `l3study VERB`, or `python -m study VERB`.

Exit codes: 0 all trials done; 1 some failed (tables are written and marked); 2 wrong usage, space file or data; 3 the
environment lacks something; 75 stopped before the end: the same command continues.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from collections.abc import Callable
from typing import Annotated

import typer

from l3masking.errors import EnvironmentFault, InputError
from study.cli import exporting, machines, mirroring, running, watching
from study.version import program_version

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does masking the tokens that a vanilla masked language model finds unlikely help? One command, one table.",
)
EXAMPLES: dict[Callable[..., None], str] = {  # verb -> an example that runs; to add a verb: one entry
    running.run: "l3study run quickstart --set seeds=5",
    running.score: "l3study score quickstart",
    running.search: "l3study search mask_probability --out studies/means",
    running.plan: "l3study plan quickstart --json",
    watching.status: "l3study status studies/quickstart",
    watching.explain: "l3study explain studies/quickstart 3f2a",
    exporting.export: "l3study export studies/quickstart --format md,tex",
    exporting.compare: "l3study compare studies/quickstart --baseline rtm",
    mirroring.ui: "l3study ui studies/quickstart",
    mirroring.sync: "l3study sync studies/quickstart --tracking-uri http://127.0.0.1:5000",
    machines.prefetch: "l3study prefetch local_files",
    machines.doctor: "l3study doctor quickstart",
    machines.submit: "l3study submit quickstart --address http://127.0.0.1:8265 --out s3://bucket/quickstart",
    machines.stop: "l3study stop quickstart-20261121-041500-3f2a",
    machines.logs: "l3study logs quickstart-20261121-041500-3f2a",
}
for _verb, _example in EXAMPLES.items():
    app.command(epilog=f"Example: {_example}")(_verb)


def _print_version(wanted: bool) -> None:
    """Print the program's version and end, where --version is given."""
    if wanted:
        print(f"l3study {program_version() or 'of unknown version'}")
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
]


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and library logs.")] = False,
    version: Version = False,
) -> None:
    """Settings of all verbs."""
    os.environ["L3STUDY_DEBUG"] = "1" if debug else os.environ.get("L3STUDY_DEBUG", "")
    logging.basicConfig(level=logging.INFO if debug else logging.WARNING, format="%(message)s", stream=sys.stderr)
    if not debug:
        _quiet()


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
