"""What config.json says of an exported classifier: written, read back, and refused in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from l3masking.errors import InputError
from l3masking.reading import Reading, described, member_folders

READING = Reading(max_length=16, whitespace="keep", pairs=True, padded=True, precision="bf16", separator=3)
CONFIG: dict[str, Any] = {"model_type": "bert", "id2label": {"1": "b", "0": "=a"}, "l3masking": READING.as_config()}


def write(folder: Path, config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def test_what_is_written_is_read(tmp_path: Path) -> None:
    found = described(write(tmp_path, CONFIG))
    assert (found.labels, found.model_type, found.reading) == (("=a", "b"), "bert", READING)


WRONG: dict[str, tuple[object, str]] = {
    "a list": ([], "it has no `l3masking`"),
    "another model": ({"model_type": "bert"}, "it has no `l3masking`"),
    "a later format": ({**CONFIG, "l3masking": {**READING.as_config(), "format": 2}}, "format 2, this program reads 1"),
    "a field too many": ({**CONFIG, "l3masking": {**READING.as_config(), "x": 1}}, "unexpected keyword argument 'x'"),
    "too short": ({**CONFIG, "l3masking": {"format": 1, "max_length": 2}}, "max_length is 2: at least 3"),
    "no length": ({**CONFIG, "l3masking": {"format": 1, "max_length": None}}, "max_length is None: at least 3"),
    "a text as length": (
        {**CONFIG, "l3masking": {"format": 1, "max_length": "9"}},
        "max_length is '9': a whole number",
    ),
    "odd white space": (
        {**CONFIG, "l3masking": {"format": 1, "max_length": 9, "whitespace": "x"}},
        "whitespace is 'x': not a known value",
    ),
    "one class": ({**CONFIG, "id2label": {"0": "a"}}, "id2label does not number two classes"),
    "classes from one on": ({**CONFIG, "id2label": {"1": "a", "2": "b"}}, "id2label does not number two classes"),
    "no classes": ({**CONFIG, "id2label": None}, "id2label does not number two classes"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_export_is_refused(case: str, tmp_path: Path) -> None:
    config, words = WRONG[case]
    with pytest.raises(InputError, match=re.escape(words)) as caught:
        described(write(tmp_path, config))
    assert str(caught.value).startswith(f"exported model: cannot use {tmp_path / 'config.json'}")


def test_the_seeds_of_a_folder_come_by_number(tmp_path: Path) -> None:
    for name in ("seed-10", "seed-9", "other", ".seed-1"):
        write(tmp_path / name, CONFIG)
    (tmp_path / "seed-2").write_text("a file")
    assert [folder.name for folder in member_folders(tmp_path)] == ["seed-9", "seed-10"]
    write(tmp_path, CONFIG)
    assert member_folders(tmp_path) == [tmp_path]
