"""The datasets of a study as a table, after Table 1 of Kimura et al. 2024: sizes, repeats, texts seen in train.

Everything comes from data/<content hash>.json of the study's folder, which a run writes; the data are not read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from l3masking.data.known import ABOUT
from l3masking.data.textdata import SPLITS
from study.plan.resolved import Resolved
from study.report.escape import csv_text, latex_table, markdown_table, markdown_text
from study.store.data_facts import DataFacts, SplitFacts, read_facts
from study.store.store import write_atomic

DATA_FORMATS = ("md", "tex", "csv")
HEADER = (
    *("Data", "Domain", "Labels", "Classes", "Train", "Valid.", "Test"),
    *("Distinct", "Conflicting", "Valid. in train", "Test in train", "Cut"),
)
DATA_COLUMNS = (
    *("dataset", "evaluation", "domain", "labels", "classes", "train", "validation", "test"),
    *("train_distinct", "train_conflicting", "validation_in_train", "validation_in_train_exact"),
    *("test_in_train", "test_in_train_exact", "encoder", "max_length", "cut_train", "cut_validation", "cut_test"),
    "data_hash",
)
DATA_CAPTION = (
    "Datasets, in rows. Distinct: different texts of train; conflicting: those with two labels or more; in train: rows "
    "whose text train holds. Texts count as one whatever their case and white space. Cut: share of the training texts "
    "(of an evaluation set: of its texts) that are longer than scoring.max_length to an encoder, whose end is cut."
)
UNKNOWN = "–"


class DataTable(NamedTuple):
    """A table as plain texts, unescaped."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class DataRow(NamedTuple):
    """A dataset, or one of its evaluation sets, whose texts stand in the place of a test split."""

    dataset: str
    evaluation: str | None  # name of the evaluation set; None: the dataset itself
    facts: DataFacts
    splits: Mapping[str, SplitFacts]  # train, validation, test; test alone for an evaluation set


def data_rows(resolved: Resolved, root: Path) -> list[DataRow]:
    """The datasets of a study whose facts its folder holds, each followed by its evaluation sets, in their order."""
    rows = []
    for name in dict.fromkeys(pair.dataset for pair in resolved.spec.pairs):
        facts = read_facts(root, resolved.identities.data_hash(name, resolved.spec.seeds[0]))
        if facts is not None:
            rows += rows_of(name, facts, resolved.identities.evaluations.get(name, {}))
    return rows


def rows_of(name: str, facts: DataFacts, evaluations: Mapping[str, str]) -> list[DataRow]:
    """The rows of one dataset. `evaluations`: the content hash of each of its evaluation sets."""
    sets = {further: facts["evaluations"].get(content) for further, content in evaluations.items()}
    return [
        DataRow(name, None, facts, facts["splits"]),
        *(DataRow(name, further, facts, {"test": one}) for further, one in sets.items() if one is not None),
    ]


def data_table(rows: Sequence[DataRow]) -> DataTable:
    """The table for a reader; DATA_CAPTION says what its columns are."""
    return DataTable(HEADER, [_shown(row) for row in rows])


def data_markdown(rows: Sequence[DataRow]) -> str:
    """The whole of data.md."""
    header, lines = data_table(rows)
    entries = [list(map(markdown_text, line)) for line in lines]
    drawn = markdown_table(list(map(markdown_text, header)), "lll" + "r" * (len(header) - 3), entries)
    return f"# Data\n\n{markdown_text(DATA_CAPTION)}\n\n{drawn}\n"


def data_latex(rows: Sequence[DataRow]) -> str:
    """The whole of data.tex, for a document with booktabs."""
    header, lines = data_table(rows)
    return latex_table(DATA_CAPTION, "lll" + "r" * (len(header) - 3), header, lines)


def data_csv(rows: Sequence[DataRow]) -> str:
    """A line for each dataset, evaluation set and encoder: counts of rows; `cut_...` are fractions of the texts."""
    lines = []
    for row in rows:
        for encoder in row.facts["encoders"] or [None]:
            how = row.facts["encoders"][encoder]["max_length"] if encoder else None
            cuts = [_cut(row.splits.get(part), encoder) for part in SPLITS]
            lines.append([*_plain(row), encoder, how, *cuts, row.facts["data_hash"]])
    return csv_text(DATA_COLUMNS, lines)


def export_data(root: Path, resolved: Resolved, formats: Sequence[str]) -> list[Path]:
    """Write `root`/tables/data.<format>; nothing for a study that was run before its folder held such facts."""
    rows = data_rows(resolved, root)
    makers = {"md": data_markdown, "tex": data_latex, "csv": data_csv}
    files = {f"tables/data.{name}": makers[name](rows).encode() for name in DATA_FORMATS if name in formats and rows}
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(root / name, data)
    return [root / name for name in files]


def _plain(row: DataRow) -> list[object]:
    """The first columns of the CSV, as far as no encoder matters; None for what is not known."""
    domain, labels = ABOUT.get(row.dataset, (None, None)) if row.evaluation is None else (None, None)
    train, validation, test = (row.splits.get(part) for part in SPLITS)
    return [
        row.dataset,
        row.evaluation,
        domain,
        labels,
        len(row.splits["test"]["classes"]),
        *(part and part["audit"]["rows"] for part in (train, validation, test)),
        train and train["audit"]["distinct"],
        train and train["audit"]["conflicting"],
        *(count for part in (validation, test) for count in _in_train(part)),
    ]


def _in_train(split: SplitFacts | None) -> tuple[int | None, int | None]:
    """Rows whose text train holds: folded, and character for character."""
    if split is None:
        return None, None
    shared = split["audit"]["shared"]["train"]
    return shared["rows"], shared["exact"]


def _cut(split: SplitFacts | None, encoder: str | None) -> float | None:
    """Share of the texts that an encoder's maximum cuts; None if nobody counted."""
    if split is None or encoder is None or encoder not in split["tokens"]:
        return None
    return split["tokens"][encoder]["longer"] / split["tokens"][encoder]["texts"]


def _shown(row: DataRow) -> list[str]:
    """A line of the table: numbers with their thousands apart, the cut share in percent."""
    values = _plain(row)
    first = row.dataset if row.evaluation is None else f"{row.dataset}, evaluation set {row.evaluation}"
    counts = [*values[2:10], values[10]]  # without the counts of texts that are equal character for character
    shown = [*counts, values[12]]
    return [first, *map(_entry, shown), _cuts(row)]


def _entry(value: object) -> str:
    if value is None:
        return UNKNOWN
    return f"{value:,}" if isinstance(value, int) else str(value)


def _cuts(row: DataRow) -> str:
    """The cut share to each encoder; without names where there is one encoder."""
    shares = {encoder: _cut(row.splits.get("train", row.splits["test"]), encoder) for encoder in row.facts["encoders"]}
    known = {encoder: f"{100 * share:.1f} %" for encoder, share in shares.items() if share is not None}
    if len(known) == 1:
        return next(iter(known.values()))
    return ", ".join(f"{encoder} {share}" for encoder, share in known.items()) or UNKNOWN
