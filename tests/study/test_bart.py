"""A study of a BART: its arms run to their records, and others are refused before anything is trained."""

from __future__ import annotations

from pathlib import Path

import pytest
from small_bart import save_bart
from small_study import NoMirror, command, records, write_study

import study.run


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())


def test_its_arms_run(tmp_path: Path) -> None:
    save_bart(tmp_path / "bart")
    arms = ["stl", "mask_tuning", "mask_tuning_two_rounds"]
    space = write_study(tmp_path, encoders={"tiny": {"path": "bart"}}, methods=arms, seeds=1, objectives=["accuracy"])
    result = command("run", space, "--out", tmp_path / "out")
    assert result.code == 0, result.err
    assert sorted(record["method"] for record in records(tmp_path / "out").values()) == sorted(arms)


def test_an_arm_without_a_meaning_for_it_is_refused(tmp_path: Path) -> None:
    save_bart(tmp_path / "bart")
    space = write_study(tmp_path, encoders={"tiny": {"path": "bart"}}, methods=["stl", "mask_tuning_l3"])
    result = command("run", space, "--out", tmp_path / "out")
    assert result.code == 2
    assert result.err.strip().splitlines()[-1].endswith("take the arm out, or another encoder")
    assert "arm Mask-tuning L3: encoder tiny is a bart model" in result.err
    assert not (tmp_path / "out" / "records").exists()
