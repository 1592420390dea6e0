"""The verbs that show what is masked: the profile of parts of speech, and single texts token by token."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from study.cli.options import Folder, find_space

if TYPE_CHECKING:
    from l3masking.analysis.tagging import Tagger
    from study.inspection import Inspected

Policies = Annotated[
    list[str] | None,
    typer.Option("--policy", metavar="NAME", help="A masking policy, default l3; give it again for another column."),
]


def pos(
    folder: Folder,
    encoder: Annotated[list[str] | None, typer.Option("--encoder", metavar="NAME", help="Only this one.")] = None,
    dataset: Annotated[list[str] | None, typer.Option("--dataset", metavar="NAME", help="Only this one.")] = None,
    policy: Policies = None,
    tagger: Annotated[str, typer.Option("--tagger", metavar="nltk|textblob", help="Who tags.")] = "nltk",
    weighting: Annotated[
        str, typer.Option("--weighting", help="Comma separated: complement, surprisal.")
    ] = "complement,surprisal",
    words: Annotated[
        str,
        typer.Option("--words", metavar="tagger|whitespace", help="What a word is: as the tagger splits, or blanks."),
    ] = "tagger",
    min_count: Annotated[int, typer.Option("--min-count", metavar="N", help="Drop tags with fewer tokens.")] = 10,
    space: Annotated[
        str | None, typer.Option("--space", metavar="SPACE", help="Run the study's policy files that it names.")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="Comma separated: md, tex, csv, json.")] = "md,tex,csv,json",
) -> None:
    """Show the mean mask probability of each part of speech in a study's masked texts (Tables 4 and 5 of the paper)."""
    from l3masking.analysis.taggers import TAGGERS, WordRule
    from l3masking.errors import InputError
    from l3masking.masking.probabilities import TOKEN_WEIGHTINGS
    from study.plan.resolved import opened_study
    from study.report.tables import FORMATS
    from study.space.reader import read_space

    wanted = _listed("--format", formats, FORMATS)
    weightings = _listed("--weighting", weighting, TOKEN_WEIGHTINGS)
    _listed("--tagger", tagger, tuple(TAGGERS))
    _listed("--words", words, get_args(WordRule))
    if min_count < 1:
        raise InputError(f"--min-count {min_count}: at least 1 token")
    root = opened_study(folder)
    own = read_space(find_space(space)).policies if space else {}
    found = _tagger(tagger, words)

    from rich.console import Console

    from study.report.tag_tables import about_tags, tag_notes, terminal_tags, write_tag_table
    from study.tag_profiles import ProfileRequest, profile_study

    request = ProfileRequest(
        place=folder,
        encoders=encoder or (),
        datasets=dataset or (),
        policies=policy or ("l3",),
        weightings=weightings,
        min_count=min_count,
        own=own,
    )
    console = Console(width=None if sys.stdout.isatty() else 120)
    for table in profile_study(request, root, found, words):
        files = write_tag_table(root, table, wanted)  # first: whoever reads the output may stop reading
        for shown in terminal_tags(table):
            console.print(shown)
        console.print("\n".join([about_tags(table), *tag_notes(table)]), markup=False, highlight=False, soft_wrap=True)
        print("\n".join(map(str, files)), flush=True)


def _tagger(name: str, words: str) -> Tagger:
    """The tagger of this name. Unavailable, with what to do about it, where its data are not there."""
    from l3masking.analysis.taggers import WordRule, find_tagger
    from l3masking.errors import Unavailable

    try:
        return find_tagger(name, cast(WordRule, words))
    except Unavailable as error:
        more = "; `l3study prefetch --pos` fetches them; --tagger textblob needs no data" if name == "nltk" else ""
        raise Unavailable(f"{error}{more}") from error


def inspect(
    encoder: Annotated[
        str, typer.Option("--encoder", metavar="ENCODER", help="A known name, a folder, or a Hub id of a masked LM.")
    ],
    text: Annotated[
        list[str] | None, typer.Option("--text", help="A text; - reads standard input. Give it again for more.")
    ] = None,
    texts: Annotated[str | None, typer.Option("--texts", metavar="FILE", help="One text per line.")] = None,
    policy: Policies = None,
    weighting: Annotated[
        str | None, typer.Option("--weighting", help="Comma separated: complement (the default), surprisal.")
    ] = None,
    mean: Annotated[
        float | None, typer.Option("--mean", metavar="P", help="Average mask probability; default .15.")
    ] = None,
    max_length: Annotated[
        int | None, typer.Option("--max-length", metavar="N", help="Ids of a text; default 128, or what it can hold.")
    ] = None,
    space: Annotated[
        str | None, typer.Option("--space", metavar="SPACE", help="Take encoders, policies and settings from it.")
    ] = None,
    classifier: Annotated[
        Path | None, typer.Option("--classifier", metavar="FOLDER", help="A saved model, for policy importance.")
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", metavar="CLASS", help="True class; default: what the classifier predicts.")
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write a page of its own.")] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Write a picture.")] = None,
) -> None:
    """Show the pseudo-likelihood and the mask probabilities of each token of a text, random masking beside policies."""
    from l3masking.masking.probabilities import TOKEN_WEIGHTINGS
    from study.space.reader import read_space

    weightings = _listed("--weighting", weighting, TOKEN_WEIGHTINGS) if weighting else None
    spec = read_space(find_space(space)) if space else None

    from study.inspection import Inspection, given_text, inspect_texts, read_texts

    for option, file in (("--html", html), ("--png", png)):
        _check_file(option, file)
    found = inspect_texts(
        Inspection(
            encoder=encoder,
            texts=[*map(given_text, text or ()), *(read_texts(texts) if texts else ())],
            policies=policy or ("l3",),
            weightings=weightings,
            mean=mean,
            max_length=max_length,
            spec=spec,
            classifier=classifier,
            label=label,
        )
    )
    _show(found, html, png)


def _check_file(option: str, file: Path | None) -> None:
    """Raise InputError for a place that cannot be a file, before anything is computed."""
    from l3masking.errors import InputError

    if file is not None and file.is_dir():
        raise InputError(f"{option} {file}: that is a folder; give a file")


def _show(found: Inspected, html: Path | None, png: Path | None) -> None:
    """Print the views, and write the files that are wanted."""
    from rich.console import Console

    from study.report.token_page import html_view
    from study.report.token_view import LEGEND_OF_VIEW, notes_of, png_view, terminal_view
    from study.store.whole_files import write_atomic

    made = [(html, lambda: html_view(found.views, found.about).encode()), (png, lambda: png_view(found.views))]
    files = [(file, make) for file, make in made if file is not None]
    for file, make in files:  # first: whoever reads the output may stop reading
        write_atomic(file, make())
    console = Console(width=None if sys.stdout.isatty() else 120)
    for view in found.views:
        for line in terminal_view(view, console.width):
            console.print(line, soft_wrap=True)
        for note in notes_of(view):
            console.print(f"{note}\n", markup=False, highlight=False, soft_wrap=True)
    console.print("\n".join([*found.about, LEGEND_OF_VIEW]), markup=False, highlight=False, soft_wrap=True)
    for file, _ in files:
        print(file)


def _listed(option: str, given: str, known: tuple[str, ...]) -> list[str]:
    """The entries of a comma separated option; InputError, with the nearest, for an unknown one."""
    from l3masking.errors import InputError, nearest

    names = [name.strip() for name in given.split(",")]
    for name in names:
        if name not in known:
            raise InputError(f"{option} {name}: not known; {nearest(name, known)}")
    return names
