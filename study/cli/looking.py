"""The verb that looks at the data of a space before anything is computed: data."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from l3masking.errors import EnvironmentFault, InputError, nearest
from study.cli.options import Sets, Space, find_space


def data(
    space: Space,
    sets: Sets = None,
    only: Annotated[
        list[str] | None, typer.Option("--only", metavar="DATASET", help="This dataset; may be given several times.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object by dataset.")] = False,
) -> None:
    """Show rows, labels, lengths, repeats, and texts that train shares with what is tested. Works offline."""
    from rich.console import Console

    from study.plan.data_audit import audited
    from study.report.data_view import SPLIT_CAPTION, data_json, terminal_data
    from study.space.reader import read_space

    spec = read_space(find_space(space), sets or ())
    console = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
    shown, faults = {}, list[InputError | EnvironmentFault]()
    for found in audited(spec, _chosen(only or (), list(spec.datasets))):
        if found.facts is None:
            fault = found.fault or EnvironmentFault("not available")
            faults.append(fault)
            shown[found.name] = {"unavailable": str(fault).splitlines()[0]}
            if not as_json:
                print(f"{found.name}: not available: {shown[found.name]['unavailable']}\n")
        elif as_json:
            shown[found.name] = data_json(found.facts, found.evaluations)
        else:
            shown[found.name] = {}
            for part in terminal_data(found.name, found.facts, found.evaluations):
                console.print(part)
    if as_json:
        print(json.dumps(shown, indent=1, ensure_ascii=False))
    elif len(faults) < len(shown):
        print(SPLIT_CAPTION)
    if faults and len(faults) == len(shown):
        raise type(faults[0])("no dataset of this space can be looked at; the lines above say why")


def _chosen(only: Sequence[str], known: Sequence[str]) -> list[str]:
    """The datasets that --only names, in the order of the space; all without it."""
    names = [name.removeprefix("dataset=") for name in only]
    for name in names:
        if name not in known:
            raise InputError(f"--only {name}: no dataset of this space; {nearest(name, known)}")
    return [name for name in known if not names or name in names]
