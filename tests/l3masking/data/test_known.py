"""The datasets known by name: what they are pinned to, their sizes, and what their label maps say."""

from __future__ import annotations

import csv
import dataclasses
import re
from pathlib import Path

import pytest

from l3masking.data.known import DATASETS
from l3masking.data.spec import EvaluationSpec
from l3masking.data.table import TextData, load_data
from l3masking.errors import Unavailable

COMMIT = "[0-9a-f]{40}"
SETS = [(name, of) for name, spec in DATASETS.items() for of in spec.evaluation_sets]
# labels as the cards of the Hub datasets name them, and as they were counted in the files
NLI = ("entailment", "neutral", "contradiction")
TRAIN_LABELS = {
    "sst2": ("negative", "positive"),
    "mnli": NLI,
    "qqp": ("not_duplicate", "duplicate"),
    "mr": ("neg", "pos"),
    "semeval14-restaurants": ("-1", "0", "1"),
}
# columns and labels of each set, and the label that a row of each label of train has there
IMDB = (("Sentiment", "Text"), {"negative": "Negative", "positive": "Positive"})
SAME = (("premise", "hypothesis", "label"), {label: label for label in NLI})
IN_SET: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "imdb-contrast": IMDB,
    "imdb-counterfactual": IMDB,
    "mnli-mismatched": SAME,
    "hans": (
        ("gold_label", "sentence1", "sentence2"),
        {"entailment": "entailment", "neutral": "non-entailment", "contradiction": "non-entailment"},
    ),
    "anli-r1": SAME,
    "anli-r2": SAME,
    "anli-r3": SAME,
}


@pytest.mark.parametrize("name", DATASETS)
def test_every_part_is_pinned(name: str) -> None:
    spec = DATASETS[name]
    for one in (spec, *spec.evaluation_sets.values()):
        named = [(part, source) for part in one.PARTS for source in one.sources(part)]
        assert named
        if one.hub is not None:
            assert re.fullmatch(COMMIT, one.revision or "")
            continue
        for part, source in named:
            assert re.fullmatch(rf"https://raw\.githubusercontent\.com/[\w.-]+/[\w.-]+/{COMMIT}/[\w./-]+", source)
            assert all(re.fullmatch(COMMIT, pin or "") for pin in one.pins(part))


def test_the_files_of_the_paper_are_of_one_commit() -> None:
    for name in ("acl-arc", "ohsumed", "imdb"):
        spec = DATASETS[name]
        for part in spec.PARTS:
            assert all("/d27540e9a1351e7799c2516fe2666b00119af764/" in source for source in spec.sources(part))


def test_the_sizes_after_the_cuts_are_those_that_are_published() -> None:
    totals = {name: sum(spec.expected[part] for part in spec.PARTS) for name, spec in DATASETS.items()}
    assert totals == {
        "acl-arc": 1688 + 114 + 139,
        "ohsumed": 3022 + 4043,
        "imdb": 50_000,
        "sst2": 67_349 + 872,
        "mnli": 392_702 + 9_815,
        "qqp": 363_846 + 40_430,
        "mr": 2 * 5_331,
        "semeval14-restaurants": 3_608 + 1_120,
    }
    for spec in DATASETS.values():
        if spec.validation is None and spec.validation_rows is not None:
            assert spec.validation_rows == spec.expected["validation"]
        for part, rows in spec.rows.items():
            cut = spec.expected["validation"] if part == "train" and spec.validation is None else 0
            assert rows - cut == spec.expected[part]


def test_every_set_has_an_example_here() -> None:
    assert [of for _, of in SETS] == list(IN_SET)
    assert {name for name, _ in SETS} <= set(TRAIN_LABELS)


@pytest.mark.parametrize("name", TRAIN_LABELS)
def test_tables_of_the_same_form_are_read(tmp_path: Path, name: str) -> None:
    data = load_like(tmp_path, name)
    assert data.labels == tuple(sorted(TRAIN_LABELS[name]))
    assert len(data.labels) == DATASETS[name].expected["classes"]
    assert set(data.evaluations) == set(DATASETS[name].evaluation_sets)
    (first, *_) = data.train.texts
    assert isinstance(first, str) == (DATASETS[name].text_pair is None)


@pytest.mark.parametrize(("name", "of"), SETS)
def test_a_prediction_counts_for_the_label_it_has_in_the_set(tmp_path: Path, name: str, of: str) -> None:
    data = load_like(tmp_path, name)
    found = data.evaluations[of]
    for number, label in enumerate(data.labels):
        assert found.classes[found.of_class[number]] == IN_SET[of][1][label]
    assert [found.classes[label] for label in found.labels] == sorted(set(IN_SET[of][1].values()))


@pytest.mark.parametrize("name", DATASETS)
def test_a_dataset_that_is_absent_and_offline_is_named(tmp_path: Path, name: str) -> None:
    said = r"https://\S+ is not in the cache" if DATASETS[name].hub is None else r"Hub dataset \S+ .*has no whole copy"
    with pytest.raises(Unavailable, match=said):
        load_data(DATASETS[name], name=name, cache=tmp_path, offline=True)


def load_like(folder: Path, name: str) -> TextData:
    """The dataset with small files of its form in place of its sources: four texts of each label."""
    spec = DATASETS[name]
    columns = [column for column in (spec.text, spec.text_pair, spec.label) if column is not None]
    own = write(folder / "own.csv", columns, spec.label, 4 * TRAIN_LABELS[name])
    near: dict[str, EvaluationSpec] = {}
    for of, given in spec.evaluation_sets.items():
        names, labels = IN_SET[of]
        path = write(folder / f"{of}.csv", names, given.label or spec.label, sorted(set(labels.values())))
        near[of] = dataclasses.replace(given, test=path, **UNPINNED)
    cuts = {"validation": own, "test": own, "validation_rows": None}
    return load_data(dataclasses.replace(spec, train=own, evaluation_sets=near, **cuts, **UNPINNED), name=name)


UNPINNED: dict[str, dict[str, str] | None] = {"hub": None, "revision": None, "subset": None, "blobs": {}, "rows": {}}


def write(path: Path, columns: tuple[str, ...] | list[str], label: str, labels: tuple[str, ...] | list[str]) -> str:
    with path.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, columns)
        table.writeheader()
        for number, value in enumerate(labels):
            texts = {column: f"{column} {number} of {path.stem}" for column in columns}
            table.writerow(texts | {label: value})
    return str(path)
