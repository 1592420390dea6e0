"""Room on the disk: the estimate, held against a study that was run."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from plans import KNOWN, records_of, space
from small_study import NoMirror, command, write_study

from study.estimate.disk import DATABASE, RUN, RUN_POINT, disk_space, encoder_bytes, shared_work, shown
from study.estimate.sizes import data_sizes
from study.plan.grid import make_plan
from study.plan.inputs import identify_at_hand
from study.plan.trials import Identities
from study.space.reader import read_space
from study.space.spec import Generated
from study.store.store import Store

SPACES = Path(__file__).parents[3] / "search_spaces"


def test_a_finished_study_takes_what_was_estimated(finished_study: Path) -> None:
    """Its encoder is tiny and its texts are short, so that the parts with fixed sizes weigh more than in real ones."""
    spec = read_space(finished_study / "small.yaml")
    identities = identify_at_hand(spec)
    trials, sizes = make_plan(spec, identities), data_sizes(spec, identities)
    before = disk_space(spec, trials, [], sizes)
    after = disk_space(spec, trials, Store(finished_study / "out").records(), sizes)
    there = sum(path.stat().st_size for path in (finished_study / "out" / "records").iterdir())
    assert there / after.records == pytest.approx(1, abs=0.15)
    assert after.records == before.records, "no training of this study stops early"
    assert before.models == 0
    assert before.mlflow == DATABASE + 12 * RUN + 12 * 2 * RUN_POINT
    assert before.scores == 24 * 16 * 17


def test_finished_records_say_how_many_evaluations_there_are() -> None:
    spec = space(seeds=1, methods=["stl"], objectives=["accuracy"])
    trials, sizes = make_plan(spec, KNOWN), data_sizes(spec)
    most = disk_space(spec, trials, [], sizes).records
    assert most - disk_space(spec, trials, records_of(trials[0], 1, points=10), sizes).records == (65 - 10) * 212


def test_each_way_of_scoring_is_counted_once() -> None:
    variants = {"more": {"masking.mean": 0.3}, "whole": {"scoring.metric": "whole_word"}}
    spec = space(seeds=3, methods=["stl", "rtm", "l3masking", "mtl_static"], variants=variants)
    found = disk_space(spec, make_plan(spec, KNOWN), [], data_sizes(spec))
    assert found.scores == 2 * 1688 * 128 * 17


def test_what_nobody_knows_is_said() -> None:
    data = {"mine": {"train": "a.jsonl"}}
    spec = space(datasets=data, pairs=[{"encoder": "bert-base", "dataset": "mine"}], resources={"save_models": True})
    found = disk_space(spec, make_plan(spec, KNOWN), [], data_sizes(spec))
    assert (found.scores, found.models) == (None, None)
    assert "12 records of unknown length; scores of unknown length; models of unknown size" in found.basis
    assert found.total == found.records + found.mlflow > 0


def test_kept_models_are_as_large_as_their_encoder(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    path = write_study(tmp_path, seeds=1, methods=["stl"], resources={"executor": "serial", "save_models": True})
    spec = read_space(path)
    identities = identify_at_hand(spec)
    foretold = disk_space(spec, make_plan(spec, identities), [], data_sizes(spec, identities)).models
    assert command("run", path, "--out", tmp_path / "out").code == 0
    there = sum(file.stat().st_size for file in (tmp_path / "out" / "models").rglob("*") if file.is_file())
    assert there / foretold == pytest.approx(1, abs=0.2), "the classification head and the configuration come on top"
    shutil.rmtree(tmp_path / "encoder")
    assert encoder_bytes(spec.encoders["tiny"], "folder-0") is None
    assert encoder_bytes(spec.encoders["tiny"], None) is None


def test_a_generated_encoder_that_is_not_made_yet_has_no_size(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("L3STUDY_CACHE", str(tmp_path))
    assert encoder_bytes(Generated(generated="toyworld"), "folder-0") is None


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (3_140_000, "3.1 MB"), (2.5e9, "2.5 GB")]
)
def test_sizes_in_words(size, text) -> None:
    assert shown(size) == text


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        ("quickstart", {"scores": 1}),
        (
            "family",
            {"scores": 1, "importance": 2, "adapted encoders": 5},
        ),  # importance: of the task's texts, of a corpus
        ("selective", {"importance": 8, "adapted encoders": 160}),  # of four checkpoints, two corpora, ten seeds
    ],
)
def test_what_is_shared_is_counted_by_the_texts_it_is_made_from(name: str, shared: dict[str, int]) -> None:
    spec = read_space(SPACES / f"{name}.yaml")
    assert shared_work(make_plan(spec, Identities())) == shared
