"""README and docs name files, verbs, options, keys and arms that exist, and every key and arm is documented."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from l3masking.data.spec import DataSpec
from l3masking.encoders.table import EncoderSpec
from l3masking.masking.policies import POLICIES, read_policy
from l3masking.methods import METHODS
from l3masking.testing import check_policy
from study.cli.app import EXIT_CODES, app
from study.space.search_section import SearchConfig
from study.space.spec import SECTIONS, Resources, StudySpec

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"(?<![\w./-])((?:l3masking|study|tests|search_spaces|docs)/[\w./-]*\w)")
VERB = re.compile(r"(?:\bl3study|-m study) ([a-z][a-z-]*)((?: [^`\n#|]*)?)")
OPTION = re.compile(r"(?<!\w)--[a-z][a-z-]+")
SETTINGS = {**SECTIONS, "resources": Resources, "search": SearchConfig}
KEY = re.compile(rf"(?<![\w./])({'|'.join(SETTINGS)})\.(?!(?:jsonl|csv|json|png|yaml|py)\b)(\w+)")


def commands() -> dict[str, set[str]]:
    """Verb -> its options."""
    group: Any = typer.main.get_command(app)
    return {
        name: {option for parameter in verb.params for option in parameter.opts}
        for name, verb in group.commands.items()
    }


def missing_files(text: str, folder: Path) -> list[str]:
    gone = [link for link in LINK.findall(text) if not (folder / link).exists()]
    gone += [name for name in FILE.findall(text) if not (ROOT / name).exists()]
    return list(dict.fromkeys(gone))


def unknown_words(text: str) -> list[str]:
    known = commands()
    found = [verb for verb, _ in VERB.findall(text) if verb not in known]
    for verb, rest in VERB.findall(text):
        found += [f"{verb} {option}" for option in OPTION.findall(rest) if option not in known.get(verb, set())]
    return found


def unknown_keys(text: str) -> list[str]:
    names = {section: {item.name for item in dataclasses.fields(cls)} for section, cls in SETTINGS.items()}
    return [f"{section}.{name}" for section, name in KEY.findall(text) if name not in names[section]]


def default_of(item: dataclasses.Field[Any]) -> str:
    """A default as docs/spaces.md writes it."""
    value = item.default
    if value is dataclasses.MISSING:
        value = item.default_factory() if item.default_factory is not dataclasses.MISSING else "required"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else str(list(value) if isinstance(value, tuple) else value)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_exists(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert missing_files(text, page.parent) == []
    assert unknown_words(text) == []
    assert unknown_keys(text) == []


def test_the_checks_can_fail() -> None:
    assert missing_files("[a](docs/nothing.md) `study/nothing.py`", ROOT) == ["docs/nothing.md", "study/nothing.py"]
    assert missing_files("`python tests/benchmarks/gone.py --x`", ROOT) == ["tests/benchmarks/gone.py"]
    assert unknown_words("`l3study walk mine.yaml` and `l3study plan mine.yaml --fast`") == ["walk", "plan --fast"]
    assert unknown_words("python -m study walk") == ["walk"]
    assert unknown_keys("`masking.maen` and `train.batch` in `train.jsonl`") == ["masking.maen"]
    assert unknown_keys("--set masking.maen=1, {surprisal: {masking.wieghting: x}}") == [
        "masking.maen",
        "masking.wieghting",
    ]


@pytest.mark.parametrize("name", METHODS)
def test_every_arm_has_its_section(name: str) -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    method = METHODS[name]
    assert f"\n## `{name}`: {method.label}\n\n{method.summary}.\n" in text
    assert f"* Source: {method.source}." in text


def test_no_other_arm_is_documented() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    assert re.findall(r"\n## `(\w+)`", text) == list(METHODS)


def test_every_policy_has_its_row() -> None:
    text = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    section = text[text.index("\n## Policies\n") :].split("\n## ")[1]
    wanted = [
        (f"`{name}`", policy.summary, policy.source, ", ".join(sorted(policy.needs)) or "nothing")
        for name, policy in POLICIES.items()
    ]
    assert [
        tuple(row) for row in re.findall(r"^\| (`.+`) \| (.+) \| (.+) \| (.+) \|$", section, re.MULTILINE)
    ] == wanted


def test_the_policy_in_the_text_keeps_the_contract(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "class Policy" in code]
    (tmp_path / "mine.py").write_text(code, encoding="utf-8")
    assert check_policy(read_policy(tmp_path / "mine.py")) == []
    assert check_policy(read_policy(tmp_path / "mine.py", {"half": 3})) == []


def test_every_key_has_a_row_with_its_default() -> None:
    text = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", text, re.MULTILINE)
    wanted = [
        (f"{section}.{item.name}", default_of(item))
        for section, cls in SETTINGS.items()
        for item in dataclasses.fields(cls)
    ]
    for cls in (DataSpec, EncoderSpec):
        wanted += [(item.name, default_of(item)) for item in dataclasses.fields(cls)]
    assert [row for row in wanted if row not in rows] == []
    top = {item.name for item in dataclasses.fields(StudySpec)} - SETTINGS.keys()
    assert {name for name, _ in rows} == {name for name, _ in wanted} | top, "a row for each key"


def test_the_exit_codes_are_named() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = " ".join(text[text.index("Exit codes:") :].split("\n\n")[0].split())
    assert [int(code) for code in re.findall(r"(?<![\w.])(\d+) [a-z]", line)] == sorted(EXIT_CODES)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140
