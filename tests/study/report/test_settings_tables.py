"""The table of settings: a row each, what differs from the preset, presets beside it, variants, three formats."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
from pathlib import Path

import pytest
from hostile_names import PAYLOADS
from plans import space

from l3masking.methods import METHODS
from study.report.settings_tables import (
    export_settings,
    preset_settings,
    settings_csv,
    settings_entries,
    settings_header,
    settings_latex,
    settings_markdown,
    settings_rows,
)
from study.space.reader import read_space
from study.space.spec import SECTIONS, StudySpec

SPACES = Path(__file__).parents[3] / "search_spaces"


def of(spec: StudySpec) -> dict:
    return {row.key: row for row in settings_rows(spec)}


def test_a_row_for_each_setting_and_nothing_differs_in_a_plain_study() -> None:
    rows = of(space())
    wanted = [f"{name}.{item.name}" for name, cls in SECTIONS.items() for item in dataclasses.fields(cls)]
    assert list(rows) == [*wanted, "precision"]
    assert not any(row.differs for row in rows.values())
    assert rows["masking.mean"].study == "0.15"
    assert rows["optim.betas"].study == "[0.9, 0.98]"
    assert rows["adapt.corpus"].study == "none"
    assert rows["optim.lr"].presets == ("0.0001", "0.0001", "0.0001")
    assert rows["optim.head_lr"].presets == ("0.001", "0.0001", "0.001")
    assert rows["final.enabled"].presets == ("true", "false", "true")
    assert rows["masking.weighting"].presets == ("complement", "complement", "surprisal")
    assert rows["meta.dev_mode"].presets == ("eval", "eval", "train")


def test_what_differs_from_the_preset_is_told() -> None:
    rows = of(space(preset="paper", optim={"lr": 1e-5}, precision="bf16", variants={"v": {"masking.mean": 0.3}}))
    assert {key for key, row in rows.items() if row.differs} == {"optim.lr", "precision"}
    assert (rows["optim.lr"].study, rows["optim.lr"].preset) == ("1e-05", "0.0001")
    assert rows["train.accumulate"].study == rows["train.accumulate"].preset == "1"
    assert rows["masking.mean"].variants == ("0.3",)
    assert rows["masking.floor"].variants == (None,)


def test_who_reads_a_setting() -> None:
    rows = of(space(methods=["stl", "rtm", "l3masking", "mask_tuning"]))
    assert rows["optim.lr"].read_by == ("stl", "rtm", "l3masking", "mask_tuning")
    assert rows["scoring.metric"].read_by == ("l3masking",)
    assert rows["scoring.normalise"].read_by == ("rtm", "l3masking")
    assert rows["adapt.lr"].read_by == ()
    assert rows["precision"].read_by == ("stl", "rtm", "l3masking", "mask_tuning")


@pytest.mark.parametrize("name", ["default", "paper", "reference", "mask_tuning", "mask_tuning_pairs"])
def test_a_preset_has_the_settings_of_a_study_that_names_it(name: str) -> None:
    assert preset_settings(name) == space(preset=name).settings()


def test_the_formats_hold_the_same_values(tmp_path: Path) -> None:
    name = PAYLOADS[0]
    spec = dataclasses.replace(
        space(optim={"lr": 1e-5}), variants={"v": {"masking.mean": 0.3}, name: {"masking.weighting": "surprisal"}}
    )
    rows = settings_rows(spec)
    text = settings_markdown(spec, rows)
    assert "| optim.lr | **1e-05** | 0.0001 | 0.0001 | 0.0001 | 0.0001 |  |  |" in text
    assert "| masking.mean | 0.15 | 0.15 | 0.15 | 0.15 | 0.15 | 0.3 |  |" in text
    assert r"| masking.mask\_share |" in text
    table = list(csv.DictReader(io.StringIO(settings_csv(spec, rows))))
    by_key = {line["setting"]: line for line in table}
    assert len(by_key) == len(rows)
    assert by_key["optim.lr"]["differs"] == "true"
    assert (by_key["masking.mean"]["variant:v"], by_key["masking.floor"]["variant:v"]) == ("0.3", "")
    assert by_key["optim.betas"]["reference"] == "[0.9, 0.98]"
    latex = settings_latex(spec, rows)
    assert r"optim.lr & \textbf{1e-05} & 0.0001" in latex
    assert r"masking.mask\_share" in latex
    assert latex.count(r" \\") == len(rows) + 2
    assert all(len(settings_entries(row)) == len(settings_header(spec)) for row in rows)
    files = export_settings(tmp_path, spec, ("md", "json", "tex"))
    assert [str(file.relative_to(tmp_path)) for file in files] == ["tables/settings.md", "tables/settings.tex"]
    assert files[0].read_text() == text
    assert [file.read_bytes() for file in export_settings(tmp_path, spec, ("md", "tex"))] == [
        file.read_bytes() for file in files
    ]


def test_the_ablations_change_one_choice_at_a_time() -> None:
    """Rows of the shipped space; an arm that is not in METHODS yet is left out."""
    text = (SPACES / "ablations.yaml").read_text()
    listed = text.split("methods: [")[1].split("]")[0].split(", ")
    known = [name for name in listed if name in METHODS]
    assert {"rtm", "l3masking", "mtl_static"} <= set(known)
    spec = read_space(SPACES / "ablations.yaml", [f"methods=[{', '.join(known)}]"])
    changed = {
        name: [row.key for row in settings_rows(spec) if row.variants[number] is not None]
        for number, name in enumerate(spec.variants)
    }
    assert changed == {
        "original": ["scoring.metric"],
        "whole_word": ["scoring.metric"],
        "surprisal": ["masking.weighting"],
        "lost": ["masking.redistribute"],
        "surprisal_lost": ["masking.weighting", "masking.redistribute"],
        "rewritten": ["scoring.normalise"],
    }


def test_the_page_names_every_column() -> None:
    page = (SPACES.parent / "docs" / "records.md").read_text()
    section = page.split("\n## Settings table\n")[1].split("\n## ")[0]
    named = [name for line in section.splitlines() if line.startswith("| `") for name in re.findall(r"`([^`]+)`", line)]
    spec = space(variants={"NAME": {"masking.mean": 0.3}})
    header = settings_csv(spec, settings_rows(spec)).split("\n")[0].split(",")
    assert [name for name in header if name not in named] == []
