"""Labels and texts that attack what they are written into, in every file and line that a study gives (S10, S11)."""

from __future__ import annotations

import csv
import html.parser
import io
import json
import re
import shutil
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest
import yaml
from hostile_names import PAYLOADS
from small_study import NoMirror, Said, command, write_study

from study.plan.grid import make_plan
from study.plan.resolved import planned
from study.store.store import Store

EVERYTHING = " ".join(PAYLOADS)
IDENTITY = ("key", "encoder", "dataset", "method", "variant", "mask_mean", "objective", "seed")
SPREADSHEET = ("=", "+", "-", "@", "\t", "\r")


def write_labels(folder: Path) -> None:
    """Each payload as a class, and all of them in a text."""
    for part in ("train", "validation", "test"):
        path = folder / f"{part}.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            row["label"] = PAYLOADS[number % len(PAYLOADS)].strip()
            row["text"] += f" {PAYLOADS[number % len(PAYLOADS)]}"
        path.write_text("\n".join(map(json.dumps, rows)))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a study in which all that may be a free text attacks."""
    folder = tmp_path_factory.mktemp("hostile")
    space = write_study(
        folder,
        description=EVERYTHING,
        arms={"mine": {"like": "rtm", "summary": EVERYTHING}},
        methods=["stl", "mine"],
        seeds=2,
        train={"batch": 8, "accumulate": 1, "max_epochs": 1},
        resources={"executor": "serial", "save_models": True},
    )
    write_labels(folder)
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", space, "--out", folder / "out")
    assert said.code == 0, said.err
    return folder


class Tags(html.parser.HTMLParser):
    """The tags of a page, and its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}


def hidden(text: str) -> set[str]:
    """Controls and marks that turn the direction of a text; a line break is neither."""
    return {mark for mark in set(text) - {"\n"} if unicodedata.category(mark) in ("Cc", "Cf")}


def check_csv(text: str, plain: str) -> None:
    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert {len(row) for row in rows} == {len(rows[0])}
    for entry in (entry for row in rows for entry in row if entry.startswith(SPREADSHEET)):
        float(entry)


def check_tex(text: str, plain: str) -> None:
    commands = r"\\(?:[a-zA-Z]+|[^a-zA-Z])"
    escapes = {rf"\{mark}" for mark in "&%$#_{}"} | {rf"\text{name}" for name in ("less", "greater", "bar")}
    escapes |= {r"\textbackslash", r"\textasciitilde", r"\textasciicircum"}
    assert set(re.findall(commands, text)) <= set(re.findall(commands, plain)) | escapes
    bare = re.sub(commands, "", text)
    assert bare.count("{") == bare.count("}")
    assert not hidden(text)
    assert set("#~^_") & set(bare) <= set(re.sub(commands, "", plain))


def check_md(text: str, plain: str) -> None:
    escaped = re.sub(r"\\[\\`*_\[\]|~]", "", text)
    assert "<script" not in text
    assert "](javascript" not in escaped
    assert not hidden(text)
    for block in escaped.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def check_html(text: str, plain: str) -> None:
    found, known = Tags(text), Tags(plain)
    assert found.tags - known.tags <= {"details", "summary", "ul", "li", "figure", "img", "figcaption"}
    assert not [name for name, _ in found.attributes if name.startswith("on")]
    links = [value for name, value in found.attributes if name in ("src", "href")]
    assert not [link for link in links if not re.match("#|data:image/", link)]
    assert text.count("<script") == plain.count("<script")
    assert not hidden(text)


def check_svg(text: str, plain: str) -> None:
    for node in ET.fromstring(text).iter():
        assert node.tag.rpartition("}")[2] not in ("script", "foreignObject", "a", "image")
        assert not [name for name in node.attrib if name.startswith("on")]


def check_json(text: str, plain: str) -> None:
    json.loads(text)
    assert not {mark for mark in hidden(text) if unicodedata.category(mark) == "Cc"}


CHECKS: dict[str, Callable[[str, str], None]] = {
    ".csv": check_csv,
    ".tex": check_tex,
    ".md": check_md,
    ".html": check_html,
    ".svg": check_svg,
    ".json": check_json,
}
PICTURES = {".png"}


def plain_of(path: Path, study: Path) -> str:
    """All files of this kind that an ordinary study gives."""
    found = [*study.glob(f"out/tables/*{path.suffix}"), *study.glob(f"out/*{path.suffix}")]
    return "\n".join(file.read_text(encoding="utf-8") for file in found)


def test_every_file_that_an_export_writes(hostile: Path, finished_study: Path) -> None:
    said = command("export", hostile / "out", "--x", "updates")
    assert said.code == 0, said.err
    made = {path for place in ("tables", "figures") for path in (hostile / "out" / place).iterdir()}
    made.add(hostile / "out" / "report.html")
    told = {Path(line).name for line in said.out.splitlines()} | {"drawn.json"}  # of what a picture was drawn
    assert {path.name for path in made} == told
    for path in sorted(made):
        assert path.suffix in CHECKS.keys() | PICTURES, f"{path.name}: no check for such a file"
        if path.suffix in CHECKS:
            CHECKS[path.suffix](path.read_text(encoding="utf-8"), plain_of(path, finished_study))
    assert {path.suffix for path in made} == CHECKS.keys() | PICTURES


def keys(folder: Path) -> list[str]:
    return [trial.trajectory for trial in make_plan(*planned(folder / "out"))]


VERBS: dict[str, Callable[[Path], tuple[object, ...]]] = {
    "plan": lambda folder: ("plan", folder / "small.yaml", "--out", folder / "out"),
    "data": lambda folder: ("data", folder / "small.yaml"),
    "status": lambda folder: ("status", folder / "out"),
    "explain": lambda folder: ("explain", folder / "out", keys(folder)[-1]),
    "compare": lambda folder: ("compare", folder / "out"),
    "verify": lambda folder: ("verify", folder / "out"),
    "power": lambda folder: ("power", folder / "out", "--difference", "0.1"),
    "run": lambda folder: ("run", folder / "small.yaml", "--out", folder / "out"),
    "inspect": lambda folder: ("inspect", "--encoder", folder / "encoder", "--text", EVERYTHING),
    "doctor": lambda folder: ("doctor", folder / "small.yaml"),
}


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_prints(verb: str, hostile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    said: Said = command(*VERBS[verb](hostile))
    assert said.code == 0, said.err
    assert not hidden(said.out)
    assert not hidden(said.err)


def test_a_failure_is_shown_as_text(hostile: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(hostile, folder)
    trial = make_plan(*planned(folder / "out"))[-1]
    for key in trial.keys.values():
        path = folder / "out" / "records" / f"{key}.json"
        identity = {name: value for name, value in json.loads(path.read_text()).items() if name in IDENTITY}
        path.unlink()
        Store(folder / "out").fail(identity | {"reason": EVERYTHING, "traceback": EVERYTHING, "attempts": 2})
    for words in (("status", folder / "out"), ("explain", folder / "out", trial.trajectory)):
        said = command(*words)
        assert "alert" in said.out
        assert not hidden(said.out)
    assert command("export", folder / "out").code == 0
    text = (folder / "out" / "report.html").read_text()
    assert "alert" in text
    check_html(text, (hostile / "out" / "report.html").read_text())


def test_an_exported_model_and_its_predictions(hostile: Path, tmp_path: Path) -> None:
    made = tmp_path / "model"
    assert command("export-model", hostile / "out", "tiny/words/mine", "--out", made).code == 0
    card = (made / "README.md").read_text(encoding="utf-8")
    assert not hidden(card)
    front = yaml.safe_load(card.split("---\n")[1])
    assert "<script" not in card.replace(yaml.safe_dump(front), "")
    said = command("predict", made, hostile / "test.jsonl", "--out", tmp_path / "labels.csv")
    assert said.code == 0, said.err
    check_csv((tmp_path / "labels.csv").read_text(encoding="utf-8"), "")
