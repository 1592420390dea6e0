"""Documents and space files name files, verbs, options, keys and arms that exist; each key and arm is documented."""

from __future__ import annotations

import dataclasses
import importlib
import re
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

import numpy as np
import pytest
import typer
import yaml
from small_encoders import save, wordpiece_tokenizer
from transformers import ErnieConfig, ErnieForMaskedLM

from l3masking import load_encoder, methods
from l3masking.data.corpus import CorpusSpec
from l3masking.data.spec import DataSpec, EvaluationSpec
from l3masking.data.table import DATASETS
from l3masking.encoders import families
from l3masking.encoders.families import FAMILIES
from l3masking.encoders.table import ENCODERS, EncoderSpec
from l3masking.masking.policies.base import calibrated
from l3masking.masking.policies.table import POLICIES
from l3masking.masking.settings import MaskingConfig
from l3masking.methods import METHODS
from l3masking.precision import Precision
from l3masking.rng import stream
from l3masking.testing import check_policy, sample_texts
from l3masking.training.presets import PRESETS
from study.cli.app import app
from study.exit_codes import EXIT_CODES
from study.space.arms import ArmSpec, PolicyFile
from study.space.compare_section import CompareConfig
from study.space.reader import make_space
from study.space.report_section import ReportConfig
from study.space.search_section import SearchConfig
from study.space.spec import SECTIONS, Pair, Resources, StudySpec

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "tests" / "benchmarks" / "RESULTS.md",
    *sorted((ROOT / "search_spaces").glob("*.yaml")),
]
LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
FILE = re.compile(r"(?<![\w./-])((?:l3masking|study|tests|search_spaces|docs)/[\w./-]*\w)")
VERB = re.compile(r"(?:\bl3study|-m study) ([a-z][a-z-]*)((?: [^`\n#|]*)?)")
OPTION = re.compile(r"(?<!\w)--[a-z][a-z-]+")
SETTINGS = {
    **SECTIONS,
    "resources": Resources,
    "search": SearchConfig,
    "compare": CompareConfig,
    "report": ReportConfig,
}
KEY = re.compile(rf"(?<![\w./])({'|'.join(SETTINGS)})\.(?!(?:jsonl|csv|json|png|yaml|py|html)\b)(\w+)")


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


def test_every_key_has_a_row_with_its_default() -> None:
    text = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([\w.]+)` \| ([^|]*) \|", text, re.MULTILINE)
    wanted = [
        (f"{section}.{item.name}", default_of(item))
        for section, cls in SETTINGS.items()
        for item in dataclasses.fields(cls)
    ]
    for cls in (DataSpec, EvaluationSpec, EncoderSpec, CorpusSpec, ArmSpec, PolicyFile, Pair):
        wanted += [(item.name, default_of(item)) for item in dataclasses.fields(cls)]
    assert [row for row in wanted if row not in rows] == []
    top = {item.name for item in dataclasses.fields(StudySpec)} - SETTINGS.keys()
    assert {name for name, _ in rows} == {name for name, _ in wanted} | top, "a row for each key"


def test_the_rows_of_what_is_compared_have_its_defaults() -> None:
    text = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8")
    table = text[text.index("## What is compared") : text.index("## Settings that may change a result")]
    encoders, datasets = {"a": {"path": "a"}, "b": {"path": "b"}}, {"c": {"train": "c.csv"}, "d": {"train": "d.csv"}}
    spec = make_space({"encoders": encoders, "datasets": datasets}, source="of-the-file.yaml", folder=ROOT)
    assert (spec.name, spec.description, spec.variants) == ("of-the-file", "", {})
    assert [(pair.encoder, pair.dataset) for pair in spec.pairs] == [(e, d) for e in "ab" for d in "cd"]
    assert spec.seeds == tuple(range(len(spec.seeds)))
    known_by_name = make_space({"pairs": [{"encoder": "scibert", "dataset": "imdb"}]}, source="x.yaml", folder=ROOT)
    assert (*known_by_name.encoders, *known_by_name.datasets) == ("scibert", "imdb")
    assert dict(re.findall(r"^\| `(\w+)` \| ([^|]*) \|", table, re.MULTILINE)) == {
        "name": "the file's name",
        "description": "empty",
        "encoders": "none",
        "datasets": "none",
        "pairs": "all",
        "methods": ", ".join(spec.methods),
        "objectives": ", ".join(spec.objectives),
        "seeds": str(len(spec.seeds)),
        "preset": spec.preset,
        "precision": spec.precision,
        "arms": "none",
        "policies": "none",
        "corpora": "none",
        "variants": "none",
    }
    for known in (ENCODERS, DATASETS, PRESETS, get_args(Precision)):
        assert [name for name in known if f"`{name}`" not in table] == []


def test_a_row_names_every_choice() -> None:
    rows = (ROOT / "docs" / "spaces.md").read_text(encoding="utf-8").splitlines()
    classes: dict[str, type] = {**{f"{section}.": cls for section, cls in SETTINGS.items()}, "": DataSpec}
    missing, found = [], 0
    for prefix, cls in classes.items():
        for name, hint in get_type_hints(cls).items():
            if get_origin(hint) is Literal:
                (row,) = (line for line in rows if line.startswith(f"| `{prefix}{name}` |"))
                missing += [f"{prefix}{name}: {choice}" for choice in get_args(hint) if f"`{choice}`" not in row]
                found += 1
    assert missing == []
    assert found > 10


def examples(language: str) -> list[str]:
    """The code blocks of docs/extending.md."""
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


@pytest.fixture
def added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """The entries that docs/extending.md adds to tables, by name, in their order."""
    module, *others = examples("python")
    entries = [block for block in others if block.startswith('"')]  # the rest is about policies in files of their own
    (tmp_path / "likely.py").write_text(module, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    names = {**vars(families), **vars(methods), **vars(importlib.import_module("likely")), "DataSpec": DataSpec}
    found: dict[str, list[Any]] = {}
    for entry in entries:
        for name, made in eval(f"{{{entry}}}", names).items():
            found.setdefault(name, []).append(made)
    return found


def test_the_policy_and_the_arm_that_extending_adds(
    added: dict[str, list[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    policy, arm = added["likely"]
    assert check_policy(policy) == []
    text = sample_texts(policy.needs)["an ordinary text"]
    values = calibrated(policy.weights(text, MaskingConfig(), stream(1, "policy")), MaskingConfig(mean=0.3))
    assert values.mean() == pytest.approx(0.3, abs=1e-12)
    assert (np.diff(values[np.argsort(text.likelihood)]) > 0).all(), "the likelier, the more often"
    monkeypatch.setitem(POLICIES, "likely", policy)
    monkeypatch.setitem(METHODS, "likely", arm)
    assert arm.needs_scores
    assert set(arm.controls) <= METHODS.keys()


def test_the_datasets_that_extending_adds(added: dict[str, list[Any]]) -> None:
    (data,) = added["reviews"]
    assert data.hub == "owner/reviews"
    (given,) = map(yaml.safe_load, examples("yaml"))
    spec = make_space({"encoders": {"a": {"path": "a"}}, **given}, source="x.yaml", folder=ROOT)
    assert spec.datasets["reviews"].validation_share == 0.1


def test_the_family_that_extending_adds(
    added: dict[str, list[Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokenizer = wordpiece_tokenizer(tmp_path / "ernie")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
    config = ErnieConfig(vocab_size=len(tokenizer), max_position_embeddings=48, **sizes)
    folder = save(tmp_path / "ernie", tokenizer, ErnieForMaskedLM, config)
    assert load_encoder(str(folder)).scoring_pass == "own"
    monkeypatch.setitem(FAMILIES, "ernie", added["ernie"][0])
    loaded = load_encoder(str(folder))  # which compares its scores with the model's own
    assert (loaded.max_positions, loaded.scoring_pass) == (48, "fast")


def test_the_exit_codes_are_named() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    line = " ".join(text[text.index("Exit codes:") :].split("\n\n")[0].split())
    assert [int(code) for code in re.findall(r"(?<![\w.])(\d+) [a-z]", line)] == sorted(EXIT_CODES)


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 140
