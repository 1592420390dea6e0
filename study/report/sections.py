"""The parts of report.html as plain values: a section holds texts, lists, tables and figures. The template draws them.

Every text is escaped where it is drawn, and loses its control characters there; Markup stays as it is.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, NamedTuple

PNG_START = b"\x89PNG"
MANY_COLUMNS = 8  # more of them are printed in smaller letters
FEW_ROWS = 16  # of a table that is not torn between two sheets of paper
PIXELS_OF_A_POINT = 1.8  # letters of 8 points then have the size of small text


class Item(NamedTuple):
    """A line of a list."""

    text: str
    strong: bool = False


@dataclass(frozen=True, kw_only=True)
class Paragraphs:
    """Paragraphs."""

    kind: ClassVar[str] = "words"

    lines: Sequence[str]
    small: bool = False


@dataclass(frozen=True, kw_only=True)
class Items:
    """A list."""

    kind: ClassVar[str] = "items"

    items: Sequence[Item]
    small: bool = False


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Names with what they stand for."""

    kind: ClassVar[str] = "pairs"

    title: str = ""
    rows: Sequence[tuple[str, str]]


class Body(NamedTuple):
    """Rows of a table that belong together; sorting keeps them together."""

    name: str | None  # shown once, in front of its rows; None: the rows have no such column
    rows: Sequence[Sequence[str]]  # an entry per column, without the name


@dataclass(frozen=True, kw_only=True)
class TableView:
    """A table that a reader may sort by a click on the name of a column."""

    kind: ClassVar[str] = "table"

    title: str = ""
    header: Sequence[str]  # of all columns, that of the bodies' names first
    bodies: Sequence[Body]
    left: int = 1  # columns of names, which are left-aligned, from the left
    over: Sequence[tuple[str, int]] = ()  # a line above the header: text and number of columns, after those of names
    note: str = ""

    @property
    def looks(self) -> str:
        """What a printed page must know of its size: many, short."""
        rows = sum(len(body.rows) for body in self.bodies)
        names = {"many": len(self.header) > MANY_COLUMNS, "short": rows <= FEW_ROWS}
        return " ".join(name for name, applies in names.items() if applies)


class ShownImage(NamedTuple):
    """One image of a page."""

    address: str  # which holds the data itself
    width: int | None  # pixels; None: its own


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, PNG or SVG, in one or more parts from top to bottom; a printed page may end between two of them."""

    kind: ClassVar[str] = "picture"

    name: str
    images: Sequence[bytes]
    caption: str = ""

    @property
    def shown(self) -> list[ShownImage]:
        """The parts as a page has them."""
        return [ShownImage(_data_address(image), _width(image)) for image in self.images]


@dataclass(frozen=True, kw_only=True)
class Fold:
    """Parts behind their title, until a reader opens them. Closed, they are not printed."""

    kind: ClassVar[str] = "fold"

    title: str
    parts: Sequence[Part]
    open: bool = False


Part = Paragraphs | Items | Pairs | TableView | Picture | Fold


class Section(NamedTuple):
    """A chapter of the page; one without parts is left out, in the list of links too."""

    anchor: str
    title: str
    parts: Sequence[Part]


def flat_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", left: int = 1, note: str = ""
) -> TableView:
    """A table whose rows all belong together."""
    return TableView(title=title, header=header, bodies=[Body(None, rows)], left=left, note=note)


def folded_tables(parts: Iterable[Part]) -> list[Part]:
    """The same with each table that has a title behind it."""
    return [
        Fold(title=part.title, parts=[replace(part, title="")]) if isinstance(part, TableView) and part.title else part
        for part in parts
    ]


def _data_address(image: bytes) -> str:
    kind = "png" if image.startswith(PNG_START) else "svg+xml"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _width(image: bytes) -> int | None:
    """Of an SVG whose size is in points: its letters become as large as the text of the page."""
    size = re.search(rb'<svg[^>]*? width="([\d.]+)pt"', image)
    return None if size is None else round(float(size.group(1)) * PIXELS_OF_A_POINT)
