"""The verb with which a stranger checks a study: verify."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.options import Folder

if TYPE_CHECKING:
    from study.verify.verification import Advance


def verify(
    folder: Folder,
    online: Annotated[
        bool, typer.Option("--online", help="Ask the Hub for encoders and data too; data may be fetched.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Check a study that somebody else made: files, keys, values, tables. Changes nothing there and runs nothing of it.

    Exit code 1: something is wrong, with a line for each finding.
    """
    from study.exit_codes import FINDINGS
    from study.plan.resolved import opened_study
    from study.store.places import is_url
    from study.verify.whole_study import verify_study
    from study.version import program_version

    root = opened_study(folder)
    with _shown_progress() as progress:
        verdict = verify_study(root, progress, online=online, on_demand=is_url(folder))
    if as_json:
        found = {
            "study": str(folder),
            "program": program_version(),
            "checked": dict(verdict.checked),
            "findings": [finding._asdict() for finding in verdict.findings],
            "notes": verdict.notes,
        }
        print(json.dumps(found, indent=1, ensure_ascii=False))
    else:
        print("\n".join([*map(str, verdict.findings), *(f"Note: {note}" for note in verdict.notes), verdict.summary()]))
    if verdict.findings:
        raise typer.Exit(FINDINGS)


@contextmanager
def _shown_progress() -> Iterator[Advance]:
    """A bar on standard error for each kind of file, if that is a terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    off = not console.is_terminal
    with Progress(console=console, transient=True, disable=off, redirect_stdout=False, redirect_stderr=False) as bars:
        tasks: dict[str, int] = {}

        def show(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=of)
            bars.update(tasks[what], completed=done, total=of)  # type: ignore[arg-type]  # a TaskID is an int

        yield show
