"""What the verbs of the command line have in common: their arguments, and where a space file is found."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from l3masking.errors import InputError

Space = Annotated[str, typer.Argument(help="A space file, or a bare name of one in search_spaces/.")]
Folder = Annotated[str, typer.Argument(help="A study's folder, as `run` made it, or its URL.")]
Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key of the space file.")]
Out = Annotated[str | None, typer.Option("--out", help="The study's folder, or a URL; default studies/<name>.")]
Only = Annotated[
    list[str] | None, typer.Option("--only", metavar="NAME=VALUE", help="encoder, dataset, method, variant or seed.")
]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", help="At most N trainings.")]
Insecure = Annotated[bool, typer.Option("--insecure-cluster", help="Accept a cluster that asks for no token.")]
Uri = Annotated[str | None, typer.Option("--tracking-uri", help="Mirror into this MLflow store or server instead.")]


def find_space(name: str) -> Path:
    """Return the space file at a path, or that of a bare name in search_spaces/ here or among the shipped ones."""
    folders = (Path("search_spaces"), shipped_spaces())
    candidates = [Path(name), *(folder / f"{name}.yaml" for folder in folders)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    from study.space.validation import nearest

    known = sorted({file.stem for folder in folders for file in folder.glob("*.yaml")})
    raise InputError(f"{name}: no such file and no space of this name; {nearest(name, known)}")


def shipped_spaces() -> Path:
    """Return the folder of the shipped space files: data of the installed package, or beside it in a checkout."""
    package = Path(str(files("study")))
    installed = package / "search_spaces"
    return installed if installed.is_dir() else package.parent / "search_spaces"
