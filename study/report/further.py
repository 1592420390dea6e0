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
from study.report.sections import Item, Items, Part, Section, flat_table
from study.report.settings_tables import settings_entries, settings_header, settings_rows
from study.results.aggregate import Cell
from study.results.classified import Classified
from study.results.effort_pairs import EffortComparison
from study.results.over_datasets import overall, rankings
from study.space.spec import StudySpec

SETTINGS_NOTE = "All settings that may change a result; those that differ from the preset come first."


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
        Section("effort", EFFORT_HEADING, effort_parts(took)),
        Section("aggregate", OVER_ALL, aggregate_parts(overall(cells), rankings(cells))),
        Section("classes", "Classes", class_parts(judged, cells)),
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
            for title, table in (
                (f"{row.dataset}, splits", split_table(row.facts, sets)),
                (f"{row.dataset}, rows of each class", class_table(row.facts)),
            ):
                parts.append(flat_table(table.header, table.rows, title=title))
    return parts


def _settings(spec: StudySpec) -> list[Part]:
    rows = sorted(settings_rows(spec), key=lambda row: not row.differs)
    return [flat_table(settings_header(spec), [settings_entries(row) for row in rows], left=2, note=SETTINGS_NOTE)]
