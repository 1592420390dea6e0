"""The verbs methods, policies and check-policy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import command

from l3masking.masking.policies.table import POLICIES
from l3masking.methods import METHODS
from l3masking.testing import CONTRACTS

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs" / "examples" / "my_policy.py"


@pytest.mark.parametrize(("verb", "table"), [("methods", METHODS), ("policies", POLICIES)])
def test_one_line_for_each_entry(verb: str, table: dict) -> None:
    said = command(verb)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert [line.split()[0] for line in lines] == list(table)
    for line, entry in zip(lines, table.values(), strict=True):
        assert line.endswith(entry.summary)


def test_methods_as_json() -> None:
    shown = json.loads(command("methods", "--json").out)
    assert [entry["name"] for entry in shown] == list(METHODS)
    for entry in shown:
        arm = METHODS[entry["name"]]
        assert (entry["label"], entry["summary"], entry["source"]) == (arm.label, arm.summary, arm.source)
        assert entry["controls"] == list(arm.controls)


def test_policies_as_json() -> None:
    shown = {entry["name"]: entry for entry in json.loads(command("policies", "--json").out)}
    assert list(shown) == list(POLICIES)
    assert shown["pmi"]["needs"] == ["corpus"]
    assert shown["pmi"]["settings"] == {"longest": 5, "min_count": 5, "share": 0.5}
    assert shown["uniform"]["settings"] == {}
    assert all(entry["summary"] and entry["source"] for entry in shown.values())


def test_a_sound_policy_passes() -> None:
    said = command("check-policy", EXAMPLE, "--set", "power=2", "--set", "whole_words=false")
    assert said.code == 0, said.err
    assert said.err == ""
    assert (
        said.out
        == f"{EXAMPLE}: {len(CONTRACTS)} checks passed (settings: power 2.0, whole_words False; needs: corpus)\n"
    )


def test_each_broken_part_is_one_line_with_file_and_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        EXAMPLE.read_text()
        .replace('masked"\n', 'masked."\n')
        .replace("np.array(rarity, dtype=np.float64) ** self.power", "np.array(rarity) - 1")
    )
    said = command("check-policy", path)
    assert (said.code, said.out) == (2, "")
    first, second = said.err.splitlines()
    assert first.startswith(f"l3study: {path}, line 5")
    assert "give one line without a full stop" in first
    assert second.startswith(f"{path}, line 5")
    assert "the weight of token" in second
    assert "a weight is finite and not below 0, for an ordinary text" in second


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--set", "powr=2"), "powr is no setting of this policy; nearest: power; known: power, whole_words"),
        (("--set", "power"), "--set 'power': expected name=value, such as power=2"),
        (("--set", "power=-1"), "power is -1.0: at least 0"),
        (("--set", "power=[1"), "--set power"),
    ],
)
def test_a_wrong_setting_is_one_line(words: tuple[str, ...], said: str) -> None:
    refused = command("check-policy", EXAMPLE, *words)
    assert refused.code == 2
    assert refused.err.count("\n") == 1
    assert said in refused.err


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    refused = command("check-policy", tmp_path / "gone.py")
    assert refused.code == 2
    assert refused.err.startswith(f"l3study: {tmp_path / 'gone.py'}: No such file or directory: give the path of")
    assert refused.err.count("\n") == 1
