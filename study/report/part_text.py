"""Parts of a section as Markdown, so that a table is made once for the page and for its file."""

from __future__ import annotations

from collections.abc import Iterable

from study.report.escape import markdown_table, markdown_text
from study.report.sections import Items, Paragraphs, Part, TableView


def parts_markdown(title: str, parts: Iterable[Part]) -> str:
    """A file with a title and texts, lists and tables; empty without parts."""
    written = [text for part in parts for text in _part(part)]
    return "\n\n".join([f"# {title}", *written]) + "\n" if written else ""


def _part(part: Part) -> list[str]:
    if isinstance(part, Paragraphs):
        return list(map(markdown_text, part.lines))
    if isinstance(part, Items):
        return ["\n".join(f"- {markdown_text(item.text)}" for item in part.items)]
    if isinstance(part, TableView):
        lines = [row if body.name is None else [body.name, *row] for body in part.bodies for row in body.rows]
        align = "l" * part.left + "r" * (len(part.header) - part.left)
        table = markdown_table(
            list(map(markdown_text, part.header)), align, [list(map(markdown_text, line)) for line in lines]
        )
        head = [f"## {markdown_text(part.title)}"] if part.title else []
        return [*head, table, *([markdown_text(part.note)] if part.note else [])]
    raise TypeError(f"{type(part).__name__} is for the page alone")
