"""Room on the disk: the estimate, held against a study that was run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from plans import KNOWN, records_of, space
from small_study import NoMirror, command, write_space, write_study

from study.estimate.disk import DATABASE, RUN, RUN_POINT, SET_BYTES, disk_space, encoder_bytes, shown
from study.estimate.shared import shared_work
from study.estimate.sizes import data_sizes
from study.plan.grid import make_plan
from study.plan.inputs import identify_at_hand
from study.plan.trials import Identities
from study.space.reader import read_space
from study.space.spec import Generated
from study.store.packed import packed_bytes
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


def corpora(**changes):
    """Scores, importance and adapted encoders of a dataset and of two corpora, under two encoders."""
    given = {
        "corpora": {"a": {"files": "a.txt"}, "b": {"files": "b.txt"}},
        "pairs": [{"encoder": encoder, "dataset": "acl-arc"} for encoder in ("bert-base", "scibert")],
        "methods": ["l3masking", "both", "selective", "mtl_selective"],
        "arms": {"both": {"like": "l3masking", "adapt": "l3"}},
        "adapt": {"corpus": "a"},
        "variants": {"b": {"adapt.corpus": "b"}},
        "resources": {"workers": 2},
    }
    return space(**{**given, **changes})


def test_each_source_of_texts_has_its_own_tables(monkeypatch) -> None:
    """ACL-ARC has 1688 texts, the corpora 300 and 4000 units; each table is as long as the texts that it describes."""
    monkeypatch.setattr("study.estimate.disk.encoder_bytes", lambda *_: 1_000_000)
    spec = corpora()
    known = replace(KNOWN, corpora={"a": "1", "b": "2"}, corpus_units={"a": 300, "b": 4000})
    trials, sizes = make_plan(spec, known), data_sizes(spec, known)
    found = disk_space(spec, trials, [], sizes)
    row = 128 * 17
    assert found.scores == 2 * (1688 + 300 + 4000) * row, "of the dataset once, though two arms read them"
    assert found.importance == 2 * (1688 + 300 + 4000) * row, "by the heuristic, and as the network predicts it"
    assert found.classifiers == 2 * (1 + 1) * 1_000_000, "a classifier and a network of each encoder serve all"
    assert found.adapted == 2 * 1_000_000, "as many as are trained at a time"
    kept = corpora(resources={"keep_adapted": True})
    assert disk_space(kept, trials, [], sizes).adapted == 2 * 2 * 2 * 2 * 1_000_000, "arms, corpora, seeds, encoders"
    assert shared_work(spec, trials) == {"scores": 6, "importance": 6, "adapted encoders": 16}
    assert found.basis == "at most, by sizes measured per record, evaluation and token"
    two = corpora(variants={"long": {"scoring.max_length": 256}}, methods=["mtl_selective"])
    found = disk_space(two, make_plan(two, KNOWN), [], data_sizes(two))
    assert found.importance == 2 * 1688 * (128 + 256) * 17
    assert found.classifiers == 4 * 1_000_000, "of texts cut elsewhere another classifier"


def test_a_corpus_of_unknown_length_hides_nothing_else(monkeypatch) -> None:
    monkeypatch.setattr("study.estimate.disk.encoder_bytes", lambda *_: 1_000_000)
    spec = corpora()
    known = replace(KNOWN, corpora={"a": "1"}, corpus_units={"a": 300})
    found = disk_space(spec, make_plan(spec, known), [], data_sizes(spec, known))
    assert found.scores == found.importance == 2 * (1688 + 300) * 128 * 17
    assert "; 2 tables of scores of unknown length; 2 tables of importance of unknown length" in found.basis


def test_predictions_on_evaluation_sets_are_counted_where_their_length_is_known() -> None:
    spec = space(pairs=[{"encoder": "bert-base", "dataset": "mnli"}], methods=["stl"], seeds=3, objectives=["accuracy"])
    trials, sizes = make_plan(spec, KNOWN), data_sizes(spec)
    bare = {"mnli": replace(sizes["mnli"], evaluations={})}
    more = disk_space(spec, trials, [], sizes).records - disk_space(spec, trials, [], bare).records
    assert more == 3 * (30_000 * 2 + 5 * SET_BYTES + packed_bytes(30_000, 3) + 4 * packed_bytes(0, 3))
    assert "without the predictions on mnli-mismatched, anli-r1, anli-r2, anli-r3: of unknown" in (
        disk_space(spec, trials, [], sizes).basis
    )


def test_records_with_evaluation_sets_take_what_was_estimated(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("study.run.Mirror", NoMirror)
    files = {part: f"{part}.jsonl" for part in ("train", "validation", "test")}
    path = write_study(tmp_path, seeds=1, methods=["stl"], datasets={"words": files})
    plain = command("run", path, "--out", tmp_path / "plain")
    sets = {f"set-{number}": {"test": "train.jsonl"} for number in range(6)}
    path = write_space(path, seeds=1, methods=["stl"], datasets={"words": files | {"evaluation_sets": sets}})
    assert (plain.code, command("run", path, "--out", tmp_path / "sets").code) == (0, 0)
    spec = read_space(path)
    identities = identify_at_hand(spec)
    trials, sizes = make_plan(spec, identities), data_sizes(spec, identities)
    assert sizes["words"].evaluations == dict.fromkeys(sets, 24)
    bare = {"words": replace(sizes["words"], evaluations={})}
    estimated = disk_space(spec, trials, [], sizes).records - disk_space(spec, trials, [], bare).records
    there = [sum(f.stat().st_size for f in (tmp_path / out / "records").iterdir()) for out in ("plain", "sets")]
    assert (there[1] - there[0]) / estimated == pytest.approx(1, abs=0.15)


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
    assert shared_work(spec, make_plan(spec, Identities())) == shared


def test_checkpoints_of_the_trainings_under_way_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """At most three of a training, each with weights, two moments, and two best weights of each of two objectives."""
    monkeypatch.setattr("study.estimate.disk.encoder_bytes", lambda *_: 1_000_000)
    for minutes, each in ((5, 3 * (3 + 2 * 2) * 1_000_000), (None, 0)):
        resources = {"workers": 2, "checkpoint_minutes": minutes}
        spec = space(methods=["stl"], seeds=3, objectives=["accuracy", "macro_f1"], resources=resources)
        found = disk_space(spec, make_plan(spec, KNOWN), [], data_sizes(spec))
        assert found.checkpoints == 2 * each
