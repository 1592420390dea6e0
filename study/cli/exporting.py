"""The verbs that turn records into answers: export, compare."""

from __future__ import annotations

from typing import Annotated

import typer

from study.cli.options import Folder


def export(
    folder: Folder,
    formats: Annotated[str, typer.Option("--format", help="Comma separated: md, tex, csv, json.")] = "md,tex,csv,json",
    effort: Annotated[
        str | None,
        typer.Option(
            "--x",
            metavar="EFFORT",
            help="One more figure of effort against result: epochs_to_stop, updates or wall_time.",
        ),
    ] = None,
) -> None:
    """Write tables, figures and report.html again from the records."""
    from study.plan.resolved import opened_study
    from study.report.publish import write_tables

    _, files = write_tables(opened_study(folder), [name.strip() for name in formats.split(",")], effort)
    print("\n".join(str(file) for file in files))


def compare(
    folder: Folder,
    against: Annotated[
        str | None, typer.Option("--against", metavar="paper|STUDY", help="The paper's table, or another study.")
    ] = None,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="ROW", help="Compare all rows against this one, as rtm.")
    ] = None,
    unseen: Annotated[bool, typer.Option("--unseen", help="Only on test texts that train does not hold.")] = False,
    margin: Annotated[
        float | None, typer.Option("--margin", metavar="D", help="Largest difference that does not matter, fraction.")
    ] = None,
    form: Annotated[str, typer.Option("--format", metavar="text|json", help="json: one object.")] = "text",
) -> None:
    """Say which row is better, by how much, and whether that may be chance: paired by seed, tested, in plain words.

    Only what the space declares under `compare` can be decisive. A look is written down in looks.json.
    """
    from l3masking.errors import InputError
    from study.plan.resolved import opened_study
    from study.report.comparisons import comparisons_json, comparisons_text
    from study.report.effort_tables import effort_text, effort_values
    from study.results.answers import answer

    if form not in ("text", "json"):
        raise InputError(f"--format {form}: choose from text, json")
    found = answer(opened_study(folder), against, baseline, unseen=unseen, margin=margin)
    if form == "json":
        text = comparisons_json(
            found.comparisons,
            study=found.study,
            against=found.against,
            notes=[*found.one_class, *found.notes],
            on_sets=found.on_sets,
            effort=effort_values(found.effort),
            unseen=found.unseen,
        )
        print(text, end="")
    elif found.empty:
        print(f"{folder}: nothing to compare: the study has no records yet; `l3study status {folder}` says what runs")
    else:
        if found.unseen is not None:
            print(
                "These comparisons are on the unseen part of test alone; the notes below say how many rows that is.\n"
            )
        print(comparisons_text([*found.comparisons, *found.on_sets], [*found.one_class, *found.notes]))
        if found.effort:
            print(f"\n{effort_text(found.effort)}")
