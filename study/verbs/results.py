"""The verbs that turn records into answers: export."""

from __future__ import annotations

from typing import Annotated

import typer

from study.verbs.options import Folder


def export(
    folder: Folder,
    formats: Annotated[str, typer.Option("--format", help="Comma separated: md, tex, csv, json.")] = "md,tex,csv,json",
) -> None:
    """Write tables and figures again from the records."""
    from study.results import write_tables

    _, files = write_tables(folder, [name.strip() for name in formats.split(",")])
    print("\n".join(str(file) for file in files))
