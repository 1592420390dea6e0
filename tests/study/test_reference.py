"""A small study under `preset: reference`, from texts with punctuation to records, on a byte-level encoder."""

from __future__ import annotations

import json
from pathlib import Path

from small_encoders import save_roberta
from small_study import assignments, records, write_rows, write_study

from study.score import read_scores
from study.store.store import Store
from study.trial import execute

METHODS = ["stl", "rtm", "l3masking", "tapt_l3", "mask_tuning_l3"]
WORDS = {"a": "The hooligan wrecked the vehicle.", "b": "low-frequency words, in 1997a"}


def test_every_kind_of_arm_runs_under_the_released_code_s_settings(tmp_path: Path) -> None:
    save_roberta(tmp_path / "roberta")
    space = write_study(
        tmp_path,
        preset="reference",
        encoders={"tiny": {"path": "roberta"}},
        methods=METHODS,
        seeds=1,
        scoring={"max_length": 20},
        train={"batch": 8, "accumulate": 1, "max_epochs": 1},
        adapt={"epochs": 1, "batch": 8, "accumulate": 1},
    )
    for part, count in (("train", 16), ("validation", 8), ("test", 8)):
        texts = [f"{WORDS['ab'[index % 2]]} the  parser {index}.5" for index in range(count)]
        write_rows(tmp_path / f"{part}.jsonl", texts, ["ab"[index % 2] for index in range(count)])
    root = tmp_path / "out"
    made = assignments(space, root)
    assert [execute(one) for one in made] == [None] * len(METHODS)
    held = {record["method"]: record["settings"] for record in records(root).values()}
    assert held.keys() == set(METHODS)
    for method, settings in held.items():
        assert settings["model"] == {"dropout": 0.1, "attend_padding": True, "forward": "fast"}
        assert settings["scoring"].get("normalise") == (
            "reference" if method in ("rtm", "l3masking", "tapt_l3") else None
        )
        assert settings["scoring"]["whitespace"] == "keep"
    assert held["rtm"]["meta"]["dev_mode"] == "train"
    assert held["rtm"]["masking"]["random_exclude_special"] is False
    assert held["l3masking"]["masking"]["weighting"] == "surprisal"
    assert held["l3masking"]["scoring"]["context"] == "full"
    manifests = [json.loads(path.read_text()) for path in root.glob("scores/*/manifest.json")]
    assert sorted(one["scoring"]["normalise"] for one in manifests) == ["none", "reference"], "one for mask_tuning_l3"
    (folder,) = (
        Store(root).artefact_dir("scores", one["key"])
        for one in manifests
        if one["scoring"]["normalise"] == "reference"
    )
    text = "low-frequency words, in 1997a the  parser 1.5"
    (score,) = read_scores(folder, [text])
    assert len(score.input_ids) <= 20
