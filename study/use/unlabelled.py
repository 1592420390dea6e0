"""The texts of a file that is to be predicted: one a line, JSON lines, JSON, CSV, TSV or Parquet."""

from __future__ import annotations

import json
from pathlib import Path

from l3masking.data.content import decode, unpack
from l3masking.data.files import FILE_FORMATS, format_of
from l3masking.data.pairs import Text
from l3masking.data.rows import Columns, read_texts
from l3masking.errors import InputError


def texts_of_file(file: Path, text_column: str, pair_column: str | None) -> list[Text]:
    """The texts, in order. A name that ends in no known format (also .gz) means one text a line.

    A blank line is a blank text, but for the end of the file. Raises InputError for a file without texts, and for one
    without such a column.
    """
    if pair_column == text_column:
        raise InputError(f"--pair-column {pair_column}: that is the column of the first texts, too; name another one")
    place = str(file)
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {place} ({error.strerror}): give a file with the texts") from error
    content = unpack(raw, place, place)
    suffix = format_of(place)
    if suffix in FILE_FORMATS:
        named_by = "--text-column" if pair_column is None else "--text-column and --pair-column"
        return read_texts(content, place, suffix, Columns(text_column, None, pair_column, named_by))
    option = "--pair-column" if pair_column is not None else "--text-column" if text_column != "text" else None
    if option is not None:
        known = ", ".join(FILE_FORMATS)
        raise InputError(f"{place}: a plain text has no columns for {option}; give a file that ends in {known}")
    lines: list[Text] = [line.removesuffix("\r") for line in decode(content, place).split("\n")]
    if lines[-1] == "":
        lines.pop()
    if not lines:
        raise InputError(f"{place} is empty: one text a line is needed")
    first = next((line for line in lines if isinstance(line, str) and line.strip()), "")
    if _is_object(str(first)):
        raise InputError(f"{place} line 1 is a JSON object: let the name of the file end in .jsonl")
    return lines


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False
