"""Plain English: words that no document, space file, docstring, string or comment of this project uses."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = next(folder for folder in Path(__file__).resolve().parents if (folder / "pyproject.toml").is_file())
PLAIN = {  # what is not written (a regular expression; a blank matches a line break too) -> what is written instead
    r"mend(s|ed|ing)?": "fix",
    r"at hand": "available",
    r"foretells?|foretold|foretelling": "estimates",
    r"luggage": "job files",
    r"buried": "reaped, or deleted",
    r"doings": "verbs",
    r"of (its|their) own time": "for a run: 'Time estimates for a run'",
    r"none where": "returns None if ...",
    r"left a word": "'No run found in this folder.'",
    r"shows the sum of": "summed: 'Cell metrics that are summed on the study run.'",
    r"no more than once": "'Running it twice changes nothing.'",
    r"before it is told|is tried on the plan": "'the command is checked against the plan before it is printed'",
}
BLANK = r"[\s#]+"  # between two words: a line break too, and the sign of a comment behind it
WORDS = {re.compile(rf"\b(?:{BLANK.join(word.split())})\b", re.IGNORECASE): plain for word, plain in PLAIN.items()}


def texts_of(file: Path) -> Iterator[tuple[int, int, str]]:
    """The texts of a file with their first and last lines: of Python its strings and comments, else the whole."""
    text = file.read_text(encoding="utf-8")
    if file.suffix != ".py":
        yield 1, text.count("\n") + 1, text
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.end_lineno or node.lineno, node.value
    block: list[str] = []
    start = last = 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        if block and line != last + 1:
            yield start, last, "\n".join(block)
            block = []
        start, last = (start if block else line), line
        block.append(token.string)
    if block:
        yield start, last, "\n".join(block)


def found_in(file: Path) -> list[str]:
    """One line for each word that has a plainer one: where it is, the word, and what to write."""
    found = []
    for first, last, text in texts_of(file):
        for pattern, plain in WORDS.items():
            for match in pattern.finditer(text):
                place = min(last, first + text.count("\n", 0, match.start()))
                found.append(f"{place}: {' '.join(match.group().split())!r}; write {plain}")
    return sorted(found, key=lambda one: int(one.partition(":")[0]))


def files() -> list[Path]:
    """All files whose words a reader sees."""
    return [
        *(ROOT / name for name in ("README.md", "CHANGELOG.md")),
        *sorted((ROOT / "docs").rglob("*.md")),
        *sorted((ROOT / "search_spaces").glob("*.yaml")),
        *(file for package in ("l3masking", "study") for file in sorted((ROOT / package).rglob("*.py"))),
    ]


def test_every_text_is_plain_english() -> None:
    found = [f"{file.relative_to(ROOT).as_posix()}:{word}" for file in files() for word in found_in(file)]
    assert not found, "\n".join(["plainer words, please:", *found])


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.md", "The mend\nis at\nhand.", ["1: 'mend'; write fix", "2: 'at hand'; write available"]),
        ("a.yaml", "# what is at\n# hand\nname: x  # Luggage\n", ["1: 'at # hand'", "3: 'Luggage'"]),
        ("a.py", '"""Return\n\nNone where it ends."""\n', ["3: 'None where'"]),
        ("a.py", "x = f'{y} mended'\n", ["1: 'mended'"]),
        ("a.py", "x = 1  # what is at\n# hand\n\n\n# at\nhand = 2\n", ["1: 'at # hand'"]),
        ("a.py", "mend = luggage(doings)\n", []),
        ("a.md", "Amend the amendment; commended, tormented.", []),
    ],
)
def test_words_are_found_in_texts_and_not_in_names(name: str, text: str, expected: list[str], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = found_in(tmp_path / name)
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True))


def test_all_documents_and_modules_are_read() -> None:
    names = {file.relative_to(ROOT).as_posix() for file in files()}
    assert {
        "README.md",
        "CHANGELOG.md",
        "search_spaces/table2.yaml",
        "study/cli/app.py",
        "l3masking/training/loop.py",
    } <= names
