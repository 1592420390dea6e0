"""Comparisons as text for a terminal, Markdown, CSV and JSON. Equal comparisons give equal bytes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any, NamedTuple

from study.report.escape import csv_text, markdown_table, markdown_text
from study.report.layout import plain
from study.report.wording import (
    NO_NUMBER,
    by_question,
    how,
    interval_text,
    p_text,
    place,
    points,
    remarks,
    seeds_text,
    sentence,
    sides,
    title,
)
from study.results.comparison import Comparison, Side
from study.results.set_comparisons import SetComparison
from study.results.spread import CONFIDENCE
from study.results.unseen import UnseenPart
from study.results.verdicts import LEVEL, verdict

NO_COMPARISON = "Nothing to compare: nothing stands on both sides for the same encoder, dataset and objective."
BOTH = "Seeds, texts"
SIDES = ("first", "second")
FOLLOWING = ("verdict", "decisive", "sentence")  # from the fields of a comparison
COMPARISON_FIELDS = (
    *("question", "encoder", "dataset", "objective"),
    *(f"{name}_{field.name}" for name in SIDES for field in fields(Side)),
    *(
        field.name
        for field in fields(Comparison)
        if field.name not in ("question", "encoder", "dataset", "objective", *SIDES)
    ),
    *FOLLOWING,
)
SET_COMPARISON_FIELDS = (*COMPARISON_FIELDS[:4], "evaluation", "measure", *COMPARISON_FIELDS[4:])


class Table(NamedTuple):
    """One question and objective: the columns that say something, and an entry per comparison in each."""

    header: list[str]
    rows: list[list[str]]


def comparisons_json(
    comparisons: Sequence[Comparison],
    *,
    study: str | None = None,
    against: str | None = None,
    notes: Sequence[str] = (),
    on_sets: Sequence[SetComparison] = (),
    effort: Sequence[dict[str, Any]] = (),
    unseen: Mapping[str, UnseenPart] | None = None,
) -> str:
    """One object: study, against (null within a study), confidence, level, notes, and the list `comparisons`.

    With `unseen`, an object of that name says of each dataset how many test rows are compared: `rows`, of all `of`.
    With `on_sets` there is a second list, `evaluation_comparisons`; with `effort` that list, as it is. An entry holds
    the fields of `Comparison`, with `first` and `second` as objects, its `verdict`, whether that is `decisive`, and its
    `sentence`.
    Values are fractions; null where something cannot be said.
    """
    entries, further = (
        [asdict(entry) | {name: _said_of(entry, name) for name in FOLLOWING} for entry in group]
        for group in (comparisons, on_sets)
    )
    head: dict[str, Any] = {
        "study": study,
        "against": against,
        "confidence": CONFIDENCE,
        "level": LEVEL,
        "notes": list(notes),
    }
    if unseen is not None:
        head["unseen"] = {name: part._asdict() for name, part in unseen.items()}
    lists = {"comparisons": entries} | ({"evaluation_comparisons": further} if further else {})
    lists |= {"effort": list(effort)} if effort else {}
    return json.dumps(head | lists, indent=1, allow_nan=False) + "\n"


def comparisons_csv(comparisons: Sequence[Comparison]) -> str:
    """One line per comparison; the fields of a side carry its name in front, several notes stand in one entry."""
    return _csv(comparisons, COMPARISON_FIELDS)


def set_comparisons_csv(comparisons: Sequence[SetComparison]) -> str:
    """The same on evaluation sets: further fields are the set, and the measure, which is its value or the gap."""
    return _csv(comparisons, SET_COMPARISON_FIELDS)


def _csv(comparisons: Sequence[Comparison], names: Sequence[str]) -> str:
    def value(comparison: Comparison, field: str) -> object:
        if field in FOLLOWING:
            return _said_of(comparison, field)
        if field == "notes":
            return " ".join(comparison.notes)
        name, _, part = field.partition("_")
        return getattr(getattr(comparison, name), part) if name in SIDES else getattr(comparison, field)

    return csv_text(names, ([value(comparison, name) for name in names] for comparison in comparisons))


def _said_of(comparison: Comparison, field: str) -> object:
    """What follows from a comparison: its verdict, whether that is decisive, or its sentence."""
    found = verdict(comparison)
    return {"verdict": found, "decisive": found == "decisive", "sentence": sentence(comparison)}[field]


def comparisons_markdown(comparisons: Sequence[Comparison], notes: Sequence[str] = ()) -> str:
    """A table per question and objective, and a sentence for each difference; first what to know of all of them."""
    parts = ["# Comparisons", f"{how(comparisons)} {legend(comparisons)}" if comparisons else NO_COMPARISON]
    parts += ["\n".join(f"- {markdown_text(note)}" for note in notes)] if notes else []
    for family in by_question(comparisons):
        header, rows = table(family)
        lines = [f"- {markdown_text(line.text)}" for line in said(family)]
        entries = [list(map(markdown_text, line)) for line in rows]
        drawn = markdown_table(list(map(markdown_text, header)), "l" + "r" * (len(header) - 1), entries)
        parts += [f"## {markdown_text(title(family[0]))}", drawn, "\n".join(lines)]
        parts.append(markdown_text(" ".join(remarks(family))))
        if (more := evidence_table(family)) is not None:
            rows = [list(map(markdown_text, line)) for line in more.rows]
            parts.append(markdown_table(more.header, "l" + "r" * (len(more.header) - 1), rows))
    return "\n\n".join(parts) + "\n"


def comparisons_text(comparisons: Sequence[Comparison], notes: Sequence[str] = ()) -> str:
    """For a terminal or a log: plain lines, columns aligned within a question and objective."""
    parts = [f"{how(comparisons)}\n{legend(comparisons)}" if comparisons else NO_COMPARISON]
    for family in by_question(comparisons):
        told = [f"  - {plain(line.text)}" for line in said(family)]
        more = evidence_table(family) if family[0].confirmatory else None
        further = _drawn(more) if more is not None else []
        lines = [plain(title(family[0])), *_drawn(table(family)), *told, f"  {' '.join(remarks(family))}", *further]
        parts.append("\n".join(lines))
    return "\n\n".join([*parts, *(["\n".join(map(plain, notes))] if notes else [])])


def _drawn(made: Table) -> list[str]:
    """Lines with aligned columns."""
    lines = [made.header, *made.rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    entries = [
        [entry.rjust(width) if place else entry.ljust(width) for place, (entry, width) in enumerate(pairs)]
        for pairs in (zip(line, widths, strict=True) for line in lines)
    ]
    return [f"  {'  '.join(line).rstrip()}" for line in entries]


def table(family: Sequence[Comparison]) -> Table:
    """The numbers of a family, plain text; a column without any entry is left out."""
    there = family[0].second.study is not None
    first, second = ("Here", "There") if there else sides(family[0])
    header = ["Encoder, data", "Seeds", first, second, *("Difference", "95 % interval", BOTH), "d_z", "p", "Holm", "SE"]
    rows = [_row(comparison) for comparison in family]
    used = [column for column in range(len(header)) if any(row[column] != NO_NUMBER for row in rows)]
    return Table([plain(header[c]) for c in used], [[plain(row[c]) for c in used] for row in rows])


def evidence_table(family: Sequence[Comparison]) -> Table | None:
    """What goes beside the test, plain text; None if nothing is known."""
    header = ["Encoder, data", "First better", "95 % interval", "d_z, unbiased", "Equivalence p"]
    header += ["Only first right", "Only second right", "McNemar p", "Seeds to decide"]
    rows = [_evidence(comparison) for comparison in family]
    used = [column for column in range(len(header)) if any(row[column] != NO_NUMBER for row in rows)]
    if len(used) < 2:
        return None
    return Table([header[c] for c in used], [[plain(row[c]) for c in used] for row in rows])


def _evidence(entry: Comparison) -> list[str]:
    def number(value: float | None, how: Callable[[float], str]) -> str:
        return NO_NUMBER if value is None else how(value)

    low, high = entry.superiority_low, entry.superiority_high
    return [
        place(entry),
        number(entry.superiority, lambda share: f"{100 * share:.0f} %"),
        NO_NUMBER if low is None or high is None else f"{100 * low:.0f} to {100 * high:.0f} %",
        number(entry.effect_size_unbiased, lambda size: f"{size:.2f}"),
        number(entry.p_equivalence, p_text),
        number(entry.only_first, str),
        number(entry.only_second, str),
        number(entry.p_mcnemar, p_text),
        number(entry.seeds_needed, str),
    ]


def legend(comparisons: Sequence[Comparison]) -> str:
    """What the columns of the tables are."""
    parts = {
        "Under the names of the rows: mean ± sample standard deviation over the compared seeds, percent.": True,
        f"{BOTH}: 95 % interval over other seeds and other test texts; with one seed over texts alone.": any(
            comparison.joint_low is not None for comparison in comparisons
        ),
        "d_z: Cohen's effect size of the paired differences.": any(
            comparison.effect_size is not None for comparison in comparisons
        ),
        "SE: binomial standard error of one accuracy on that test set, points; more seeds do not lower it.": any(
            comparison.standard_error is not None for comparison in comparisons
        ),
    }
    return " ".join(text for text, applies in parts.items() if applies)


EVIDENCE_EXPLAINED = (
    "First better: share of the seeds on which the first row is better, a tie counting half, with its exact interval. "
    "d_z, unbiased: with Hedges' correction. Equivalence p: two one-sided tests of a difference within the margin. "
    "Only first right: test texts that the vote of the first row's seeds alone gets right. Only second right: the "
    "same of the second. McNemar p: their mid-p, a second look at this test set. Seeds to decide: of an undecided "
    "comparison, see docs/power.md."
)


def _row(comparison: Comparison) -> list[str]:
    plus = "+" if (comparison.difference or 0) > 0 and points(comparison.difference) != "0.00" else ""
    return [
        place(comparison),
        seeds_text(comparison),
        _mean(comparison.first),
        _mean(comparison.second),
        plus + points(comparison.difference),
        interval_text(comparison.ci_low, comparison.ci_high),
        interval_text(comparison.joint_low, comparison.joint_high),
        NO_NUMBER if comparison.effect_size is None else f"{comparison.effect_size:.2f}",
        NO_NUMBER if comparison.p is None else p_text(comparison.p),
        NO_NUMBER if comparison.p_holm is None else p_text(comparison.p_holm),
        points(comparison.standard_error),
    ]


class Line(NamedTuple):
    """A line under a table."""

    text: str
    about: Comparison | None  # None: a note on several


def said(family: Sequence[Comparison]) -> Iterator[Line]:
    """A sentence for each comparison, under its encoder and dataset; what is noted of several is said once."""
    for comparison in family:
        yield Line(f"{comparison.encoder} / {comparison.dataset}: {sentence(comparison)}", comparison)
    for note in dict.fromkeys(note for comparison in family for note in comparison.notes):
        places = [f"{entry.encoder} / {entry.dataset}" for entry in family if note in entry.notes]
        yield Line(f"Note on {', '.join(places)}: {note}", None)


def _mean(side: Side) -> str:
    return points(side.mean) + (f" ± {points(side.std)}" if side.std is not None else "")
