"""The sections of report.html beside results, comparisons and figures: data, effort, classes, aggregates, settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.plan.resolved import Resolved
from study.report.aggregate_tables import OVER_ALL, aggregate_parts
from study.report.class_tables import class_parts
from study.report.data_tables import DATA_CAPTION, data_rows, data_table
from study.report.data_view import class_table, split_table
from study.report.effort_tables import EFFORT_HEADING, effort_parts
from study.report.sections import Fold, Item, Items, Part, Section, flat_table, folded_tables
from study.report.settings_tables import settings_entries, settings_header, settings_rows
from study.results.aggregate import Cell
from study.results.classified import Classified
from study.results.effort_pairs import EffortComparison
from study.results.families import declared
from study.results.over_datasets import overall, rankings
from study.space.spec import StudySpec

SETTINGS_NOTE = "Settings that may change a result, and differ from the preset or between variants."


def further_sections(
    root: Path,
    resolved: Resolved,
    cells: Sequence[Cell],
    judged: Classified,
    took: Sequence[EffortComparison],
    warnings: Sequence[str],
) -> list[Section]:
    """In the order of the page; a section without parts does not apply."""
    return [
        Section("effort", EFFORT_HEADING, _effort(resolved.spec, took)),
        Section("aggregate", OVER_ALL, aggregate_parts(overall(cells), rankings(cells))),
        Section("classes", "Classes", folded_tables(class_parts(judged, cells))),
        Section("data", "Data", _data(root, resolved, warnings)),
        Section("settings", "Settings", _settings(resolved.spec)),
    ]


def _data(root: Path, resolved: Resolved, warnings: Sequence[str]) -> list[Part]:
    rows = data_rows(resolved, root)
    if not rows:
        return []
    header, lines = data_table(rows)
    parts: list[Part] = [flat_table(header, lines, left=3, note=DATA_CAPTION)]
    if warnings:
        parts.append(Items(items=list(map(Item, warnings))))
    for row in rows:
        if row.evaluation is None:
            sets = resolved.identities.evaluations.get(row.dataset, {})
            splits, classes = split_table(row.facts, sets), class_table(row.facts)
            long = flat_table(classes.header, classes.rows, title=f"{row.dataset}, rows of each class")
            parts += [flat_table(*splits, title=f"{row.dataset}, splits"), *folded_tables([long])]
    return parts


def _effort(spec: StudySpec, took: Sequence[EffortComparison]) -> list[Part]:
    """Those of the questions that the space declares; the others behind a fold. Without a pair of seeds, neither."""
    took = [one for one in took if one.n]
    asked = declared(spec.compare).questions
    names = {str(question) for one in asked for question in (one, one.turned)}
    first, others = ([one for one in took if (one.question in names) == wanted] for wanted in (True, False))
    if not (parts := effort_parts(took)):
        return []
    count = len({one.question for one in others})
    more = Fold(title=f"{count} further question{'s' * (count != 1)}", parts=folded_tables(effort_parts(others)[1:]))
    return [parts[0], *effort_parts(first)[1:], *([more] if others else [])]


def _settings(spec: StudySpec) -> list[Part]:
    """Those that say something of this study; what is as in the preset everywhere is behind a fold."""
    rows = settings_rows(spec)
    parts: list[Part] = []
    for own in (True, False):
        lines = [settings_entries(row) for row in rows if (row.differs or any(row.variants)) == own]
        table = flat_table(settings_header(spec), lines, left=2, note=SETTINGS_NOTE if own else "")
        if lines:
            parts.append(table if own else Fold(title=f"{len(lines)} settings as in the preset", parts=[table]))
    return parts
