"""The verbs that put a trained model to use: export-model, predict."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from study.cli.options import Folder


def export_model(
    folder: Folder,
    cell: Annotated[str, typer.Argument(help="encoder/dataset/method or .../variant: `cell` in tables/results.json.")],
    out: Annotated[str, typer.Option("--out", metavar="FOLDER", help="A new folder for the model.")],
    seeds: Annotated[
        str, typer.Option("--seeds", metavar="best|all", help="best: by the validation split. all: a folder per seed.")
    ] = "best",
    objective: Annotated[
        str | None, typer.Option("--objective", help="Which selected weights; default: the study's first objective.")
    ] = None,
    license: Annotated[
        str | None, typer.Option("--license", help="Of the model, for its card, such as apache-2.0; default: unknown.")
    ] = None,
) -> None:
    """Write a trained model as a folder that transformers reads, with its tokenizer and model card. Uploads nothing."""
    from study.use.model_export import export_cell

    done = export_cell(folder, cell, Path(out), seeds=seeds, objective=objective, license=license)
    choice, objective = done.choice, done.choice.cell.objective
    if seeds == "all":
        print(f"seeds    {', '.join(map(str, choice.seeds))}, one folder each")
    else:
        value = 100 * choice.records[choice.best]["validation"][objective]
        print(f"seed     {choice.best}: best validation {objective} of {len(choice.records)} seeds, {value:.2f} %")
    if choice.cell.n < choice.cell.wanted:
        lacking, failed = choice.cell.wanted - choice.cell.n, choice.cell.failed
        print(f"note     {lacking} of {choice.cell.wanted} seeds have no record ({failed} failed)")
    reader = "AutoModelForSequenceClassification" if done.plain else "l3masking.classifier.TextClassifier"
    print(f"class    {reader}")
    print(f"model    {done.folder}")


def predict(
    folder: Annotated[str, typer.Argument(help="A folder that `l3study export-model` wrote.")],
    file: Annotated[
        str, typer.Argument(help="One text a line; or .jsonl, .json, .csv, .tsv or .parquet, each also .gz.")
    ],
    out: Annotated[str | None, typer.Option("--out", metavar="FILE", help="Default: standard output.")] = None,
    text_column: Annotated[str, typer.Option("--text-column", help="Column of the texts.")] = "text",
    pair_column: Annotated[
        str | None, typer.Option("--pair-column", help="Column of the second texts, for a model of pairs.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", metavar="N", help="Texts in one forward pass.")] = 32,
    form: Annotated[str, typer.Option("--format", metavar="csv|jsonl", help="Of the output.")] = "csv",
    device: Annotated[
        str | None, typer.Option("--device", metavar="cpu|cuda", help="Default: a GPU if there is one.")
    ] = None,
) -> None:
    """Predict the class of each text in a file, with the probability of every class. Works offline."""
    from l3masking.errors import InputError
    from l3masking.whole import made_whole
    from study.use.predicted import PredictOptions, predict_file, texts_for

    options = PredictOptions(
        model=Path(folder),
        file=Path(file),
        text_column=text_column,
        pair_column=pair_column,
        batch=batch,
        form=form,
        device=device,
    )
    if out is not None and (Path(out).is_dir() or Path(out).resolve() == Path(file).resolve()):
        raise InputError(f"--out {out}: that is {'a folder' if Path(out).is_dir() else 'the input'}; give another file")
    texts = texts_for(options)
    with _progress(len(texts), shown=out is not None or not sys.stdout.isatty()) as advance:
        if out is None:
            counted = predict_file(options, texts, sys.stdout, advance)
        else:
            with made_whole(Path(out)) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
                counted = predict_file(options, texts, stream, advance)
    print(counted, file=sys.stderr)


@contextmanager
def _progress(total: int, *, shown: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal. shown: False where the predictions go to the same terminal."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    off = not (shown and console.is_terminal)
    # without redirection, which would take what is printed to standard output to the bar's own stream
    with Progress(console=console, transient=True, disable=off, redirect_stdout=False, redirect_stderr=False) as bars:
        bar = bars.add_task("texts", total=total)
        yield lambda count: bars.advance(bar, count)
