"""Labelled texts out of a file's bytes: JSON lines, JSON, CSV, TSV, Parquet. What is wrong is refused with its line.

pandas and `datasets` turn the CSV texts `NA`, `null`, `None` into missing values and pass null texts and mixed label
types on; the small readers here do neither.

Labels become strings by one rule. A string is the label as it is, so every label of a CSV or TSV is. A boolean is
"true" or "false". A number must be whole, and 1 and 1.0 are the same label, "1". One file keeps to one of the three.
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from l3masking.data.characters import is_blank
from l3masking.data.content import check_size, decode
from l3masking.data.pairs import Text, as_text
from l3masking.errors import InputError

LARGEST_WHOLE = 2**53  # beyond it a float no longer tells neighbouring whole numbers apart

RawRow = tuple[int, Sequence[object]]  # line or row number from 1, and what the file has in `Columns.read`


class Columns(NamedTuple):
    """The columns that are read."""

    text: str
    label: str | None  # None: texts alone
    pair: str | None = None  # of the second text of a pair
    named_by: str | None = None  # what names them, for a message; None: the keys of a dataset

    @property
    def texts(self) -> tuple[str, ...]:
        """Those of the texts."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    @property
    def read(self) -> tuple[str, ...]:
        """All of them, that of the labels last."""
        return self.texts if self.label is None else (*self.texts, self.label)

    def __str__(self) -> str:
        *others, last = (f"`{name}`" for name in self.read)
        return f"{', '.join(others)} and {last}" if others else last


class Rows(NamedTuple):
    """Texts and their labels, in the order of the file."""

    texts: list[Text]
    labels: list[str]


def read_rows(content: bytes, place: str, suffix: str, columns: Columns) -> Rows:
    """Rows of one file of a known suffix; `place` names the file in messages.

    Raises InputError naming file, line and value for everything that is not a string with a label.
    """
    return collect(*_records(content, place, suffix, columns), columns)


def read_texts(content: bytes, place: str, suffix: str, columns: Columns) -> list[Text]:
    """The texts of one file of a known suffix, which may be unlabelled. columns: without a label.

    Raises InputError naming file, line and value for everything that is not a string.
    """
    records, place, unit = _records(content, place, suffix, columns)
    texts = [_texts(values, columns, f"{place} {unit} {number}") for number, values in records]
    if not texts:
        raise InputError(f"{place} holds no rows: it needs one or more with {columns}")
    return texts


def _records(content: bytes, place: str, suffix: str, columns: Columns) -> tuple[Iterable[RawRow], str, str]:
    """The rows of a file, its place, and what their numbers count."""
    if not content.strip():
        raise InputError(f"{place} is empty: it needs one row or more with {columns}")
    if suffix == ".parquet":
        return _parquet(content, place, columns), place, "row"
    decoded = decode(content, place)
    if suffix in (".csv", ".tsv"):
        return _csv(decoded, place, suffix, columns), place, "line"
    if suffix == ".json" and decoded.lstrip().startswith("["):
        return _json_array(decoded, place, columns), place, "row"
    return _json_lines(decoded, place, columns), place, "line"


def _texts(values: Sequence[object], columns: Columns, where: str) -> Text:
    checked = [_checked_text(value, name, where) for value, name in zip(values, columns.texts, strict=True)]
    return checked[0] if columns.pair is None else as_text(checked)


def collect(records: Iterable[RawRow], place: str, unit: str, columns: Columns) -> Rows:
    """Check each record and gather them; `unit` is what the numbers count ("line" or "row")."""
    assert columns.label is not None, "rows are labelled"
    rows = Rows([], [])
    first: dict[str, str] = {}  # kind of label -> where it was first seen
    for number, values in records:
        where = f"{place} {unit} {number}"
        *texts, label = values
        rows.texts.append(_texts(texts, columns, where))
        rows.labels.append(_checked_label(label, columns.label, where))
        first.setdefault(_kind(label), f"{unit} {number} ({_short(label)})")
        if len(first) > 1:
            seen, kinds = " and ".join(first.values()), " and ".join(first)
            raise InputError(f"{place}: `{columns.label}` mixes {kinds}, {seen}; write all labels the same way")
    if not rows.texts:
        raise InputError(f"{place} holds no rows: it needs one or more with {columns}")
    return rows


def _checked_text(value: object, column: str, where: str) -> str:
    if value is None:
        raise InputError(f"{where}: `{column}` is null; drop the row, or write an empty text")
    if not isinstance(value, str):
        raise InputError(
            f"{where}: `{column}` is {_short(value)}, of type {type(value).__name__}; a text must be a string"
        )
    _check_characters(value, column, where)
    return value


def _checked_label(value: object, column: str, where: str) -> str:
    if value is None or (isinstance(value, str) and is_blank(value)):
        raise InputError(
            f"{where}: `{column}` is {'null' if value is None else 'empty'}; give the row a label or drop it"
        )
    if isinstance(value, str):
        _check_characters(value, column, where)
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < LARGEST_WHOLE:
        return str(int(value))
    kind = type(value).__name__
    raise InputError(f"{where}: `{column}` is {_short(value)}, a {kind}; labels are strings, booleans or whole numbers")


def _kind(label: object) -> str:
    return "strings" if isinstance(label, str) else "booleans" if isinstance(label, bool) else "numbers"


def _check_characters(value: str, column: str, where: str) -> None:
    if "\0" in value:
        raise InputError(f"{where}: `{column}` holds a NUL character; the file is damaged or not UTF-8, write it again")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:  # JSON can spell half of a surrogate pair, which no UTF-8 file can hold
            raise InputError(f"{where}: `{column}` holds half of a surrogate pair; repair the \\u escape") from None


def _json_lines(decoded: str, place: str, columns: Columns) -> Iterator[RawRow]:
    parse = _Json()
    # split("\n"), because splitlines() also cuts at U+2028 and U+0085, which JSON strings may hold as they are
    for number, line in enumerate(decoded.split("\n"), start=1):
        if line.strip():
            where = f"{place} line {number}"
            row = parse.value(line, where, "each line must be one whole JSON object")
            parse.refuse_twice(row, where)
            yield number, _pick(row, where, columns)


def _json_array(decoded: str, place: str, columns: Columns) -> Iterator[RawRow]:
    parse = _Json()
    for number, row in enumerate(parse.value(decoded, place, "it must be one JSON array of objects"), start=1):
        where = f"{place} row {number}"
        parse.refuse_twice(row, where)
        yield number, _pick(row, where, columns)


class _Twice(dict[str, Any]):
    """A JSON object in which a key is twice."""

    key: str


class _Json:
    """A JSON parser that sees keys that are twice in one object; `json` alone keeps the last value silently."""

    def __init__(self) -> None:
        self.any_twice = False
        self.decoder = json.JSONDecoder(object_pairs_hook=self._object)

    def value(self, source: str, where: str, rule: str) -> Any:
        """The value of one JSON document. InputError with `rule` for what is none."""
        try:
            return self.decoder.decode(source)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{where}: not JSON ({error}); {rule}") from None

    def refuse_twice(self, row: object, where: str) -> None:
        """Raise InputError for a key that is twice in `row`, or in an object inside it."""
        values = [row] if self.any_twice else []
        while values:
            value = values.pop()
            if isinstance(value, _Twice):
                raise InputError(f"{where}: the key {_short(value.key)} is twice in one object; keep one of them")
            values += value.values() if isinstance(value, dict) else value if isinstance(value, list) else []

    def _object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        self.any_twice = True
        twice = _Twice(made)
        twice.key = Counter(key for key, _ in pairs).most_common(1)[0][0]
        return twice


def _pick(row: object, where: str, columns: Columns) -> list[object]:
    if not isinstance(row, dict):
        shape = ", ".join(f'"{name}": ...' for name in columns.read)
        raise InputError(f"{where}: {_short(row)} is not an object; write {{{shape}}}")
    for column in columns.read:
        if column not in row:
            raise InputError(_no_column(where, column, list(row), columns))
    return [row[column] for column in columns.read]


def _csv(decoded: str, place: str, suffix: str, columns: Columns) -> list[RawRow]:
    name, delimiter, separators = ("TSV", "\t", "tabs") if suffix == ".tsv" else ("CSV", ",", "commas")
    # csv's limit of 131,072 characters a field is a setting of the whole process: it is put back, whatever happens,
    # and the list is made here because an unfinished generator would put it back only when it is collected
    limit = csv.field_size_limit(sys.maxsize)
    reader = csv.reader(io.StringIO(decoded, newline=""), delimiter=delimiter, strict=True)
    try:
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise InputError(f"{place} line {reader.line_num}: not {name} ({error}); check the double quotes") from None
    finally:
        csv.field_size_limit(limit)
    if not lines:
        raise InputError(f"{place} is empty: a header line and at least one row are needed")
    header = lines[0][1]
    check_columns(header, place, columns)
    for number, cells in lines:
        if len(cells) != len(header):
            raise InputError(
                f"{place} line {number}: {len(cells)} fields where the header has {len(header)}; "
                f"put texts with {separators} or line breaks in double quotes"
            )
        # a text that starts with a double quote swallows lines up to the next one, and their tabs with them
        if suffix == ".tsv" and any("\t" in cell and "\n" in cell for cell in cells):
            raise InputError(
                f"{place} line {number}: a field that ends here holds tabs and line breaks, as after a double quote "
                "that opens a text and is not closed; put that text in double quotes, and double those inside it"
            )
    places = [header.index(column) for column in columns.read]
    return [(number, [cells[at] for at in places]) for number, cells in lines[1:]]


def _parquet(content: bytes, place: str, columns: Columns) -> Iterator[RawRow]:
    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        check_size(sum(file.metadata.row_group(n).total_byte_size for n in range(file.num_row_groups)), place)
        check_columns(file.schema_arrow.names, place, columns)
        table = file.read(columns=list(columns.read))
        values = [table.column(name).to_pylist() for name in columns.read]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{place}: not a readable Parquet file ({reason}); write it again") from None
    yield from enumerate(zip(*values, strict=True), start=1)


def check_columns(names: Sequence[str], where: str, columns: Columns) -> None:
    """Raise InputError unless each of the columns is there exactly once."""
    for column in columns.read:
        if column not in names:
            raise InputError(_no_column(where, column, names, columns))
        if list(names).count(column) > 1:
            raise InputError(f"{where}: {list(names).count(column)} columns are called `{column}`; rename all but one")


def _no_column(where: str, column: str, names: Sequence[str], columns: Columns) -> str:
    there = ", ".join(_short(name) for name in names[:20]) or "none"
    keys = "`text:` or `label:`" if columns.pair is None else "`text:`, `text_pair:` or `label:`"
    named_by = columns.named_by or keys
    return f"{where}: no column `{column}`; the columns there are: {there}. Name the right one with {named_by}"


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
