"""All files that a study's results become: tables, figures and the page, from its records alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from study.plan.declared import earlier_in_words
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, planned
from study.plan.searches import searches
from study.plan.trials import Trial
from study.report.about import about_study
from study.report.data_tables import export_data
from study.report.data_view import study_warnings
from study.report.pretraining_figure import export_pretraining
from study.report.search_tables import export_searches
from study.report.tables import FORMATS, export
from study.results.aggregate import Cell
from study.results.gather import Results, budgets, gather
from study.results.looks import record_look
from study.results.optimism import findings_of, in_words
from study.results.truth import true_labels
from study.store.store import Store


def publish(
    store: Store, resolved: Resolved, trials: Sequence[Trial], formats: Sequence[str] = FORMATS
) -> tuple[Results, list[Path]]:
    """Tables, figures and the page of a study, from its records alone."""
    results = gather(
        store,
        resolved.spec,
        trials,
        spent=budgets(resolved),
        truths=lambda names: true_labels(resolved, names, root=store.root),
    )
    about = about_study(resolved, results.failures, study_warnings(resolved, store.root))
    others = [
        *export_pretraining(store.root, resolved.spec, results.cells),
        *export_searches(store.root, resolved, formats, results.cells),
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
        remarks=[*earlier_in_words(resolved.spec.compare), *search_remarks(resolved, results.cells)],
    )
    record_look(store.root, results.comparisons)
    return results, [*files, *others]


def search_remarks(resolved: Resolved, cells: Sequence[Cell]) -> list[str]:
    """What the searches have found, beside what fresh seeds gave."""
    spec, identities, findings = resolved
    return in_words(findings_of(searches(spec, identities), findings, cells))


def write_tables(root: Path, formats: Sequence[str] = FORMATS) -> tuple[Results, list[Path]]:
    """The same for a study folder."""
    resolved = planned(root)
    return publish(Store(root), resolved, make_plan(*resolved), formats)
