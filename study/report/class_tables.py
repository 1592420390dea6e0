"""Classes, confusion and calibration as files. Equal records and labels give equal bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from study.report.escape import csv_text
from study.report.layout import OBJECTIVES, row_label
from study.report.part_text import parts_markdown
from study.report.sections import Item, Items, Paragraphs, Part, flat_table
from study.report.set_tables import CELL_FIELDS
from study.results.aggregate import Cell
from study.results.classified import TEST_SPLIT, CalibrationRow, Classified, ClassRow, ConfusionRow
from study.results.per_class import BINS
from study.store.store import write_atomic

CLASS_FILES = {  # file -> what its numbers are
    "tables/classes.csv": "fractions of test texts; mean and sample std (n-1) over seeds; a share of nothing counts 0",
    "tables/confusion.csv": "texts of a true class by predicted class; count is the sum over seeds, mean over seeds; "
    "share is of the texts of the true class; a pair that never occurs has no line",
    "tables/calibration.csv": f"ece: {BINS} equal-width bins of the probability of the predicted class; adaptive_ece: "
    f"{BINS} bins of equally many texts; brier: sum over classes, 0 to 2; mean and sample std (n-1) over seeds",
}
CLASS_PAGE = "tables/classes.md"
WIDEST_CLASSES = 12  # that a table of the page has columns for
CLASSES_EXPLAINED = (
    "F1 of each class in percent, mean ± sample standard deviation over seeds; in brackets the texts of the class. "
    "tables/classes.csv also has precision and recall, tables/confusion.csv which classes are taken for each other."
)
CALIBRATION_EXPLAINED = (
    "Percent, means over seeds. Confidence: mean probability of the predicted class. ECE: expected calibration error, "
    f"the mean distance of accuracy and confidence over {BINS} bins of confidence, of equal width or (adaptive) of "
    "equally many texts. Brier: mean squared distance of the probabilities from the true class, 0 to 2, as it is."
)


def export_classes(root: Path, found: Classified, cells: Sequence[Cell], formats: Sequence[str]) -> list[Path]:
    """Write `root`/tables/classes.csv, confusion.csv and calibration.csv (csv) and classes.md (md); return their paths.

    A file without any line is left out, and an earlier one removed. What is left out for want of labels is named in
    classes.md.
    """
    files: dict[str, str] = {}
    if "csv" in formats:
        rows: tuple[Iterable[tuple[Cell, Any]], ...] = (
            found.classes(cells),
            found.confusion(cells),
            found.calibration(cells),
        )
        for (name, meaning), kind, made in zip(
            CLASS_FILES.items(), (ClassRow, ConfusionRow, CalibrationRow), rows, strict=True
        ):
            files[name] = _csv(kind, made, meaning)
    if "md" in formats:
        files[CLASS_PAGE] = parts_markdown("Classes", class_parts(found, cells))
    written = []
    for name, text in files.items():
        if not text:
            (root / name).unlink(missing_ok=True)  # of an earlier export
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, text.encode())
        written.append(root / name)
    return written


def class_parts(found: Classified, cells: Sequence[Cell]) -> list[Part]:
    """F1 of the classes and calibration, as tables, and what is left out; nothing where there is none of it."""
    parts = [*_class_tables(found, cells), *_calibration_tables(found, cells)]
    if found.notes:
        parts.append(Items(items=[Item(f"Left out: {note}") for note in found.notes]))
    return parts


def _class_tables(found: Classified, cells: Sequence[Cell]) -> Iterator[Part]:
    groups: dict[tuple[str, str, str], dict[tuple[str, str], list[ClassRow]]] = {}
    for cell, row in found.classes(cells):
        group = groups.setdefault((cell.dataset, cell.objective, row.evaluation), {})
        group.setdefault((cell.encoder, row_label(cell.method, cell.variant, [])), []).append(row)
    if groups:
        yield Paragraphs(lines=[CLASSES_EXPLAINED], small=True)
    for place, by_row in groups.items():
        first = next(iter(by_row.values()))
        if len(first) > WIDEST_CLASSES:
            yield Paragraphs(lines=[f"{_title(*place)}: {len(first)} classes; see tables/classes.csv."])
            continue
        header = ["Encoder", "Method", *(f"{row.label} ({row.support})" for row in first)]
        lines = [[*names, *(_spread(row.f1_mean, row.f1_std) for row in rows)] for names, rows in by_row.items()]
        yield flat_table(header, lines, title=_title(*place), left=2)


def _calibration_tables(found: Classified, cells: Sequence[Cell]) -> Iterator[Part]:
    groups: dict[tuple[str, str, str], list[list[str]]] = {}
    for cell, row in found.calibration(cells):
        brier = "" if row.brier_mean is None else f"{row.brier_mean:.3f}"
        numbers = (row.accuracy_mean, row.confidence_mean, row.ece_mean, row.adaptive_ece_mean)
        line = [cell.encoder, row_label(cell.method, cell.variant, []), *map(_percent, numbers), brier]
        groups.setdefault((cell.dataset, cell.objective, row.evaluation), []).append(line)
    if groups:
        yield Paragraphs(lines=[CALIBRATION_EXPLAINED], small=True)
    header = ["Encoder", "Method", "Accuracy", "Confidence", "ECE", "Adaptive ECE", "Brier"]
    for place, lines in groups.items():
        yield flat_table(header, lines, title=f"Calibration, {_title(*place)}", left=2)


def _title(dataset: str, objective: str, evaluation: str) -> str:
    where = dataset if evaluation == TEST_SPLIT else f"{dataset} on {evaluation}"
    return f"{where}, selected by {OBJECTIVES.get(objective, objective)}"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.2f}"


def _spread(mean: float | None, std: float | None) -> str:
    return _percent(mean) + ("" if std is None else f" ± {_percent(std)}")


def _csv(kind: type, rows: Iterable[tuple[Cell, Any]], meaning: str) -> str:
    """Empty without a line."""
    names = [field.name for field in fields(kind)]
    lines = [
        [*(getattr(cell, column) for column in CELL_FIELDS), *(getattr(row, name) for name in names), meaning]
        for cell, row in rows
    ]
    return csv_text([*CELL_FIELDS, *names, "definition"], lines) if lines else ""
