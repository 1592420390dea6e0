"""report.html: a study on one page that needs nothing else, for a reader, a printer or an archive.

Figures are inside as data, nothing is fetched, and the one script sorts tables: a content security policy sees to it.
Equal results give equal bytes: no date, no wall time, no path.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from study.report.comparisons import EVIDENCE_EXPLAINED, NO_COMPARISON, evidence_table, legend, said, table
from study.report.epoch_wording import epochs, epochs_note
from study.report.layout import (
    MARK,
    MARKED,
    OBJECTIVES,
    Shown,
    best,
    caption,
    grid,
    notes,
    plain,
    shown,
)
from study.report.sections import (
    Body,
    Fold,
    Item,
    Items,
    Pairs,
    Paragraphs,
    Part,
    Picture,
    Section,
    TableView,
    flat_table,
)
from study.report.set_tables import HEADING, SetEntry, set_tables
from study.report.set_tables import caption as sets_caption
from study.report.template import SCRIPT, STYLE, TEMPLATE
from study.report.wording import by_question, how, remarks, title
from study.results.aggregate import Cell, CellKey
from study.results.comparison import Comparison
from study.results.set_comparisons import SetComparison
from study.results.verdicts import verdict

NOTHING_YET = "No comparison has a seed that both of its rows have finished."
MOST_REMARKS = 4  # that stand before all comparisons; more are folded

AGAIN = (
    "`l3study run SPACE` made this study. Its space file is kept as space.yaml; resolved.yaml holds every setting as "
    "it was used, with revisions and content hashes. The records in records/ are the source of all numbers: "
    "`l3study export FOLDER` makes this page and the tables again."
)


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
    design: Sequence[tuple[str, str]]  # what was compared, over which seeds, in words
    encoders: Sequence[tuple[str, str]]  # name, revision
    datasets: Sequence[tuple[str, str]]  # name, content hash
    failures: Sequence[ShownFailure]


@dataclass(frozen=True, kw_only=True)
class PageResults:
    """What the tables of a page show."""

    cells: Sequence[Cell]
    comparisons: Sequence[Comparison] = ()  # those on evaluation sets included
    marked: Collection[CellKey] = ()  # cells that carry MARK
    remarks: Sequence[str] = ()  # what to know of all comparisons


def page(
    about: About,
    results: PageResults,
    figures: Sequence[Picture] = (),
    *,
    summary: Sequence[tuple[str, Sequence[Item]]] = (),
    answers: Sequence[Section] = (),
    further: Sequence[Section] = (),
) -> str:
    """The whole page.

    `summary`: headings with a few lines each, which stand on top. `answers` come before the results, `further` after
    the figures; a section without parts is left out.
    """
    from jinja2 import Environment, StrictUndefined  # only where a page is made
    from markupsafe import Markup

    sections = [
        *answers,
        Section("results", "Results", _results(results)),
        Section("evaluations", HEADING, _sets(results.cells)),
        Section("comparisons", "Comparisons", _comparisons(results)),
        Section("figures", "Figures", figures),
        Section("epochs", "Epochs", [_grid(results.cells, epochs, epochs_note(results.cells))]),
        *further,
        Section("failures", "Failures", _failures(about.failures)),
        Section("made", "How it was made", _made(about)),
    ]
    state, *_ = notes(results.cells)
    allowed = f"style-src '{_digest(STYLE)}'; script-src '{_digest(SCRIPT)}'; img-src data:"
    # names come from users: what is no Markup loses its control characters where it is drawn, and is escaped there
    drawn: Callable[[object], object] = lambda value: plain(value) if type(value) is str else value  # noqa: E731
    environment = Environment(autoescape=True, trim_blocks=True, undefined=StrictUndefined, finalize=drawn)
    environment.filters["coded"] = _coded
    return environment.from_string(TEMPLATE).render(
        name=about.name,
        description=about.description,
        state=state,
        complete=all(cell.n == cell.wanted for cell in results.cells),
        summary=[(heading, Items(items=items)) for heading, items in summary if items],
        sections=[section for section in sections if section.parts],
        policy=Markup(f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"),
        style=Markup(STYLE),
        script=Markup(SCRIPT),
    )


def _coded(text: str) -> str:
    """Escaped, and what stands between backticks as code; a single backtick stays."""
    from markupsafe import Markup, escape

    parts = plain(text).split("`")
    if len(parts) % 2 == 0:
        return escape("`".join(parts))
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else part for place, part in enumerate(parts)
    )


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _results(results: PageResults) -> list[Part]:
    bold = best(results.cells)

    def value(cell: Cell) -> str:
        return _value(shown(cell), bold=cell.key in bold, mark=MARK if cell.key in results.marked else "")

    remarks_below = [*notes(results.cells)[1:], *([MARKED] if results.marked else [])]
    items = [Items(items=list(map(Item, remarks_below)), small=True)] if remarks_below else []
    return [_grid(results.cells, value, caption(results.cells)), *items]


def _grid(cells: Sequence[Cell], write: Callable[[Cell], str], note: str) -> TableView:
    """A block per encoder, a row per method, a column per dataset and objective."""
    layout = grid(cells, ["encoder"], ["dataset", "objective"])
    datasets = [dataset for dataset, _ in layout.columns]
    return TableView(
        header=["Encoder", "Method", *(OBJECTIVES.get(objective, objective) for _, objective in layout.columns)],
        over=[(name, datasets.count(name)) for name in dict.fromkeys(datasets)],
        bodies=[
            Body(heading[0], [[row.label, *(write(entry) if entry else "" for entry in row.entries)] for row in rows])
            for heading, rows in layout.blocks
        ],
        left=2,
        note=note,
    )


def _value(value: Shown, *, bold: bool, mark: str = "") -> str:
    from markupsafe import Markup

    text = Markup("<b>{}</b>" if bold else "{}").format(value.mean + mark)
    text += Markup(' <span class="sd">± {}</span>').format(value.std) if value.std else Markup("")
    return text + (Markup('<span class="gap">{}</span>').format(value.note) if value.note else Markup(""))


def _sets(cells: Sequence[Cell]) -> list[Part]:
    """The tables of the evaluation sets; nothing if no dataset has any."""

    def values(entries: Iterable[SetEntry]) -> list[str]:
        return [_value(entry.value, bold=entry.best) for entry in entries]

    tables: list[Part] = [
        TableView(
            title=one.title,
            header=["Encoder", "Method", *one.columns],
            bodies=[Body(encoder, [[row.label, *values(row.entries)] for row in rows]) for encoder, rows in one.blocks],
            left=2,
        )
        for one in set_tables(cells)
    ]
    return [*tables, Paragraphs(lines=[sets_caption(cells)], small=True)] if tables else []


def _comparisons(results: PageResults) -> list[Part]:
    """Confirmatory questions as they are; the others, of which there are many, behind their titles."""
    found = results.comparisons
    text = f"{how(found)} {legend(found)}" if found else NO_COMPARISON
    explained = [EVIDENCE_EXPLAINED] if any(map(evidence_table, by_question(found))) else []
    parts: list[Part] = [Paragraphs(lines=[text, *explained], small=True)]
    if results.remarks:
        listed = Items(items=list(map(Item, results.remarks)))
        title_of = f"{len(results.remarks)} notes on all comparisons"
        parts.append(listed if len(results.remarks) <= MOST_REMARKS else Fold(title=title_of, parts=[listed]))
    if found and not any(entry.n for entry in found):
        return [*parts, Paragraphs(lines=[NOTHING_YET])]  # tables would hold dashes alone
    confirmatory = [entry for entry in found if entry.confirmatory]
    for family in by_question(confirmatory):
        parts += _question(family, title(family[0]))
    on_sets = [entry for entry in found if isinstance(entry, SetComparison)]
    others = [entry for entry in found if not (entry.confirmatory or isinstance(entry, SetComparison))]
    for group, where in ((others, ""), (on_sets, " on evaluation sets")):
        if group:
            folds = [Fold(title=title(family[0]), parts=_question(family)) for family in by_question(group)]
            many = f"{len(group)} exploratory comparison{'s' * (len(group) != 1)}{where}, by question"
            parts.append(Fold(title=many, parts=folds, open=not confirmatory))
    return parts


def _question(family: Sequence[Comparison], heading: str = "") -> list[Part]:
    """The comparisons of one question and objective."""
    header, rows = table(family)
    lines = [Item(text, about is not None and verdict(about) == "decisive") for text, about in said(family)]
    more = evidence_table(family)
    return [
        flat_table(header, rows, title=heading),
        Items(items=lines),
        Paragraphs(lines=[" ".join(remarks(family))], small=True),
        *([] if more is None else [flat_table(*more)]),
    ]


def _failures(failures: Sequence[ShownFailure]) -> list[Part]:
    if not failures:
        return []
    rows = [[one.trial, one.objective, one.reason, str(one.seed), str(one.attempts)] for one in failures]
    return [
        Paragraphs(lines=["They are counted and never averaged. The same `l3study run` tries them again."]),
        flat_table(["Trial", "Objective", "Reason", "Seed", "Attempts"], rows, left=3),
    ]


def _made(about: About) -> list[Part]:
    return [
        Pairs(rows=about.design),
        Pairs(title="Encoders, by revision", rows=about.encoders),
        Pairs(title="Datasets, by content hash", rows=about.datasets),
        Paragraphs(lines=[AGAIN]),
    ]
