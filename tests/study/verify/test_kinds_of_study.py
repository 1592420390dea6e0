"""Studies of all kinds are right as a run leaves them: evaluation sets, searches, stages, models, own policies."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import pytest
import yaml
from small_study import PROJECT, NoMirror, command, write_study

from study.verify.whole_study import verify_study

MAP = {"first": "one", "second": "other", "third": "other"}
POLICY = (PROJECT / "docs" / "examples" / "my_policy.py").read_text(encoding="utf-8")
FILES = {"train": "train.jsonl", "validation": "validation.jsonl", "test": "test.jsonl"}
FEW = {
    "objectives": ["accuracy"],
    "seeds": 1,
    "train": {"batch": 8, "accumulate": 1, "max_epochs": 1},
    "adapt": {"epochs": 1, "batch": 8, "accumulate": 1},
    "selective": {"delta": 0.2, "criterion": "signed", "stop_words": False, "network_epochs": 1, "network_batch": 8},
}


def finished(folder: Path, **changes: object) -> Path:
    """The folder of a study that has run."""
    with mock.patch("study.run.Mirror", NoMirror):
        said = command("run", write_study(folder, **(FEW | changes)), "--out", folder / "out")
    assert said.code == 0, said.err
    return folder / "out"


def test_evaluation_sets_stages_shared_artefacts_and_models(tmp_path: Path) -> None:
    sets = {"merged": {"test": "merged.jsonl", "label_map": MAP}, "same": {"test": "test.jsonl"}}
    write_study(tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "test.jsonl").read_text().splitlines()]
    (tmp_path / "merged.jsonl").write_text("\n".join(json.dumps(row | {"label": MAP[row["label"]]}) for row in rows))
    out = finished(
        tmp_path,
        datasets={"words": FILES | {"evaluation_sets": sets}},
        methods=["stl", "l3masking", "selective", "mask_tuning", "tapt"],
        resources={"executor": "serial", "save_models": True, "keep_adapted": True},
    )
    found = verify_study(out)
    assert found.findings == []
    assert not any("computed again" in note or "not checked" in note for note in found.notes), found.notes
    assert found.checked["importance folders"] > 0
    assert found.checked["adapted folders"] > 0
    assert found.checked["models"] == found.checked["records"] == 5
    path = next((out / "records").glob("*.json"))
    weights = out / "models" / path.stem / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    assert [finding.file for finding in verify_study(out).findings] == [f"models/{path.stem}/model.safetensors"]
    method = json.loads(path.read_text())["method"]
    said = command("export-model", out, f"tiny/words/{method}", "--out", tmp_path / "exported")  # S12
    assert said.code == 2
    assert (
        f"models/{path.stem}/model.safetensors: damaged, its weights are not those that its record names; " in said.err
    )
    assert not (tmp_path / "exported").exists()


def test_a_search_and_splits_of_each_seed(tmp_path: Path) -> None:
    out = finished(
        tmp_path,
        datasets={"words": {"train": "train.jsonl", "split_seed": "per_seed"}},
        methods=["stl", "l3masking"],
        seeds=2,
        search={"parameters": {"masking.mean": {"choice": [0.1, 0.4]}}, "trials": 2, "seeds": 1, "sampler": "grid"},
    )
    found = verify_study(out)
    assert found.findings == []
    assert found.checked["records of searches"] == 2
    assert not any("keys" in note for note in found.notes), found.notes
    path = next((out / "search" / "records").glob("*.json"))
    path.write_bytes(path.read_bytes().replace(b'"accuracy"', b'"macro_f1"', 1))
    text = "its checksum does not match its content: it was changed after it was written"
    assert [str(finding) for finding in verify_study(out).findings] == [f"search/records/{path.name}: {text}"]


def test_a_policy_of_a_file_is_not_run_and_all_else_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath("own.py").write_text(POLICY)
    arms = {"mine": {"like": "rtm", "policy": "own"}, "safe": {"like": "rtm", "policy": "span"}}
    out = finished(
        tmp_path,
        policies={"own": {"file": "own.py"}},
        arms=arms,
        methods=["stl", "mine", "safe"],
        compare={"questions": []},
    )
    assert yaml.safe_load((out / "resolved.yaml").read_text())["policies"]["own"]["text"] == POLICY
    monkeypatch.setattr("l3masking.masking.policies.custom._module", lambda *_: pytest.fail("the policy was run"))
    found = verify_study(out)
    assert found.findings == []
    assert found.checked["records"] == 3
    assert [note for note in found.notes if "own" in note] == [
        "policy own: its code was not run, so what it masks was not checked; read it in resolved.yaml"
    ]
    assert not any("keys" in note for note in found.notes), found.notes
    assert found.checked["tables"] > 0
