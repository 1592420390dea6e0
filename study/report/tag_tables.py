"""The profile of parts of speech as files and in the terminal (Kimura et al. 2024, Tables 4 and 5).

Mask probabilities are shown as fractions, as the paper has them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from l3masking.analysis.pos_profile import NUM_RANKED, TagProfile, TagRow
from study.report.escape import csv_text, latex_table, markdown_table, markdown_text
from study.report.layout import plain
from study.store.hints import read_hint
from study.store.store import write_atomic

TAG_FIELDS = (
    *("dataset", "encoder", "policy", "weighting", "tag", "count", "mean", "std", "shown", "wanted_mean"),
    *("tagger", "words"),
)
HIGHEST, LOWEST = "Masked most often", "Masked least often"


class ProfileColumn(NamedTuple):
    """The profile of one encoder under one policy."""

    encoder: str
    policy: str
    weighting: str | None  # None: the policy does not read the likelihood of tokens
    label: str  # of the policy with its weighting
    profile: TagProfile


@dataclass(frozen=True, kw_only=True)
class TagTable:
    """The profiles of one dataset beside each other."""

    dataset: str
    tagger: str  # name and version
    words: str  # what a word is: "tagger" or "whitespace"
    texts: int
    wanted: float  # average mask probability
    min_count: int  # tokens that a tag must have
    columns: tuple[ProfileColumn, ...]


def write_tag_table(root: Path, table: TagTable, formats: Sequence[str]) -> list[Path]:
    """Write tables/pos_<dataset>.<format> in the study's folder; returns the paths."""
    makers: dict[str, Callable[[TagTable], str]] = {
        "md": tags_markdown,
        "tex": tags_latex,
        "csv": tags_csv,
        "json": tags_json,
    }
    files = []
    for name in formats:
        files.append(root / "tables" / f"pos_{table.dataset}.{name}")
        write_atomic(files[-1], makers[name](table).encode())
    return files


def about_tags(table: TagTable) -> str:
    """What the numbers are."""
    words = "the tagger's own words" if table.words == "tagger" else "words between blanks"
    return (
        f"Mean mask probability of the tokens of each part of speech in {table.texts} masked-LM texts. Tags by "
        f"{table.tagger}, {words}; each token has the tag of the word in which it starts. Tags with fewer than "
        f"{table.min_count} tokens are left out. Random masking gives every tag exactly {table.wanted:g}, the average "
        "mask probability. ±: sample standard deviation over the tokens."
    )


def tag_notes(table: TagTable) -> list[str]:
    """What was left out, a line for each encoder."""
    lines = []
    for encoder, profile in {column.encoder: column.profile for column in table.columns}.items():
        rare = ", ".join(f"{row.tag} ({row.count})" for row in profile.rare) or "none"
        lines.append(
            f"{encoder}: {profile.tokens} tokens, {profile.untagged} outside the tagger's words. Left out: {rare}."
        )
    return lines


def tags_json(table: TagTable) -> str:
    """One object: what was tagged, and for each column all of its tags, highest mean first."""
    columns: list[dict[str, Any]] = [
        {
            "encoder": column.encoder,
            "policy": column.policy,
            "weighting": column.weighting,
            "tokens": column.profile.tokens,
            "untagged": column.profile.untagged,
            "tags": [asdict(row) for row in column.profile.rows],
            "rare": [asdict(row) for row in column.profile.rare],
        }
        for column in table.columns
    ]
    head = {
        "dataset": table.dataset,
        "tagger": table.tagger,
        "words": table.words,
        "texts": table.texts,
        "wanted_mean": table.wanted,
        "min_count": table.min_count,
    }
    return json.dumps(head | {"columns": columns}, indent=1, allow_nan=False) + "\n"


def tag_lines(root: Path, datasets: Iterable[str]) -> list[str]:
    """What the profiles that lie in a study's folder say, a line for each dataset, encoder and weighting.

    A file that cannot be read, or has no profile in it, gives no line.
    """

    def of(dataset: str) -> list[str]:
        def made(found: dict[str, Any]) -> list[str]:
            columns = [column for column in found["columns"] if len(column["tags"]) > NUM_RANKED]
            return [_in_a_line(dataset, found, column) for column in columns]

        return read_hint(root / f"tables/pos_{dataset}.json", made) or []

    return [line for dataset in datasets for line in of(dataset)]


def _in_a_line(dataset: str, found: dict[str, Any], column: dict[str, Any]) -> str:
    first, last = (
        ", ".join(f"{tag['tag']} {tag['mean']:.3f}" for tag in part)
        for part in (column["tags"][:NUM_RANKED], column["tags"][: -NUM_RANKED - 1 : -1])
    )
    how = f"{column['policy']}{', ' + column['weighting'] if column['weighting'] else ''}"
    return (
        f"{dataset}, {column['encoder']} ({how}): masked most {first}; least {last}; random masking gives "
        f"{found['wanted_mean']:g}. Tags by {found['tagger']}."
    )


def tags_csv(table: TagTable) -> str:
    """A line for each column and tag, rare tags included."""
    rows = []
    for column in table.columns:
        for shown, part in ((True, column.profile.rows), (False, column.profile.rare)):
            rows += [
                (
                    *(table.dataset, column.encoder, column.policy, column.weighting),
                    *(*astuple(row), str(shown).lower(), table.wanted, table.tagger, table.words),
                )
                for row in part
            ]
    return csv_text(TAG_FIELDS, rows)


def tags_markdown(table: TagTable) -> str:
    """Tables of the highest and lowest tags, and of all."""
    parts = [f"# Parts of speech: {markdown_text(table.dataset)}", markdown_text(about_tags(table))]
    for title, lines in _ranked(table):
        rows = [[str(rank), *map(markdown_text, line)] for rank, line in enumerate(lines, 1)]
        parts += [
            f"## {title}",
            markdown_table(["", *map(markdown_text, _titles(table))], "r" + "l" * len(lines[0]), rows),
        ]
    header, rows = _all(table)
    aligned = "l" + "r" * (len(header) - 1)
    parts += [
        "## All tags",
        markdown_table([*map(markdown_text, header)], aligned, [[*map(markdown_text, r)] for r in rows]),
    ]
    parts.append("\n".join(f"- {markdown_text(line)}" for line in tag_notes(table)))
    return "\n\n".join(parts) + "\n"


def tags_latex(table: TagTable) -> str:
    """The same with booktabs."""
    text = f"{table.dataset}. {about_tags(table)} {' '.join(tag_notes(table))}"
    heads = ["", *_titles(table)]
    tables = [
        latex_table(f"{title}. {text}", "l" * len(heads), heads, [[str(n), *line] for n, line in enumerate(lines, 1)])
        for title, lines in _ranked(table)
    ]
    header, rows = _all(table)
    tables.append(latex_table(f"All tags. {text}", "l" + "r" * (len(header) - 1), header, rows))
    return "\n".join(["% needs \\usepackage{booktabs}", *tables])


def terminal_tags(table: TagTable) -> list[Table]:
    """The tables of the highest and lowest tags, and of all tags, for the terminal."""
    shown = []
    for title, lines in _ranked(table):
        rows = [[str(rank), *line] for rank, line in enumerate(lines, 1)]
        shown.append(_terminal(f"{table.dataset}: {title.lower()}", ["", *_titles(table)], rows, "left"))
    header, rows = _all(table)
    shown.append(_terminal(f"{table.dataset}: all tags", header, rows, "right"))
    return shown


def _titles(table: TagTable) -> list[str]:
    return [plain(f"{column.encoder}: {column.label}") for column in table.columns]


def _ranked(table: TagTable) -> list[tuple[str, list[list[str]]]]:
    """Title and lines of the two tables of ranks; an entry is a tag with its mean, as in the paper."""
    found = []
    for title, ranked in ((HIGHEST, TagProfile.highest), (LOWEST, TagProfile.lowest)):
        columns = [[f"{row.tag} {row.mean:.4f}" for row in ranked(column.profile)] for column in table.columns]
        longest = min(NUM_RANKED, max(map(len, columns)))
        filled = [[*column, *[""] * (longest - len(column))] for column in columns]
        found.append((title, [list(line) for line in zip(*filled, strict=True)] or [[""] * len(columns)]))
    return found


def _all(table: TagTable) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table of all tags: for each encoder the count, and the mean ± std of each column."""
    header, reference, entries = ["tag"], ["random masking"], list[dict[str, str]]()
    before = None
    for column, title in zip(table.columns, _titles(table), strict=True):
        if column.encoder != before:
            header.append(plain(f"{column.encoder}: tokens"))
            reference.append("")
            entries.append({row.tag: str(row.count) for row in column.profile.rows})
        header.append(title)
        reference.append(f"{table.wanted:.4f}")
        entries.append({row.tag: _value(row) for row in column.profile.rows})
        before = column.encoder
    tags = dict.fromkeys(row.tag for column in table.columns for row in column.profile.rows)
    return header, [*([tag, *(of.get(tag, "") for of in entries)] for tag in tags), reference]


def _value(row: TagRow) -> str:
    return f"{row.mean:.4f}" if row.std is None else f"{row.mean:.4f} ± {row.std:.4f}"


def _terminal(title: str, header: Sequence[str], rows: Sequence[Sequence[str]], side: Any) -> Table:
    table = Table(title=Text(plain(title)), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for number, name in enumerate(header):
        table.add_column(Text(name), justify=side if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(entry) for entry in row))
    return table
