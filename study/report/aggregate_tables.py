"""What several encoder and dataset pairs say together, as files. Percent in Markdown, fractions elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from study.report.escape import csv_text
from study.report.layout import OBJECTIVES, row_label
from study.report.part_text import parts_markdown
from study.report.sections import Item, Items, Part, flat_table
from study.results.aggregate import Cell
from study.results.over_datasets import Overall, Ranking, cautions, overall, rankings
from study.store.store import write_atomic

AGGREGATE_FORMATS = ("md", "csv", "json")
QUESTION_FIELDS = tuple(field.name for field in fields(Overall))
RANK_FIELDS = ("method", "variant", "mean_rank", "mean", "friedman_p", "critical_difference")
DEFINITION_OVER_PAIRS = (
    "kind question: first minus second over encoder and dataset pairs, each with the mean of its seeds, fractions; ci "
    "95% t interval over pairs; p exact Wilcoxon signed-rank test. kind rank: mean rank over pairs, 1 is best; "
    "friedman_p and Nemenyi's critical_difference of all rows of the objective"
)
OVER_PAIRS = (
    "Each encoder and dataset pair counts once, with the means of its two rows over their seeds. Difference: first "
    "minus second in percentage points, mean over the pairs, with the 95 % t interval over pairs. Better, equal, "
    "worse: on how many pairs the first row is that. p: exact Wilcoxon signed-rank test over the pairs, two-sided, not "
    "adjusted. Least p: the smallest that so many differing pairs can give."
)
OVER_ALL = "Over all encoders and datasets"
RANKS_EXPLAINED = "Mean rank over the pairs (1 is best) and mean of the row's means, percent."


def export_aggregate(root: Path, cells: Sequence[Cell], formats: Sequence[str]) -> list[Path]:
    """Write `root`/tables/aggregate.<format> if rows share two pairs or more; else remove that of an earlier export."""
    asked, ranked = overall(cells), rankings(cells)
    makers = {"md": _aggregate_markdown, "csv": aggregate_csv, "json": aggregate_json}
    written = []
    for name in AGGREGATE_FORMATS:
        file = root / f"tables/aggregate.{name}"
        if name in formats and (asked or ranked):
            file.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(file, makers[name](asked, ranked).encode())
            written.append(file)
        elif name in formats:
            file.unlink(missing_ok=True)
    return written


def aggregate_json(asked: Sequence[Overall], ranked: Sequence[Ranking]) -> str:
    """One object: cautions, and the lists `questions` and `rankings`, fractions at full precision."""
    value = {
        "cautions": cautions([*asked, *ranked]),
        "questions": [asdict(entry) for entry in asked],
        "rankings": [asdict(entry) for entry in ranked],
    }
    return json.dumps(value, indent=1, allow_nan=False) + "\n"


def aggregate_csv(asked: Sequence[Overall], ranked: Sequence[Ranking]) -> str:
    """A line per question and objective (kind `question`), and per row of a ranking (kind `rank`)."""
    header = ["kind", *QUESTION_FIELDS, *RANK_FIELDS, "definition"]
    entries: list[dict[str, Any]] = [{"kind": "question"} | asdict(entry) for entry in asked]
    for ranking in ranked:
        shared = {name: getattr(ranking, name) for name in ("objective", "pairs", "wanted", *RANK_FIELDS[-2:])}
        entries += [{"kind": "rank"} | shared | asdict(rank) for rank in ranking.ranks]
    return csv_text(header, ([entry.get(n) for n in header[:-1]] + [DEFINITION_OVER_PAIRS] for entry in entries))


def aggregate_parts(asked: Sequence[Overall], ranked: Sequence[Ranking]) -> list[Part]:
    """The same in tables, with the cautions first; nothing where there is nothing to aggregate."""
    if not (asked or ranked):
        return []
    parts: list[Part] = [Items(items=[Item(line) for line in cautions([*asked, *ranked])])]
    if asked:
        parts.append(flat_table(_QUESTIONS, [_question(entry) for entry in asked], left=2, note=OVER_PAIRS))
    for ranking in ranked:
        lines = [
            [row_label(rank.method, rank.variant, []), f"{rank.mean_rank:.2f}", f"{100 * rank.mean:.2f}"]
            for rank in ranking.ranks
        ]
        title = f"Ranks, {OBJECTIVES.get(ranking.objective, ranking.objective)}"
        note = " ".join([RANKS_EXPLAINED, *_tests(ranking)])
        parts.append(flat_table(["Method", "Mean rank", "Mean"], lines, title=title, note=note))
    return parts


def _aggregate_markdown(asked: Sequence[Overall], ranked: Sequence[Ranking]) -> str:
    return parts_markdown(OVER_ALL, aggregate_parts(asked, ranked))


_QUESTIONS = ["Question", "Objective", "Difference", "95 % interval", "Better, equal, worse", "p", "Least p"]


def _question(entry: Overall) -> list[str]:
    interval = "" if entry.ci_low is None else f"{100 * entry.ci_low:.2f} to {100 * (entry.ci_high or 0):.2f}"
    return [
        entry.question,
        OBJECTIVES.get(entry.objective, entry.objective),
        f"{100 * entry.difference:+.2f}",
        interval,
        f"{entry.better}, {entry.equal}, {entry.worse}",
        "" if entry.p is None else f"{entry.p:.3g}",
        "" if entry.floor is None else f"{entry.floor:.3g}",
    ]


def _tests(ranking: Ranking) -> list[str]:
    found = []
    if ranking.friedman_p is not None:
        found.append(
            f"Friedman's test that all rows are equally good, by its chi-square: p = {ranking.friedman_p:.3g}."
        )
    if ranking.critical_difference is not None:
        found.append(
            f"Mean ranks that differ by less than {ranking.critical_difference:.2f} (Nemenyi) are not told apart."
        )
    return found
