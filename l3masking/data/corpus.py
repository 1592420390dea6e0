"""Text for masked-LM training: any number of files or a Hub dataset, read line by line and never held whole."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, ClassVar, NamedTuple, cast

from l3masking.data.characters import is_blank
from l3masking.data.files import absolute, format_of, is_packed, matching
from l3masking.data.sources import hub_commit, hub_failures
from l3masking.errors import InputError

CORPUS_FORMATS = (".txt", ".jsonl", ".csv", ".tsv", ".parquet")  # each may be compressed: .txt.gz
MOST_LINE_BYTES = 2**27  # bytes of one line, unpacked
ROWS = 1024  # of a Parquet file in memory at a time


@dataclass(frozen=True, kw_only=True)
class CorpusSpec:
    """Texts of a domain, without labels. A unit is a line of a text file, or the text of a row."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    files: str | tuple[str, ...] | None = None  # a file, a pattern, or a list of them
    hub: str | None = None  # Hub dataset id, owner/name
    revision: str | None = None  # of the Hub id: branch, tag or commit; none: the newest, resolved to a commit
    subset: str | None = None  # configuration of the Hub dataset, where it has several
    split: str = "train"  # of the Hub dataset
    text: str = "text"  # column of the texts, in files of rows
    most: int | None = None  # units that are read, the first ones, >= 1; none: all

    def __post_init__(self) -> None:
        if (self.files is None) == (self.hub is None):
            raise InputError("a corpus names either `files` or a `hub` id")
        if self.files is not None and not self.sources:
            raise InputError("a corpus has an empty list of `files`: name at least one")
        if self.most is not None and self.most < 1:
            raise InputError(f"most is {self.most}: at least 1 unit")
        for source in self.sources:
            if format_of(source) not in CORPUS_FORMATS:
                known = ", ".join(CORPUS_FORMATS)
                raise InputError(f"{source}: the name must end in one of {known}, optionally with .gz behind it")

    @property
    def sources(self) -> tuple[str, ...]:
        """Files and patterns."""
        return () if self.files is None else (self.files,) if isinstance(self.files, str) else self.files


class CorpusFacts(NamedTuple):
    """What one look at all of a corpus tells."""

    content_hash: str  # 32 hex digits over all units in order
    units: int  # >= 1


def corpus_units(spec: CorpusSpec, *, folder: Path | None = None) -> Iterator[str]:
    """The units of a corpus in order, blank ones left out, without outer white space.

    `folder` is where relative paths start (none: the working directory). Raises InputError, with file and line, for
    what is no text, and EnvironmentFault where the Hub cannot be reached.
    """
    units = _hub_units(spec) if spec.hub is not None else _file_units(spec, folder or Path())
    return islice((unit.strip() for unit in units if not is_blank(unit)), spec.most)


def look_at(spec: CorpusSpec, name: str, *, folder: Path | None = None) -> CorpusFacts:
    """Hash and count a corpus in one pass. Raises InputError where no text is left of it."""
    digest, units = hashlib.blake2b(digest_size=16), 0
    for unit in corpus_units(spec, folder=folder):
        encoded = unit.encode()
        digest.update(b"%d:" % len(encoded) + encoded)
        units += 1
    if not units:
        raise InputError(f"corpus {name}: every line is blank: give files with text")
    return CorpusFacts(digest.hexdigest(), units)


def _file_units(spec: CorpusSpec, folder: Path) -> Iterator[str]:
    for source in spec.sources:
        for path in matching(source, folder) or [Path(absolute(source, folder))]:
            try:
                yield from _units_of(path, spec.text)
            except (gzip.BadGzipFile, EOFError, zlib.error) as error:
                raise InputError(f"{path}: not a whole gzip file ({error}); compress or copy it again") from None
            except OSError as error:
                raise InputError(
                    f"cannot read {path} ({error.strerror}); relative paths start at the space file's folder"
                ) from None


def _units_of(path: Path, column: str) -> Iterator[str]:
    kind = format_of(path.name)
    with cast("IO[bytes]", gzip.open(path) if is_packed(path.name) else open(path, "rb")) as file:
        if kind == ".parquet":
            yield from _parquet(file, path, column)
        elif kind == ".jsonl":
            yield from _json_lines(file, path, column)
        elif kind in (".csv", ".tsv"):
            yield from _table(file, path, column, "," if kind == ".csv" else "\t")
        else:
            yield from (line for _, line in _lines(file, path))


def _lines(file: IO[bytes], path: Path) -> Iterator[tuple[int, str]]:
    """Numbered lines, decoded one by one."""
    for number, line in enumerate(iter(lambda: file.readline(MOST_LINE_BYTES + 1), b""), 1):
        if len(line) > MOST_LINE_BYTES:
            raise InputError(f"{path} line {number}: more than {MOST_LINE_BYTES} bytes; write one text per line")
        if b"\0" in line:
            raise InputError(f"{path} line {number}: a NUL byte; save the file as UTF-8 text")
        try:
            yield number, line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            byte = line[error.start]
            raise InputError(f"{path} line {number}: byte 0x{byte:02x} is not UTF-8; save the file as UTF-8") from None


def _json_lines(file: IO[bytes], path: Path, column: str) -> Iterator[str]:
    for number, line in _lines(file, path):
        if line.strip():
            try:
                row = json.loads(line)
            except ValueError as error:
                raise InputError(f"{path} line {number}: no JSON object ({error})") from None
            yield _text(row, column, f"{path} line {number}")


def _table(file: IO[bytes], path: Path, column: str, separator: str) -> Iterator[str]:
    lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    try:
        rows = csv.DictReader(lines, delimiter=separator, strict=True)
        for row in rows:
            yield _text(row, column, f"{path} line {rows.line_num}")
    except UnicodeDecodeError:
        raise InputError(f"{path}: not UTF-8; save the file as UTF-8") from None
    except csv.Error as error:
        raise InputError(f"{path} line {rows.line_num}: {error}; quote the cell, or save the table again") from None


def _parquet(file: IO[bytes], path: Path, column: str) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file)
        if column not in table.schema_arrow.names:
            _text(dict.fromkeys(table.schema_arrow.names), column, str(path))
        number = 0
        for batch in table.iter_batches(batch_size=ROWS, columns=[column]):
            for value in batch.column(0).to_pylist():
                number += 1
                yield _text({column: value}, column, f"{path} row {number}")
    except pa.ArrowException as error:
        raise InputError(f"{path} is no whole Parquet file ({str(error).splitlines()[0]}); copy it again") from None


def _text(row: Any, column: str, place: str) -> str:
    """The text of one row."""
    if not isinstance(row, dict):
        raise InputError(f"{place}: {type(row).__name__} instead of an object with the key {column!r}")
    if column not in row:
        raise InputError(f"{place}: no column {column!r}; there are {', '.join(map(str, row))}; name it as `text`")
    value = row[column]
    if not isinstance(value, str):
        raise InputError(f"{place}: {column} is {value!r:.60}, of type {type(value).__name__}: expected a string")
    return value


def _hub_units(spec: CorpusSpec) -> Iterator[str]:
    assert spec.hub is not None
    import datasets

    commit = hub_commit(spec.hub, spec.revision)
    with hub_failures(f"{spec.hub}, split {spec.split}"):
        place = f"hf://datasets/{spec.hub}"
        rows = datasets.load_dataset(place, spec.subset, split=spec.split, revision=commit, streaming=True)
        for number, row in enumerate(rows, 1):
            yield _text(row, spec.text, f"Hub dataset {spec.hub} row {number}")
