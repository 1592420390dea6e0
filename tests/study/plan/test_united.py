"""Splits that each seed of a study cuts anew: their keys, what all of them share, and what is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from small_study import assignments, records, write_study

from l3masking.data.table import DataSpec, load_data
from l3masking.errors import InputError
from study.assign import Assigner
from study.plan.grid import make_plan
from study.plan.inputs import concrete_data, identify, identify_at_hand, sources
from study.plan.resolved import Resolved, read_resolved, write_resolved
from study.plan.searches import searches
from study.plan.united import UnitedSource, united_texts
from study.results.gather import gather
from study.results.truth import true_labels
from study.score import ScoreJob, distinct_texts
from study.space.reader import read_space
from study.space.spec import StudySpec
from study.store.store import Store
from study.trial import execute

CUT = {"train": "train.jsonl", "split_seed": "per_seed", "validation_rows": 5, "test_rows": 6}


def study_of(
    folder: Path, *, methods: tuple[str, ...] = ("stl", "l3masking"), data: Any = CUT, **more: Any
) -> StudySpec:
    return read_space(write_study(folder, datasets={"words": data}, methods=[*methods], **more))


def test_each_seed_has_the_splits_of_that_split_seed_and_its_keys(tmp_path: Path) -> None:
    spec = study_of(tmp_path)
    said: list[str] = []
    known = identify(spec, said.append)
    assert said[0].startswith("dataset words: split_seed per_seed: each seed has its own cuts")
    assert known == identify_at_hand(spec)
    assert list(known.splits["words"]) == ["0", "1"]
    assert len({*known.splits["words"].values(), known.datasets["words"]}) == 3
    trials = make_plan(spec, known)
    by_seed = {seed: {t.data_hash for t in trials if t.seed == seed} for seed in (0, 1)}
    assert by_seed == {seed: {known.splits["words"][str(seed)]} for seed in (0, 1)}, (
        "all arms of a seed share its splits"
    )
    for seed in (0, 1):
        fixed = study_of(tmp_path, data=CUT | {"split_seed": seed}, seeds=[seed])
        alone = identify(fixed, lambda line: None)
        assert alone.datasets["words"] == known.splits["words"][str(seed)]
        assert {t.trajectory for t in make_plan(fixed, alone)} == {t.trajectory for t in trials if t.seed == seed}
        assert alone.splits == alone.united == {}


def test_more_seeds_change_neither_the_dataset_nor_the_earlier_keys(tmp_path: Path) -> None:
    few, many = (study_of(tmp_path, seeds=n) for n in (2, 4))
    before, after = (identify(spec, lambda line: None) for spec in (few, many))
    assert (before.datasets, before.united) == (after.datasets, after.united)
    assert {t.trajectory for t in make_plan(few, before)} < {t.trajectory for t in make_plan(many, after)}
    other = identify(study_of(tmp_path, data=CUT | {"test_rows": 7}), lambda line: None)
    assert other.datasets != before.datasets
    assert other.united == before.united, "the same texts"


def test_the_seeds_of_a_search_have_splits_too(tmp_path: Path) -> None:
    parameters = {"parameters": {"optim.lr": {"choice": [1e-3, 2e-3]}}, "seeds": 2, "methods": ["stl"]}
    spec = study_of(tmp_path, search=parameters)
    known = identify(spec, lambda line: None)
    assert list(known.splits["words"]) == ["0", "1", "1000000", "1000001"]
    (search,) = searches(spec, known)
    found = [search.trial(known, {"optim.lr": 1e-3}, seed).data_hash for seed in search.config.seed_list]
    assert found == [known.splits["words"]["1000000"], known.splits["words"]["1000001"]]
    assert len(set(found)) == 2


def test_what_is_resolved_is_read_back(tmp_path: Path) -> None:
    spec = study_of(tmp_path)
    resolved = Resolved(spec, identify(spec, lambda line: None), {})
    write_resolved(tmp_path, resolved)
    assert read_resolved(tmp_path) == resolved
    assert concrete_data(spec.datasets["words"], 3).split_seed == 3


@pytest.mark.parametrize("overlap", ["keep", "drop_from_train", "drop_from_eval"])
@pytest.mark.parametrize("mlm", ["instance", "units.txt"])
def test_all_texts_that_any_split_masks_are_united(tmp_path: Path, overlap: str, mlm: str) -> None:
    spec = study_of(tmp_path, data=CUT | {"overlap": overlap, "mlm": mlm})
    lines = (tmp_path / "train.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "train.jsonl").write_text("".join([*lines, *lines[:6]]))
    (tmp_path / "units.txt").write_text("red house\nblue house\ngreen\n")
    data = spec.datasets["words"]
    assert isinstance(data, DataSpec)
    every = set(united_texts(data, "words"))
    splits = [load_data(data.of_seed(seed), name="words") for seed in range(6)]
    assert all(set(split.mlm_texts) <= every for split in splits)
    assert united_texts(data.of_seed(5), "words") == united_texts(data, "words")
    assert len({split.test.texts for split in splits}) > 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"validation": "validation.jsonl", "test": "test.jsonl"}, "both given, so that nothing is cut"),
        (
            {"split_seed": "per-seed"},
            'datasets.words.split_seed: "per-seed" is not allowed; expected a whole number, or',
        ),
        ({"split_seed": -1}, "datasets.words.split_seed is -1: a whole number, 0 or more, or per_seed"),
    ],
)
def test_what_is_wrong_costs_one_line(tmp_path: Path, given: dict[str, Any], said: str) -> None:
    sizes = {name: value for name, value in CUT.items() if "test" not in given or not name.endswith("_rows")}
    with pytest.raises(InputError) as refused:
        study_of(tmp_path, data=sizes | given)
    assert said in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_cut_needs_a_seed() -> None:
    spec = DataSpec(train="a.jsonl", split_seed="per_seed")
    assert (spec.of_seed(4).split_seed, spec.cut) == (4, ("validation", "test"))
    assert DataSpec(train="a.jsonl").of_seed(4).split_seed == 0


def test_texts_are_scored_once_and_each_training_reads_its_own_splits(tmp_path: Path) -> None:
    spec = study_of(tmp_path, methods=("l3masking",), train={"batch": 8, "accumulate": 1, "max_epochs": 1})
    known, root = identify(spec, lambda line: None), tmp_path / "out"
    assigner = Assigner(spec=spec, identities=known, root=root, commit=None)
    trials = make_plan(spec, known)
    jobs = [job for trial in trials for job in assigner.jobs(trial).values()]
    assert len({job.key for job in jobs}) == 1
    (job, *_) = jobs
    assert isinstance(job, ScoreJob)
    assert isinstance(job.data, UnitedSource)
    assert set(distinct_texts(job.data)) == {
        text
        for seed in (0, 1)
        for part in ("train", "validation", "test")
        for text in getattr(split(spec, seed), part).texts
    }
    for assignment in assignments(tmp_path / "small.yaml", root):
        assert execute(assignment) is None
    made = records(root)
    assert {(r["seed"], r["data_hash"]) for r in made.values()} == {
        (int(s), h) for s, h in known.splits["words"].items()
    }
    results = gather(Store(root), spec, trials)
    (cell, *_) = results.cells
    assert cell.remarks == (
        "words: validation and test are cut anew with each seed. "
        "The deviation over seeds holds the choice of test texts too.",
    )
    assert cell.resampled == 6 / 13
    truths = true_labels(Resolved(spec, known, {}), ["words"])
    assert truths.test == {}
    assert "each seed has its own test texts" in truths.missing["words"]
    changed = dataclasses.replace(job.data, content_hash="0" * 32)
    with pytest.raises(InputError, match="has changed since the study was planned"):
        changed.texts()


def split(spec: StudySpec, seed: int):
    return sources(spec, identify(spec, lambda line: None), "tiny", "words", seed)[1].load()
