"""Comparisons of what trainings took, as CSV, Markdown, plain values and text for a terminal."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from study.report.escape import csv_text
from study.report.layout import OBJECTIVES, plain, row_label
from study.report.part_text import parts_markdown
from study.report.sections import Paragraphs, Part, flat_table
from study.report.wording import NO_NUMBER, p_text
from study.results.effort_pairs import CLOCKED, QUANTITIES, EffortComparison, Quantity, without_wall_time
from study.store.store import write_atomic

EFFORT_HEADING = "Effort"
QUANTITY_NAMES: dict[Quantity, str] = {
    "epochs_to_best": "epochs to the best value",
    "epochs_to_stop": "epochs to the stop",
    "updates": "updates",
    "seconds": "wall seconds",
}
HOW_EFFORT = (
    "What trainings took, paired by seed; differences are first minus second, so that below zero the first row takes "
    "less. Epochs are passes over the training texts until the first of equal best validation values, and until the "
    "stop. Intervals are 95 % t intervals of the paired differences; p is that of the two-sided sign-flip test. "
    "Exploratory: Holm's method adjusts over all tests of a quantity in this study."
)
ONE_CLOCK = (
    "Wall time is that of one training, which serves all objectives; trainings that run at a time share the machine."
)
MIXED_MACHINES = "The trainings ran on machines of several kinds, so their wall times are not comparable"
NO_EFFORT = "Nothing to compare."
EFFORT_FIELDS = (
    *("question", "encoder", "dataset", "objective", "quantity"),
    *("first_method", "first_variant", "second_method", "second_variant"),
    *(
        field.name
        for field in fields(EffortComparison)[5:]
        if field.name not in ("first", "second", "machines")  # where they ran is in timing.csv, and may differ
    ),
)


def export_effort(root: Path, found: Sequence[EffortComparison], formats: Collection[str]) -> list[Path]:
    """Write `root`/tables/effort.csv and .md, as far as `formats` asks for them; without wall times."""
    makers = {"md": effort_markdown, "csv": effort_csv}
    files = {root / f"tables/effort.{name}": make(found).encode() for name, make in makers.items() if name in formats}
    for path, data in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    return list(files)


def effort_csv(found: Iterable[EffortComparison]) -> str:
    """One line per comparison, numbers at full precision."""
    return csv_text(EFFORT_FIELDS, (list(map(_entry(one).get, EFFORT_FIELDS)) for one in without_wall_time(found)))


def effort_values(found: Iterable[EffortComparison]) -> list[dict[str, Any]]:
    """Plain values for JSON, wall times included."""
    return [asdict(one) | {"first": one.first._asdict(), "second": one.second._asdict()} for one in found]


def effort_parts(found: Iterable[EffortComparison]) -> list[Part]:
    """A table per question and quantity, without wall times; nothing without any comparison."""
    groups = _groups(without_wall_time(found))
    tables = [
        flat_table(header, rows, title=_title(group), left=2) for group in groups for header, *rows in [_table(group)]
    ]
    return [Paragraphs(lines=[HOW_EFFORT], small=True), *tables] if tables else []


def effort_markdown(found: Iterable[EffortComparison]) -> str:
    """The same as a file."""
    return parts_markdown(EFFORT_HEADING, effort_parts(found) or [Paragraphs(lines=[NO_EFFORT])])


def effort_text(found: Sequence[EffortComparison]) -> str:
    """For a terminal or a log: plain lines, columns aligned within a question and quantity; empty without any."""
    if not found:
        return ""
    parts = [f"{EFFORT_HEADING}. {HOW_EFFORT} {ONE_CLOCK}"]
    for group in _groups(found):
        lines = _table(group)
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        drawn = [
            "  ".join(entry.rjust(width) if place > 1 else entry.ljust(width) for place, (entry, width) in pairs)
            for pairs in (enumerate(zip(line, widths, strict=True)) for line in lines)
        ]
        several = sorted({name for one in group if len(one.machines) > 1 for name in one.machines})
        mixed = [f"{MIXED_MACHINES}: {'; '.join(several)}."] if several and group[0].quantity == CLOCKED else []
        parts.append("\n".join([plain(_title(group)), *(f"  {line.rstrip()}" for line in [*drawn, *mixed])]))
    return "\n\n".join(parts)


def _entry(one: EffortComparison) -> dict[str, Any]:
    """Its fields, the rows as method and variant."""
    sides = {"first": one.first, "second": one.second}
    named = {f"{name}_{part}": value for name, arm in sides.items() for part, value in arm._asdict().items()}
    return asdict(one) | named


def _groups(found: Sequence[EffortComparison]) -> list[list[EffortComparison]]:
    """Those of one question and quantity together, in the order of questions and QUANTITIES."""
    groups: dict[tuple[str, str], list[EffortComparison]] = {
        (question, quantity): [] for question in dict.fromkeys(one.question for one in found) for quantity in QUANTITIES
    }
    for one in found:
        groups[one.question, one.quantity].append(one)
    return [group for group in groups.values() if group]


def _title(group: Sequence[EffortComparison]) -> str:
    first, second = (row_label(*arm, []) for arm in (group[0].first, group[0].second))
    return f"{first} against {second}, {QUANTITY_NAMES[group[0].quantity]}"


def _table(group: Sequence[EffortComparison]) -> list[list[str]]:
    """Header and lines."""
    first, second = (row_label(*arm, []) for arm in (group[0].first, group[0].second))
    lines = [["Encoder, data", "Selected by", "Seeds", first, second, "Difference", "95 % interval", "p", "Holm"]]
    for one in group:
        low, high = one.ci_low, one.ci_high
        lines.append(
            [
                f"{one.encoder} / {one.dataset}",
                NO_NUMBER if one.quantity == CLOCKED else OBJECTIVES.get(one.objective, one.objective),
                f"n={one.n}",
                *(_number(value) for value in (one.first_mean, one.second_mean, one.difference)),
                NO_NUMBER if low is None or high is None else f"{_number(low)} to {_number(high)}",
                *(NO_NUMBER if p is None else p_text(p) for p in (one.p, one.p_adjusted)),
            ]
        )
    return [list(map(plain, line)) for line in lines]


def _number(value: float | None) -> str:
    text = NO_NUMBER if value is None else f"{value:.1f}"
    return "0.0" if text == "-0.0" else text
