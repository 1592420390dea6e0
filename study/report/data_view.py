"""What the audit of a dataset says: warnings in words, tables for a terminal, and one JSON object."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from l3masking.data.textdata import SPLITS
from study.plan.resolved import Resolved
from study.report.data_tables import UNKNOWN, DataRow, DataTable, data_rows, rows_of
from study.report.layout import plain
from study.store.data_facts import DataFacts, SplitFacts

MOST_CLASSES = 30  # rows of the table of classes
SPLIT_HEADER = ("Split", "Rows", "Distinct", "Repeats", "Conflicting", "In train", "Exactly", "Words", "95 %", "Most")
SPLIT_CAPTION = (
    "Distinct: texts that differ; repeats: rows whose text stands above; conflicting: texts with two labels or more; "
    "in train: rows whose text train holds. All of these count texts as one whatever their case and white space; "
    "exactly: in train character for character. Words: median, 95th percentile and most of a text."
)


def split_names(facts: DataFacts, evaluations: Mapping[str, str]) -> dict[str, SplitFacts]:
    """The splits of a dataset and then its evaluation sets, by the names that a reader knows."""
    rows = rows_of("", facts, evaluations)
    sets = {f"evaluation set {row.evaluation}": row.splits["test"] for row in rows[1:]}
    return {part: facts["splits"][part] for part in SPLITS} | sets


def data_warnings(facts: DataFacts, evaluations: Mapping[str, str]) -> list[str]:
    """What a reader of the results must know of a dataset, a line each: what loading said, then what counting did."""
    named = split_names(facts, evaluations)
    further = [line for name, split in named.items() if name != "train" for line in _split_warnings(name, split)]
    cuts = [_cut_warning(encoder, facts, named) for encoder in facts["encoders"]]
    return list(dict.fromkeys([*facts["notes"], *further, *filter(None, cuts)]))


def study_warnings(resolved: Resolved, root: Path) -> list[str]:
    """The same for all datasets of a study whose facts its folder holds, each line with the dataset in front."""
    rows = [row for row in data_rows(resolved, root) if row.evaluation is None]
    sets = resolved.identities.evaluations
    return [f"{row.dataset}: {line}" for row in rows for line in data_warnings(row.facts, sets.get(row.dataset, {}))]


def split_table(facts: DataFacts, evaluations: Mapping[str, str]) -> DataTable:
    """Rows, repeats, shared texts and lengths of each split and evaluation set."""
    lines = []
    for name, split in split_names(facts, evaluations).items():
        audit, words = split["audit"], split["audit"]["words"]
        shared = audit["shared"].get("train")
        seen = UNKNOWN if shared is None else f"{shared['rows']:,} ({shared['rows'] / audit['rows']:.1%})"
        counts = (audit["rows"], audit["distinct"], audit["rows"] - audit["distinct"], audit["conflicting"])
        exact = UNKNOWN if shared is None else f"{shared['exact']:,}"
        lengths = [f"{words['median']:.0f}", f"{words['q95']:.0f}", f"{words['max']:,}"]
        lines.append([name, *(f"{count:,}" for count in counts), seen, exact, *lengths])
    return DataTable(SPLIT_HEADER, lines)


def class_table(facts: DataFacts) -> DataTable:
    """Rows of each class in each split, the largest classes of train first."""
    counts = [facts["splits"][part]["audit"]["labels"] for part in SPLITS]
    order = sorted(counts[0], key=lambda name: (-counts[0][name], name))
    lines = [[name, *(f"{count[name]:,}" for count in counts)] for name in order[:MOST_CLASSES]]
    if len(order) > MOST_CLASSES:
        rest = [sum(count[name] for name in order[MOST_CLASSES:]) for count in counts]
        lines.append([f"{len(order) - MOST_CLASSES} more classes", *(f"{count:,}" for count in rest)])
    return DataTable(("Class", *SPLITS), lines)


def token_table(facts: DataFacts, evaluations: Mapping[str, str]) -> DataTable:
    """Share of the texts that each encoder cuts, by split and evaluation set."""
    named = split_names(facts, evaluations)
    lines = []
    for encoder, how in facts["encoders"].items():
        shares = [_share(split, encoder) for split in named.values()]
        lines.append([encoder, str(how["max_length"]), *shares])
    return DataTable(("Encoder", "Ids kept", *(f"Cut: {name}" for name in named)), lines)


def terminal_data(name: str, facts: DataFacts, evaluations: Mapping[str, str]) -> list[RenderableType]:
    """One dataset for a terminal: its tables, then the warnings."""
    kind = "pairs of texts" if facts["pairs"] else "texts"
    classes = len(facts["splits"]["train"]["classes"])
    head = Text(plain(f"{name}: {classes} classes, {kind}, content {facts['data_hash']}"), style="bold")
    tables = [split_table(facts, evaluations), class_table(facts)]
    tables += [token_table(facts, evaluations)] if facts["encoders"] else []
    said = [Text(plain(f"! {line}")) for line in data_warnings(facts, evaluations)]
    return [head, *map(_drawn, tables), *(said or [Text("Nothing to warn of.")]), Text()]


def data_json(facts: DataFacts, evaluations: Mapping[str, str]) -> dict[str, Any]:
    """One dataset as plain values: counts of rows and texts, lengths, and the warnings."""
    splits = {part: facts["splits"][part]["audit"] for part in SPLITS}
    judged = ("validation", "test")
    rows: list[DataRow] = rows_of("", facts, evaluations)
    return {
        "rows": {part: audit["rows"] for part, audit in splits.items()},
        "distinct": {part: audit["distinct"] for part, audit in splits.items()},
        "conflicting": splits["train"]["conflicting"],
        "overlap": {part: splits[part]["shared"]["train"]["rows"] for part in judged},
        "exact": {
            "distinct": {part: audit["distinct_exact"] for part, audit in splits.items()},
            "conflicting": splits["train"]["conflicting_exact"],
            "overlap": {part: splits[part]["shared"]["train"]["exact"] for part in judged},
        },
        "data_hash": facts["data_hash"],
        "pairs": facts["pairs"],
        "classes": facts["splits"]["train"]["classes"],
        "as_read": facts["overlap"],
        "splits": splits,
        "tokens": _tokens({part: facts["splits"][part] for part in SPLITS}, facts),
        "evaluation_sets": {
            str(row.evaluation): {
                "data_hash": evaluations[str(row.evaluation)],
                "classes": row.splits["test"]["classes"],
                **row.splits["test"]["audit"],
                "tokens": {name: _cut_json(row.splits["test"], name) for name in row.splits["test"]["tokens"]},
            }
            for row in rows[1:]
        },
        "warnings": data_warnings(facts, evaluations),
    }


def _tokens(splits: Mapping[str, SplitFacts], facts: DataFacts) -> dict[str, Any]:
    return {
        encoder: {**how, "splits": {part: _cut_json(split, encoder) for part, split in splits.items()}}
        for encoder, how in facts["encoders"].items()
    }


def _cut_json(split: SplitFacts, encoder: str) -> dict[str, Any]:
    lengths = split["tokens"][encoder]
    return {**lengths, "truncated": lengths["longer"] / lengths["texts"]}


def _split_warnings(name: str, split: SplitFacts) -> list[str]:
    """What repeats within a split that models are judged on, and how its shared texts differ from those of train."""
    audit, lines = split["audit"], []
    shared = audit["shared"]["train"]
    if repeats := audit["rows"] - audit["distinct"]:
        torn = f"; {audit['conflicting']} texts have more than one label" if audit["conflicting"] else ""
        lines.append(f"{name}: {repeats} of {audit['rows']} rows repeat an earlier text of it{torn}")
    known = f"of the {shared['rows']} rows whose text is in train"
    if apart := shared["rows"] - shared["exact"]:
        lines.append(f"{name}: {known}, {apart} differ there in case or white space")
    if shared["other_label"]:
        lines.append(f"{name}: {known}, {shared['other_label']} have a label that the text never has there")
    return lines


def _cut_warning(encoder: str, facts: DataFacts, named: Mapping[str, SplitFacts]) -> str:
    """What an encoder cuts; empty where it cuts nothing."""
    if not any(split["tokens"][encoder]["longer"] for split in named.values() if encoder in split["tokens"]):
        return ""
    shares = ", ".join(f"{_share(split, encoder)} of {name}" for name, split in named.items())
    kept = facts["encoders"][encoder]["max_length"]
    return f"{encoder} cuts the end of texts longer than {kept} ids (scoring.max_length): {shares}"


def _share(split: SplitFacts, encoder: str) -> str:
    lengths = split["tokens"].get(encoder)
    return UNKNOWN if lengths is None else f"{lengths['longer'] / lengths['texts']:.1%}"


def _drawn(table: DataTable) -> Table:
    """A table with its first column on the left and numbers on the right."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for number, head in enumerate(table.header):
        drawn.add_column(Text(plain(head)), justify="right" if number else "left", overflow="fold")
    for line in table.rows:
        drawn.add_row(*(Text(plain(entry)) for entry in line))
    return drawn
