"""The comparison with Trainer runs, counts the same work on both sides, and refuses what is not the same."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import against_trainer
import pytest
from small_task import one_thread

from l3masking.errors import InputError

TINY = ["--layers", 1, "--hidden", 16, "--vocabulary", 90, "--num-texts", 60, "--batch", 4, "--lr", 1e-3]
TURNS = 3  # one of warm-up and two that count


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """What the benchmark says of two pairs on a made-up encoder, and `said`, its text."""
    pytest.importorskip("accelerate")
    words = [*TINY, "--updates", 2, "--pairs", 2, "--json", tmp_path / "found.json"]
    monkeypatch.setattr(sys, "argv", ["against_trainer.py", *map(str, words)])
    with one_thread():
        against_trainer.main()
    return json.loads((tmp_path / "found.json").read_text()) | {"said": capsys.readouterr().out}


def test_both_sides_train_on_as_many_texts_in_turns(found: dict[str, Any]) -> None:
    for name in ("ours", "trainer"):
        assert len(found["seconds"][name]) == 2
        assert len(found["losses"][name]) == TURNS
        assert 1 < found["losses"][name][0] < 3, "a mean over texts: six classes"
        read = found["read"][name]
        assert read["texts"] == [2 * 8] * TURNS
        assert all(2 * 8 * 9 <= few <= many for few, many in zip(read["tokens"], read["positions"], strict=True))
    ratios = [a / b for a, b in zip(found["seconds"]["ours"], found["seconds"]["trainer"], strict=True)]
    assert found["ratios"] == pytest.approx(ratios)
    assert found["median"] == pytest.approx(sum(ratios) / 2)
    longer = [found["read"]["trainer"]["tokens"][turn] / found["read"]["ours"]["tokens"][turn] for turn in (1, 2)]
    assert found["median_per_token"] == pytest.approx(sum(a * b for a, b in zip(ratios, longer, strict=True)) / 2)
    assert found["clock"] == "processor"
    assert f"STL update / Trainer's update: {found['median']:.3f} " in found["said"]


def test_what_is_not_the_same_is_refused() -> None:
    same = {
        "batch": 4,
        "accumulate": 2,
        "updates": 2,
        "read": {"ours": {"texts": [16, 16]}, "trainer": {"texts": [16, 16]}},
        "losses": {"ours": [1.5, 1.2], "trainer": [1.5, 1.4]},
    }
    against_trainer.check(same)
    with pytest.raises(InputError, match=r"texts of each turn: .*\[16, 15\].*; they must be 16, or"):
        against_trainer.check(same | {"read": {"ours": {"texts": [16, 16]}, "trainer": {"texts": [16, 15]}}})
    uneven = [1.5, 1.3, 1.2, 1.55]  # a last turn of hard texts
    against_trainer.check(same | {"losses": {"ours": uneven, "trainer": [1.5, 1.4]}})
    for losses in ([1.5, 1.6], [1.5, float("nan")], [1.5, 1.4, 1.6, 1.45]):
        with pytest.raises(InputError, match="the loss of ours did not fall"):
            against_trainer.check(same | {"losses": {"ours": losses, "trainer": [1.5, 1.4]}})
