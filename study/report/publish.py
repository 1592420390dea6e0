"""All files that a study's results become: tables, figures and the page, from its records alone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from study.plan.declared import earlier_in_words
from study.plan.grid import make_plan
from study.plan.resolved import Resolved, planned
from study.plan.searches import searches
from study.plan.trials import Trial
from study.report.about import about_study
from study.report.aggregate_tables import export_aggregate
from study.report.class_tables import export_classes
from study.report.effort_tables import export_effort
from study.report.figures import panels, strips
from study.report.overview import answers, summary
from study.report.page import PageResults, page
from study.report.pretraining_figure import export_pretraining
from study.report.search_tables import export_searches
from study.report.sections import Picture
from study.report.settings_tables import export_settings
from study.report.tables import FIGURE, FORMATS, export
from study.results.aggregate import Cell
from study.results.classified import Classified
from study.results.compare import questions
from study.results.effort_pairs import compare_effort
from study.results.families import declared
from study.results.gather import Results, budgets, gather
from study.results.looks import record_look
from study.results.optimism import findings_of, in_words
from study.results.truth import true_labels
from study.results.verdicts import better_than_random
from study.store.store import Store, write_atomic

PAGE_FILE = "report.html"


def publish(
    store: Store, resolved: Resolved, trials: Sequence[Trial], formats: Sequence[str] = FORMATS
) -> tuple[Results, list[Path]]:
    """Tables, figures and the page of a study, from its records alone."""
    truths = true_labels(resolved, dict.fromkeys(trial.dataset for trial in trials), root=store.root)
    judged = Classified(truths, trials)
    results = gather(store, resolved.spec, trials, judged.add, spent=budgets(resolved), truths=lambda _: truths)
    about = about_study(resolved, results.failures)
    remarks = [*earlier_in_words(resolved.spec.compare), *search_remarks(resolved, results.cells)]
    asked = questions(results.cells, family=declared(resolved.spec.compare))
    effort = compare_effort(results.cells, results.efforts, asked)
    others = [
        *export_pretraining(store.root, resolved.spec, results.cells),
        *export_searches(store.root, resolved, formats, results.cells),
        *export_effort(store.root, effort, formats),
        *export_classes(store.root, judged, results.cells, formats),
        *export_aggregate(store.root, results.cells, formats),
        *export_settings(store.root, resolved.spec, formats),
    ]
    files = export(
        store.root,
        results.cells,
        results.timing,
        formats,
        comparisons=results.comparisons,
        on_sets=results.set_comparisons,
        remarks=remarks,
    )
    written = [*files, *others]
    shown = PageResults(
        cells=results.cells,
        comparisons=[*results.comparisons, *results.set_comparisons],
        marked=better_than_random(results.comparisons),
        remarks=remarks,
    )
    page_file = store.root / PAGE_FILE
    text = page(
        about,
        shown,
        pictures(written, results.cells),
        summary=summary(results.cells, results.comparisons),
        answers=[answers(results.comparisons, effort)],
    )
    write_atomic(page_file, text.encode())
    record_look(store.root, results.comparisons)
    return results, [*written, page_file]


def pictures(files: Iterable[Path], cells: Sequence[Cell]) -> list[Picture]:
    """The PNG files among `files`, in their order; that of the results is cut between its panels."""
    found = []
    for file in files:
        if file.suffix == ".png":
            image = file.read_bytes()
            name = file.stem.replace("_", " ")
            whole = file.name == Path(FIGURE).name
            found.append(Picture(name=name, images=strips(panels(cells), image) if whole else [image]))
    return found


def search_remarks(resolved: Resolved, cells: Sequence[Cell]) -> list[str]:
    """What the searches have found, beside what fresh seeds gave."""
    spec, identities, findings = resolved
    return in_words(findings_of(searches(spec, identities), findings, cells))


def write_tables(root: Path, formats: Sequence[str] = FORMATS) -> tuple[Results, list[Path]]:
    """The same for a study folder."""
    resolved = planned(root)
    return publish(Store(root), resolved, make_plan(*resolved), formats)
