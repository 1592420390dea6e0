"""All files that a study's results become: tables, figures and the page, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.plan.grid import make_plan
from study.plan.resolved import Resolved, planned
from study.plan.trials import Trial
from study.report.about import about_study
from study.report.figure_files import export_figures, on_page, write_captions
from study.report.pretraining_figure import export_pretraining
from study.report.search_tables import export_searches
from study.report.tables import FORMATS, export
from study.results.gather import Results, gather
from study.store.store import Store


def publish(
    store: Store,
    resolved: Resolved,
    trials: Sequence[Trial],
    formats: Sequence[str] = FORMATS,
    effort: str | None = None,
) -> tuple[Results, list[Path]]:
    """Tables, figures and the page of a study, from its records alone.

    effort: one of study.results.effort.EFFORTS, for a further figure of what results cost.
    """
    results = gather(store, resolved.spec, trials)
    about = about_study(resolved, results.failures)
    searched = export_searches(store.root, resolved, formats)
    drawn = [
        *export_figures(store.root, results.cells, results.courses, formats, effort),
        *export_pretraining(store.root, resolved.spec, results.cells),
        *searched.figures,
    ]
    files = export(
        store.root,
        results.cells,
        results.timing,
        formats,
        comparisons=results.comparisons,
        on_sets=results.set_comparisons,
        about=about,
        others=list(filter(on_page, drawn)),
    )
    captions = write_captions(store.root, results.cells, drawn)
    return results, [*files, *(file for figure in drawn for file in figure.files), *searched.tables, captions]


def write_tables(root: Path, formats: Sequence[str] = FORMATS, effort: str | None = None) -> tuple[Results, list[Path]]:
    """The same for a study folder."""
    resolved = planned(root)
    return publish(Store(root), resolved, make_plan(*resolved), formats, effort)
