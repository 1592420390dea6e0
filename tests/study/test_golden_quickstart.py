"""The quickstart at its settings of 2026-11-26 gives the records that the program gave then, key by key.

support/golden_quickstart.jsonl was written before the layout, the arms and the executor changed. It holds for one kind
of processor, since another one pre-trains another embedded encoder.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from small_study import NoMirror, command, records

import study.run
from l3masking.encoders.hub import resolve_revision
from l3masking.encoders.table import EncoderSpec

LINES = (Path(__file__).parents[1] / "support" / "golden_quickstart.jsonl").read_text().splitlines()
GOLDEN = [json.loads(line) for line in LINES]
LATER = (  # fields that the program did not write then
    *("epochs_to_first_best", "mask_histogram", "planned_updates", "test_probabilities"),
)
OLD = ("train.max_epochs=6", "stop.patience=20", "meta.dev_mode=once", "model.forward=own")  # `once` was called `train`


@pytest.mark.slow
def test_the_records_are_those_of_the_program_before_the_moves(
    toy_world, toy_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(toy_cache))
    monkeypatch.setattr(study.run, "Mirror", lambda *_, **__: NoMirror())
    revision = resolve_revision(EncoderSpec(path=str(toy_world.encoder_folder)))
    wanted = [golden for golden in GOLDEN if golden["seed"] == 0 and golden["revision"] == revision]
    if not wanted:
        pytest.skip(f"no golden record of the encoder that this kind of processor makes ({revision})")
    words = [word for text in (*OLD, "resources.executor=serial") for word in ("--set", text)]
    said = command("run", "quickstart", "--out", tmp_path / "out", "--only", "seed=0", *words)
    assert said.code == 0, said.err
    made = records(tmp_path / "out")
    assert made.keys() == {golden["key"] for golden in wanted}
    for golden in wanted:
        if "meta" in golden["settings"]:
            golden["settings"]["meta"]["dev_mode"] = "once"
        golden["settings"]["model"]["forward"] = "own"  # what it was before there was another
        record = made[golden["key"]]
        assert {name: record[name] for name in golden} == golden
        assert record.keys() - golden.keys() == {"run", "checksum", *LATER}
