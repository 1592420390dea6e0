"""The verbs that look at a study's folder while it works or afterwards: status, explain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from study.cli.options import Folder

if TYPE_CHECKING:
    from study.space.spec import Resources


def status(
    folder: Annotated[str, typer.Argument(help="A study's folder, or with --address the id of a job.")],
    watch: Annotated[bool, typer.Option("--watch", help="Keep watching until the run ends.")] = False,
    address: Annotated[
        str | None,
        typer.Option("--address", help="Address of a Ray cluster's dashboard; the argument is then a job id."),
    ] = None,
) -> None:
    """Show how far a study is: trials by state, what runs, the time left, and why trials failed."""
    if address is not None:
        from study.cluster.jobs import describe_job

        print(describe_job(folder, address))
        return
    from study.plan.resolved import opened_study
    from study.status.status import look, status_lines
    from study.status.status import watch as go_on

    root = opened_study(folder)
    if not watch:
        print("\n".join(status_lines(look(root), root)))
        notice(root)
        return
    from contextlib import suppress

    from rich.console import Console

    with suppress(KeyboardInterrupt):  # Ctrl-C ends the watching, not the study
        go_on(root, Console())


def explain(
    folder: Folder,
    key: Annotated[str, typer.Argument(help="Key of a training or a record, or at least its first 4 digits.")],
) -> None:
    """Show all that is known of one training: settings, state, curve, failure, and the command that repeats it."""
    from study.plan.resolved import opened_study
    from study.status.explain import explain as tell

    print(tell(opened_study(folder), key))


def slots(resources: Resources) -> int:
    """Trials that run at a time, as far as this machine tells."""
    from study.estimate.times import local_slots

    return local_slots(resources)


def notice(root: Path) -> None:
    """Say where something was moved aside, in whichever process that happened."""
    for name, what in (("conflicts", "computed twice with different results"), ("quarantine", "damaged")):
        found = sorted((root / name).glob("*"))
        if found:
            print(f"{len(found)} file{'s were' if len(found) > 1 else ' was'} {what}: see {root / name}")
