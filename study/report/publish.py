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
from study.report.aggregate_tables import export_aggregate
from study.report.class_tables import export_classes
from study.report.data_tables import export_data
from study.report.data_view import study_warnings
from study.report.drawing import Drawn, sheets
from study.report.effort_tables import export_effort
from study.report.figure_files import export_figures, export_results_figure, on_page, write_captions
from study.report.further import further_sections
from study.report.overview import answers, summary
from study.report.page import PageResults, page
from study.report.pretraining_figure import export_pretraining
from study.report.search_tables import export_searches
from study.report.sections import Picture
from study.report.settings_tables import export_settings
from study.report.tables import FORMATS, export
from study.report.tag_tables import tag_lines
from study.results.aggregate import Cell
from study.results.classified import Classified
from study.results.effort_pairs import EffortComparison, compare_effort
from study.results.families import declared
from study.results.gather import Results, budgets, gather
from study.results.looks import record_look
from study.results.one_class import one_class_notes
from study.results.optimism import findings_of, in_words
from study.results.truth import true_labels
from study.results.verdicts import better_than_random
from study.store.store import Store, write_atomic

PAGE_FILE = "report.html"


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
    root, spec = store.root, resolved.spec
    truths = true_labels(resolved, dict.fromkeys(trial.dataset for trial in trials), root=root)
    judged = Classified(truths, trials)
    results = gather(store, spec, trials, judged.add, spent=budgets(resolved), truths=lambda _: truths)
    cells = results.cells
    remarks = [*earlier_in_words(spec.compare), *search_remarks(resolved, cells)]
    took = compare_effort(cells, results.efforts, family=declared(spec.compare))
    files = export(
        root,
        cells,
        results.timing,
        formats,
        comparisons=results.comparisons,
        on_sets=results.set_comparisons,
        remarks=remarks,
    )
    searched = export_searches(root, resolved, formats, cells)
    files += [
        *searched.tables,
        *export_effort(root, took, formats),
        *export_classes(root, judged, cells, formats),
        *export_aggregate(root, cells, formats),
        *export_settings(root, spec, formats),
        *export_data(root, resolved, formats),
    ]
    drawn = [
        *export_results_figure(root, cells),
        *export_figures(root, cells, results.courses, formats, effort),
        *export_pretraining(root, spec, cells),
        *searched.figures,
    ]
    files += [*(file for figure in drawn for file in figure.files), write_captions(root, drawn)]
    write_page(resolved, results, remarks, judged, took, drawn, root)
    record_look(root, results.comparisons)
    return results, [*files, root / PAGE_FILE]


def write_page(
    resolved: Resolved,
    results: Results,
    remarks: Sequence[str],
    judged: Classified,
    took: Sequence[EffortComparison],
    drawn: Sequence[Drawn],
    root: Path,
) -> None:
    """Write `root`/report.html."""
    warnings = study_warnings(resolved, root)
    shown = PageResults(
        cells=results.cells,
        comparisons=[*results.comparisons, *results.set_comparisons],
        marked=better_than_random(results.comparisons),
        remarks=remarks,
    )
    profile = tag_lines(root, dict.fromkeys(cell.dataset for cell in results.cells))
    pictures = [
        Picture(name=one.name.replace("_", " "), images=sheets(one.svg, one.cuts), caption=one.caption)
        for one in filter(on_page, drawn if any(cell.n for cell in results.cells) else [])
    ]
    cautions = [
        *one_class_notes(results.cells, results.predictions),
        *earlier_in_words(resolved.spec.compare),
        *warnings,
    ]
    text = page(
        about_study(resolved, results.failures),
        shown,
        pictures,
        summary=summary(results.cells, results.comparisons, cautions),
        answers=[answers(results.comparisons, took, profile)],
        further=further_sections(root, resolved, results.cells, judged, took, warnings),
    )
    write_atomic(root / PAGE_FILE, text.encode())


def search_remarks(resolved: Resolved, cells: Sequence[Cell]) -> list[str]:
    """What the searches have found, beside what fresh seeds gave."""
    spec, identities, findings = resolved
    return in_words(findings_of(searches(spec, identities), findings, cells))


def write_tables(root: Path, formats: Sequence[str] = FORMATS, effort: str | None = None) -> tuple[Results, list[Path]]:
    """The same for a study folder."""
    resolved = planned(root)
    return publish(Store(root), resolved, make_plan(*resolved), formats, effort)
