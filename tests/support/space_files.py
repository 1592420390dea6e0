"""Space files for tests."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from l3masking.errors import InputError
from study.space.reader import read_space

GOOD = """
name: small
encoders: {mine: {path: enc}}
datasets:
  local: {train: a.jsonl, test: /data/c.csv, mlm: units.txt}
  hub: {hub: owner/name, train: train, test: test}
"""


def write(tmp_path: Path, text: str, name: str = "space.yaml") -> Path:
    path = tmp_path / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def refusal(tmp_path: Path, text: str, sets: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(InputError) as error:
        read_space(write(tmp_path, text), sets)
    return str(error.value).splitlines()
