"""The command line: `l3study VERB`, or `python -m study VERB`.

`l3study --help` prints the exit codes.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from l3masking.errors import DiskFull, EnvironmentFault, InputError
from l3masking.whole import TEMPORARY
from study.cli import (
    exporting,
    inspecting,
    listing,
    looking,
    machines,
    mirroring,
    powering,
    running,
    using,
    verifying,
    watching,
)
from study.exit_codes import DEFECT, ENVIRONMENT_FAULT, EXIT_CODES, INPUT_ERROR, STOPPED
from study.surroundings import spare_loopback, tolerate_encodings
from study.version import program_version

INTERRUPTED = 130  # what typer makes of Ctrl-C before a verb has begun
app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Does masking the tokens that a vanilla masked language model finds unlikely help? One command, one table.",
    epilog="Exit codes: " + "; ".join(f"{code} {meaning}" for code, meaning in EXIT_CODES.items()) + ".",
)
EXAMPLES: dict[Callable[..., None], str] = {  # verb -> an example that runs; to add a verb: one entry
    running.run: "l3study run quickstart --set seeds=5",
    running.score: "l3study score quickstart",
    running.search: "l3study search mask_probability --out studies/means",
    running.plan: "l3study plan quickstart --json",
    looking.data: "l3study data quickstart --json",
    watching.status: "l3study status studies/quickstart",
    watching.explain: "l3study explain studies/quickstart 3f2a",
    exporting.export: "l3study export studies/quickstart --format md,tex",
    exporting.compare: "l3study compare studies/quickstart --baseline rtm",
    verifying.verify: "l3study verify studies/quickstart",
    powering.power: "l3study power studies/quickstart --difference 0.02",
    using.export_model: "l3study export-model studies/quickstart toyworld/toyworld/l3masking --out model",
    using.predict: "l3study predict model texts.txt --out labels.csv",
    inspecting.pos: "l3study pos studies/quickstart --tagger textblob",
    inspecting.inspect: "l3study inspect --encoder toyworld --space quickstart --text 'a text' --policy whole_word",
    listing.methods: "l3study methods --json",
    listing.policies: "l3study policies --json",
    listing.check_policy: "l3study check-policy docs/examples/my_policy.py --set power=2",
    mirroring.ui: "l3study ui studies/quickstart",
    mirroring.sync: "l3study sync studies/quickstart --tracking-uri http://127.0.0.1:5000",
    machines.prefetch: "l3study prefetch paper",
    machines.doctor: "l3study doctor quickstart",
    machines.submit: "l3study submit quickstart --address http://127.0.0.1:8265 --out s3://bucket/quickstart",
    machines.stop: "l3study stop quickstart-20261121-041500-3f2a",
    machines.logs: "l3study logs quickstart-20261121-041500-3f2a",
}


def stoppable(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb that ends with STOPPED on Ctrl-C or if nobody reads its output any more (`l3study plan SPACE | head`)."""

    @functools.wraps(verb)
    def ended(*words: Any, **options: Any) -> None:
        try:
            verb(*words, **options)
        except KeyboardInterrupt:
            raise typer.Exit(STOPPED) from None
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):  # a stream that is no file
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(STOPPED) from None

    return ended


for _verb, _example in EXAMPLES.items():
    app.command(epilog=f"Example: {_example}")(stoppable(_verb))


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
    warnings.showwarning = lambda message, *rest, **more: print(f"warning: {_printable(str(message))}", file=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.ERROR)  # each attempt at a server that is away
    for name, value in {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "TRANSFORMERS_VERBOSITY": "error"}.items():
        os.environ.setdefault(name, value)


def main() -> None:
    """Run the command line: one line for what the user can fix, a traceback with --debug, wherever that stands."""
    tolerate_encodings()
    spare_loopback()
    if "--debug" in sys.argv[1:]:
        sys.argv[1:] = ["--debug", *(word for word in sys.argv[1:] if word != "--debug")]
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:
            raise KeyboardInterrupt from end
        raise
    except (InputError, EnvironmentFault, OSError, ImportError) as error:  # OSError: a full disk, no permission
        if os.environ.get("L3STUDY_DEBUG"):
            traceback.print_exc()
        print(f"l3study: {_printable(_said(error))}", file=sys.stderr)
        sys.exit(INPUT_ERROR if isinstance(error, InputError) else ENVIRONMENT_FAULT)
    except Exception as error:  # what nobody foresaw: never the code of a run with failed trials
        print(f"l3study: {_printable(_defect(error))}", file=sys.stderr)
        sys.exit(DEFECT)


def _printable(text: str) -> str:
    from study.report.layout import printable  # seconds of import, which `--help` does not need

    return printable(text)


def _said(error: Exception) -> str:
    """One line for an error of input or environment; for one of the system: place, reason and what to check."""
    own = isinstance(error, InputError | EnvironmentFault | DiskFull)
    if own or not isinstance(error, OSError) or not error.filename:
        return str(error) if own else f"{type(error).__name__}: {error}"
    path = Path(str(error.filename))
    hidden = TEMPORARY.fullmatch(path.name)  # users know the name that the file would have got
    return (
        f"{path.with_name(hidden[1]) if hidden else path}: {error.strerror}; check that the folder exists, that its "
        "permissions allow this, and that the disk has space"
    )


def _defect(error: Exception) -> str:
    """What to say of an error that nobody foresaw; its traceback goes to a file, or with --debug to the terminal."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    text = " ".join(str(error).split())[:300] or "no message"
    said = f"{type(error).__name__}: {text} ({Path(frame.filename).name}, line {frame.lineno})"
    if not os.environ.get("L3STUDY_DEBUG"):
        try:
            with tempfile.NamedTemporaryFile("w", encoding="utf-8", errors="replace", prefix="l3study-",
                                             suffix=".traceback", delete=False) as file:  # fmt: skip
                file.write("".join(traceback.format_exception(error)))
            return f"{said}: a defect of this program, please report it with {file.name}"
        except OSError:
            pass  # nowhere to write: then to the terminal
    traceback.print_exc()
    return f"{said}: a defect of this program, please report it with the traceback above"
