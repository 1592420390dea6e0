"""docs/reliability.md: each promise, fault and figure is there once, and every test that it names exists."""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reliability.md"
TEST = re.compile(r"(tests/[\w/]+\.py)(?:::(\w+))?")
ROW = re.compile(r"^\| ([A-Z]-?\w+) \|.*\|$", re.MULTILINE)
WANTED = {
    "Promises": [f"P{number}" for number in range(1, 9)],
    "Faults": [f"F{number}" for number in range(1, 25)],
    "Figures": [*(f"R{number}" for number in range(1, 18)), *(f"S-{letter}" for letter in "abcde")],
}


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return text[text.index(f"\n## {heading}\n") :].split("\n## ")[1]


@lru_cache
def functions(file: str) -> frozenset[str]:
    """The tests of a file; none where there is no such file."""
    path = ROOT / file
    tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def missing_tests(text: str) -> list[str]:
    """What is named as a test and is none; benchmarks are named by their file alone."""
    found = TEST.findall(text)
    return [
        f"{file}::{name}"
        for file, name in found
        if (name or not (ROOT / file).is_file()) and name not in functions(file)
    ]


def rows_without_test(text: str) -> list[str]:
    return [row[1] for row in ROW.finditer(text) if not TEST.search(row[0])]


def test_every_test_that_the_page_names_exists() -> None:
    assert missing_tests(page()) == []


@pytest.mark.parametrize("heading", WANTED)
def test_no_number_is_missing_and_each_names_a_test(heading: str) -> None:
    text = section(page(), heading)
    assert [row[1] for row in ROW.finditer(text)] == WANTED[heading]
    assert rows_without_test(text) == []


def test_the_checks_can_fail() -> None:
    text = "| F1 | a | `tests/test_docs.py::test_gone` |\n| F2 | b | `tests/gone.py::test_x` |\n| F3 | c | none |\n"
    assert missing_tests(text) == ["tests/test_docs.py::test_gone", "tests/gone.py::test_x"]
    assert rows_without_test(text) == ["F3"]


def test_the_readme_states_the_promises_and_links_the_page() -> None:
    assert "](docs/reliability.md)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_nothing_is_left_open_on_the_page() -> None:
    assert "TODO" not in page()
