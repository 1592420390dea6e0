"""All files that a study's results become: tables, figures and the page, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.plan.grid import make_plan
from study.plan.resolved import Resolved, planned
from study.plan.trials import Trial
from study.report.about import about_study
from study.report.data_tables import export_data
from study.report.data_view import study_warnings
from study.report.pretraining_figure import export_pretraining
from study.report.search_tables import export_searches
from study.report.tables import FORMATS, export
from study.results.gather import Results, gather
from study.store.store import Store


def publish(
    store: Store, resolved: Resolved, trials: Sequence[Trial], formats: Sequence[str] = FORMATS
) -> tuple[Results, list[Path]]:
    """Tables, figures and the page of a study, from its records alone."""
    results = gather(store, resolved.spec, trials)
    about = about_study(resolved, results.failures, study_warnings(resolved, store.root))
    others = [
        *export_pretraining(store.root, resolved.spec, results.cells),
        *export_searches(store.root, resolved, formats),
        *export_data(store.root, resolved, formats),
    ]
    files = export(
        store.root,
        results.cells,
        results.timing,
        formats,
        comparisons=results.comparisons,
        on_sets=results.set_comparisons,
        about=about,
        others=others,
    )
    return results, [*files, *others]


def write_tables(root: Path, formats: Sequence[str] = FORMATS) -> tuple[Results, list[Path]]:
    """The same for a study folder."""
    resolved = planned(root)
    return publish(Store(root), resolved, make_plan(*resolved), formats)
