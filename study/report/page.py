"""report.html: a study on one page that needs nothing else, for a reader, a printer or an archive.

Figures are inside as data; nothing is fetched and no script runs, which a content security policy enforces. Equal
results give equal bytes: no date, no wall time, no path.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from study.report.comparisons import NO_COMPARISON, legend, said, table
from study.report.layout import (
    EPOCHS,
    MARK,
    MARKED,
    OBJECTIVES,
    Shown,
    best,
    caption,
    epochs,
    grid,
    notes,
    plain,
    shown,
)
from study.report.set_tables import HEADING, SetEntry, set_tables
from study.report.set_tables import caption as sets_caption
from study.report.template import STYLE, TEMPLATE
from study.report.wording import by_question, how, title
from study.report.wording import remarks as remarks_of
from study.results.aggregate import Cell, CellKey
from study.results.comparison import Comparison
from study.results.verdicts import verdict


class Figure(NamedTuple):
    """A picture of the page."""

    name: str
    parts: Sequence[bytes]  # PNG, from top to bottom; a printed page may end between two of them


class ShownFailure(NamedTuple):
    """A trial and objective without a record."""

    trial: str  # encoder / dataset / method @ variant
    objective: str
    seed: int
    attempts: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class About:
    """What a page says of its study beside the results; texts as they are, unescaped."""

    name: str
    description: str
    settings: Sequence[tuple[str, str]]  # those that matter, in words
    encoders: Sequence[tuple[str, str]]  # name, revision
    datasets: Sequence[tuple[str, str]]  # name, content hash
    failures: Sequence[ShownFailure]
    warnings: Sequence[str] = ()  # of the datasets: what a reader of the results must know


def page(
    about: About,
    cells: Sequence[Cell],
    comparisons: Sequence[Comparison],
    figures: Sequence[Figure],
    marked: Collection[CellKey] = (),
    remarks: Sequence[str] = (),
) -> str:
    """The whole page. `remarks`: what to know of all comparisons."""
    from jinja2 import Environment, StrictUndefined  # only where a page is made
    from markupsafe import Markup

    style = hashlib.sha256(STYLE.encode()).digest()
    allowed = f"style-src 'sha256-{base64.b64encode(style).decode()}'; img-src data:"
    environment = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    return environment.from_string(TEMPLATE).render(
        **_table(cells, marked),
        about=_plain(about),
        policy=f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'",
        style=Markup(STYLE),
        notes=[*notes(cells), *([MARKED] if marked else [])],
        complete=all(cell.n == cell.wanted for cell in cells),
        caption=caption(cells),
        epochs=EPOCHS,
        figures=[_figure(figure) for figure in figures],
        families=[_family(family) for family in by_question(comparisons)],
        remarks=list(map(plain, remarks)),
        how=f"{how(comparisons)} {legend(comparisons)}" if comparisons else NO_COMPARISON,
        sets=_sets(cells),
        heading=HEADING,
        failures=[_failure(failure) for failure in about.failures],
    )


def figures_of(files: Iterable[Path]) -> list[Figure]:
    """The PNG files among `files`, whole, in their order."""
    return [Figure(file.stem, [file.read_bytes()]) for file in files if file.suffix == ".png"]


def _table(cells: Sequence[Cell], marked: Collection[CellKey]) -> dict[str, Any]:
    bold = best(cells)
    layout = grid(cells, ["encoder"], ["dataset", "objective"])
    datasets = [dataset for dataset, _ in layout.columns]

    def result(cell: Cell) -> str:
        return _value(shown(cell), bold=cell.key in bold, mark=MARK if cell.key in marked else "")

    return {
        "datasets": [(plain(name), datasets.count(name)) for name in dict.fromkeys(datasets)],
        "goals": [plain(OBJECTIVES.get(objective, objective)) for _, objective in layout.columns],
        "blocks": [
            {
                "name": plain(heading[0]),
                "rows": [
                    {
                        "label": plain(line.label),
                        "results": [result(entry) if entry else "" for entry in line.entries],
                        "epochs": [epochs(entry) if entry else "" for entry in line.entries],
                    }
                    for line in rows
                ],
            }
            for heading, rows in layout.blocks
        ],
    }


def _value(value: Shown, *, bold: bool, mark: str = "") -> str:
    from markupsafe import Markup

    text = Markup("<b>{}</b>" if bold else "{}").format(value.mean + mark)
    text += Markup(' <span class="sd">± {}</span>').format(value.std) if value.std else Markup("")
    return text + (Markup('<span class="gap">{}</span>').format(value.note) if value.note else Markup(""))


def _sets(cells: Sequence[Cell]) -> dict[str, Any] | None:
    """The tables of the evaluation sets; None if no dataset has any."""
    tables = set_tables(cells)
    if not tables:
        return None

    def values(entries: Iterable[SetEntry]) -> list[str]:
        return [_value(entry.value, bold=entry.best) for entry in entries]

    return {
        "caption": plain(sets_caption(cells)),
        "tables": [
            {
                "title": plain(table.title),
                "columns": list(map(plain, table.columns)),
                "blocks": [
                    {
                        "name": plain(encoder),
                        "rows": [{"label": plain(row.label), "entries": values(row.entries)} for row in rows],
                    }
                    for encoder, rows in table.blocks
                ],
            }
            for table in tables
        ],
    }


def _family(family: Sequence[Comparison]) -> dict[str, Any]:
    header, rows = table(family)
    return {
        "title": plain(title(family[0])),
        "header": header,
        "rows": rows,
        "said": [(plain(line), deciding and verdict(deciding) == "decisive") for line, deciding in said(family)],
        "remarks": plain(" ".join(remarks_of(family))),
    }


def _figure(figure: Figure) -> dict[str, Any]:
    text = "" if figure.name == "results" else plain(figure.name).replace("_", " ")  # that one explains itself
    parts = [f"data:image/png;base64,{base64.b64encode(part).decode()}" for part in figure.parts]
    return {"parts": parts, "name": plain(figure.name), "text": text}


def _failure(failure: ShownFailure) -> ShownFailure:
    return failure._replace(
        trial=plain(failure.trial), objective=plain(failure.objective), reason=plain(failure.reason)
    )


def _plain(about: About) -> About:
    def pairs(rows: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        return [(plain(name), plain(value)) for name, value in rows]

    return About(
        name=plain(about.name),
        description=plain(about.description),
        settings=pairs(about.settings),
        encoders=pairs(about.encoders),
        datasets=pairs(about.datasets),
        failures=about.failures,
        warnings=list(map(plain, about.warnings)),
    )
